"""Differentiable architecture search, second order (Liu et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hwnas.nas.bilevel import Bilevel
from hwnas.nas.strategies.darts import DARTS
from hwnas.nas.virtual import virtual_step

_RADIUS = 0.01  # L2 length of the finite difference


class SecondOrderDARTS(DARTS):
    """As DARTS, but α is judged at the weights w' that the next step makes, which depend on α too.

    With v the gradient of the validation loss at w', and d = ξ v, equations 7 and 8 of the paper read
    `∇_α L_val(w') - [∇_α L_train(w + R d) - ∇_α L_train(w - R d)] / 2R` with R = 0.01 / ‖d‖₂. Of another optimiser than
    SGD, d is its slope times v (`virtual_step`). With ξ = 0 it is first order.

    The weights at w' and w ± R d are given to the one supernet, whose own are never touched. Cost: four passes with all
    options in an architecture step, and one in a weight step.
    """

    def gradient(self, problem: Bilevel, generator: torch.Generator) -> Tensor:
        # bfloat16 is too coarse for differences.
        with torch.autocast(self.logits.device.type, enabled=False):
            return self._second_order(problem, generator)

    def _second_order(self, problem: Bilevel, generator: torch.Generator) -> Tensor:
        weights = dict(problem.supernet.named_parameters())
        loss = problem.train(self.weight_gates(generator))
        found = zip(weights, torch.autograd.grad(loss, list(weights.values()), allow_unused=True), strict=True)
        gradients = problem.joint({name: g for name, g in found if g is not None})
        moved, slopes = virtual_step(problem.optimizer, weights, gradients)
        at_moved = problem.val(self.arch_gates(generator), {**_fixed(weights), **moved})
        direct, *v = torch.autograd.grad(
            at_moved, [self.logits, *moved.values()], allow_unused=True, materialize_grads=True
        )
        v_joint = problem.joint(dict(zip(moved, v, strict=True)))
        d = {name: slopes[name] * gradient for name, gradient in v_joint.items()}
        length = float(torch.stack([part.norm() for part in d.values()]).norm())
        if length == 0.0:
            return direct
        radius = _RADIUS / length
        ahead, behind = (self._train_gradient(problem, weights, d, sign * radius, generator) for sign in (1.0, -1.0))
        return direct - (ahead - behind) / (2.0 * radius)

    def _train_gradient(
        self,
        problem: Bilevel,
        weights: Mapping[str, Tensor],
        d: Mapping[str, Tensor],
        radius: float,
        generator: torch.Generator,
    ) -> Tensor:
        with torch.no_grad():
            shifted = {name: torch.add(weights[name], part, alpha=radius) for name, part in d.items()}
        loss = problem.train(self.arch_gates(generator), {**_fixed(weights), **shifted})
        (gradient,) = torch.autograd.grad(loss, self.logits)
        return gradient


def _fixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without gradient, so that no graph is built for them."""
    return {name: w.detach() for name, w in weights.items()}
