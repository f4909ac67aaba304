"""The step that an optimiser would take on the shared weights, without taking it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hwnas.errors import InputError


def virtual_step(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the optimiser's next step makes of `weights`, and by how much each falls when its gradient g grows by one.

    SGD: w' = w - ξ (μ·buf + g + wd·w), as in DARTS, which falls by ξ. AdamW (Loshchilov and Hutter, 2019): the
    denominator √v̂ + ε is taken as a constant, as it hardly depends on one gradient.

    Args:
        weights: parameters of `optimizer` by name.
        gradients: those of the train loss, by the same names.

    Returns:
        New leaves with gradient, and slopes -∂w'/∂g; both by the names of `gradients`.

    Raises:
        InputError: the optimiser is neither AdamW nor SGD without Nesterov momentum and dampening.
    """
    group_of = {id(w): group for group in optimizer.param_groups for w in group["params"]}
    moved, slopes = {}, {}
    with torch.no_grad():
        for name, g in gradients.items():
            w = weights[name]
            step, slopes[name] = _step(optimizer, group_of[id(w)], w, g)
            moved[name] = (w - step).requires_grad_()
    return moved, slopes


def _step(optimizer: torch.optim.Optimizer, group: Mapping[str, Any], w: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """What is subtracted from w, and its slope in g."""
    state, lr, decay = optimizer.state.get(w, {}), group["lr"], group["weight_decay"]
    if isinstance(optimizer, torch.optim.AdamW) and not group["amsgrad"]:
        first, second = group["betas"]
        steps = float(state["step"]) + 1 if state else 1.0
        m = state["exp_avg"] if state else torch.zeros_like(w)
        v = state["exp_avg_sq"] if state else torch.zeros_like(w)
        root = ((second * v + (1 - second) * g**2) / (1 - second**steps)).sqrt() + group["eps"]
        slope = lr * (1 - first) / (1 - first**steps) / root
        return slope * (g + first / (1 - first) * m) + lr * decay * w, slope
    if isinstance(optimizer, torch.optim.SGD) and not (group["nesterov"] or group["dampening"]):
        buffer = state.get("momentum_buffer")
        momentum = 0.0 if buffer is None else group["momentum"] * buffer
        return lr * (momentum + g + decay * w), torch.full_like(w, lr)
    raise InputError(
        f"a virtual step must be one of AdamW or of SGD with plain momentum, but the optimizer is {optimizer}",
        hint="use one of these, or a strategy of first order such as darts",
    )
