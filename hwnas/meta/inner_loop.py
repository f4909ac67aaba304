"""The inner loop: a few steps from an initialisation to one task, as a pure function of parameters by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwnas.errors import InputError

Params = dict[str, Tensor]
"""Weights by their names in the network, and architecture parameters, if there are any, as `ALPHA`."""

ALPHA = "alpha"

Loss = Callable[[Params, int], Tensor]
"""Scalar loss of parameters in the inner step of that number, counted from 0."""


@dataclass(frozen=True)
class Inner:
    """Settings of an inner loop; `dataclasses.asdict` of it is JSON.

    Attributes:
        rule: `sgd`, θ ← θ - r g, as in MAML (Finn et al., 2017); or `adam` with β1 = 0, as in Reptile (Nichol et al.,
            2018): v ← β2 v + (1 - β2) g², θ ← θ - r g / (√(v / (1 - β2^k)) + ε), in step k, from v = 0 in every task.
        steps: how many.
        lr, alpha_lr: the rate r of weights and of architecture parameters.
    """

    rule: str = "sgd"
    steps: int = 5
    lr: float = 0.1
    alpha_lr: float = 0.1
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        rules = {
            "rule": ("sgd or adam", self.rule in ("sgd", "adam")),
            "steps": ("at least 1", self.steps >= 1),
            "lr": ("0 or more", 0 <= self.lr < float("inf")),
            "alpha_lr": ("0 or more", 0 <= self.alpha_lr < float("inf")),
            "beta2": ("from 0 up to, not including, 1", 0 <= self.beta2 < 1),
            "eps": ("a positive number", 0 < self.eps < float("inf")),
        }
        for name, (rule, holds) in rules.items():
            if not holds:
                raise InputError(
                    f"{name} of an inner loop must be {rule}, but it is {getattr(self, name)}",
                    hint=f"the default is {getattr(type(self), name)}",
                )

    def rate(self, name: str) -> float:
        return self.alpha_lr if name == ALPHA else self.lr


def adapt(init: Mapping[str, Tensor], loss: Loss, inner: Inner, *, second_order: bool = False) -> Params:
    """The parameters after `inner.steps` steps down `loss` from `init`, which stays as it is.

    Args:
        second_order: whether the result is a differentiable function of `init`. Otherwise it shares no graph with it.

    A parameter that the loss of a step does not depend on stays where it is in that step.
    """
    params = dict(init) if second_order else _leaves(init)
    squares = {name: torch.zeros_like(value) for name, value in params.items()}
    for step in range(inner.steps):
        gradients = torch.autograd.grad(
            loss(params, step), list(params.values()), create_graph=second_order, allow_unused=True
        )
        moved = {}
        for (name, value), gradient in zip(params.items(), gradients, strict=True):
            if gradient is None:
                moved[name] = value
                continue
            if inner.rule == "adam":
                squares[name] = inner.beta2 * squares[name] + (1 - inner.beta2) * gradient**2
                gradient = gradient / _root(squares[name] / (1 - inner.beta2 ** (step + 1)), inner.eps)
            moved[name] = value - inner.rate(name) * gradient
        params = moved if second_order else _leaves(moved)
    return params if second_order else {name: value.detach() for name, value in params.items()}


def _root(square: Tensor, eps: float) -> Tensor:
    """√square + eps, with a derivative of 0 where the square is 0."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0) + eps


def _leaves(params: Mapping[str, Tensor]) -> Params:
    return {name: value.detach().requires_grad_() for name, value in params.items()}
