"""The outer gradient of an initialisation on one task: Reptile, first-order MAML, and MAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwnas.errors import InputError
from hwnas.meta.adapt import Inner, Loss, Params, adapt


@dataclass(frozen=True)
class Problem:
    """A task as losses of parameters.

    Attributes:
        support: what the inner loop goes down.
        query: of adapted parameters, on data that the inner loop has not seen.
    """

    support: Loss
    query: Callable[[Params], Tensor]


OuterGradient = Callable[[Mapping[str, Tensor], Problem, Inner], Params]
"""What an optimiser descends along, by the names of the initialisation, which stays as it is."""


def reptile(init: Mapping[str, Tensor], problem: Problem, inner: Inner) -> Params:
    """φ - φ̃ (Nichol et al., 2018): a step of SGD along it at rate ε is φ ← φ + ε (φ̃ - φ). No query set is needed."""
    adapted = adapt(init, problem.support, inner)
    return {name: (value - adapted[name]).detach() for name, value in init.items()}


def fomaml(init: Mapping[str, Tensor], problem: Problem, inner: Inner) -> Params:
    """The gradient of the query loss at the adapted parameters (Finn et al., 2017, section 5.2)."""
    adapted = {name: value.requires_grad_() for name, value in adapt(init, problem.support, inner).items()}
    return _gradient(problem.query(adapted), adapted)


def maml(init: Mapping[str, Tensor], problem: Problem, inner: Inner) -> Params:
    """The gradient of the query loss in the initialisation, through all inner steps (Finn et al., 2017, equation 1).

    Its memory grows with the inner steps. It is what the cheaper two are compared with.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in init.items()}
    return _gradient(problem.query(adapt(leaves, problem.support, inner, second_order=True)), leaves)


METHODS: Mapping[str, OuterGradient] = {"reptile": reptile, "fomaml": fomaml, "maml": maml}


def outer_gradient(method: str) -> OuterGradient:
    """The method called so.

    Raises:
        InputError: there is none.
    """
    if method not in METHODS:
        raise InputError(f"unknown method of meta-learning {method!r}", hint=f"known methods: {', '.join(METHODS)}")
    return METHODS[method]


def _gradient(loss: Tensor, params: Params) -> Params:
    """Zero where the loss does not depend on a parameter."""
    gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    pairs = zip(params.items(), gradients, strict=True)
    return {name: torch.zeros_like(value) if g is None else g.detach() for (name, value), g in pairs}
