"""The outer gradient of an initialisation on one task: Reptile, first-order MAML, and MAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hwnas.errors import InputError
from hwnas.meta.inner_loop import Inner, Loss, Params, adapt
from hwnas.near_names import did_you_mean


@dataclass(frozen=True)
class Problem:
    """A task as losses of parameters.

    Attributes:
        support: what the inner loop goes down.
        query: of adapted parameters, on data that the inner loop has not seen.
        head: parameters that are not learned, but made for the task from the others; None where all are learned.
    """

    support: Loss
    query: Callable[[Params], Tensor]
    head: Callable[[Params], Params] | None = None

    def start(self, init: Mapping[str, Tensor]) -> Params:
        """Where the inner loop begins: a differentiable function of `init`."""
        return dict(init) if self.head is None else {**init, **self.head(dict(init))}

    def adapted(self, init: Mapping[str, Tensor], inner: Inner) -> Params:
        """Where the inner loop ends."""
        with torch.no_grad():
            start = self.start(init)
        return adapt(start, self.support, inner)


OuterGradient = Callable[[Mapping[str, Tensor], Problem, Inner], Params]
"""What an optimiser descends along, by the names of the initialisation, which stays as it is."""


def reptile(init: Mapping[str, Tensor], problem: Problem, inner: Inner) -> Params:
    """φ - φ̃ (Nichol et al., 2018): a step of SGD along it at rate ε is φ ← φ + ε (φ̃ - φ). No query set is needed.

    It is 0 for a head that is made for the task.
    """
    with torch.no_grad():
        start = problem.start(init)
    adapted = adapt(start, problem.support, inner)
    made = _made(start, init)
    return {n: torch.zeros_like(v) if n in made else (v - adapted[n]).detach() for n, v in init.items()}


def fomaml(init: Mapping[str, Tensor], problem: Problem, inner: Inner) -> Params:
    """The gradient of the query loss at the adapted parameters (Finn et al., 2017, section 5.2).

    What it is for a head that is made for the task goes on to what the head is made from.
    """

    def at(start: Params) -> Params:
        adapted = {name: value.requires_grad_() for name, value in adapt(start, problem.support, inner).items()}
        return _gradient(problem.query(adapted), adapted)

    return _through_head(init, problem, at)


def maml(init: Mapping[str, Tensor], problem: Problem, inner: Inner) -> Params:
    """The gradient of the query loss in the initialisation, through all inner steps (Finn et al., 2017, equation 1).

    Its memory grows with the inner steps. It is what the cheaper two are compared with.
    """

    def at(start: Params) -> Params:
        leaves = {name: value.requires_grad_() for name, value in start.items()}
        return _gradient(problem.query(adapt(leaves, problem.support, inner, second_order=True)), leaves)

    return _through_head(init, problem, at)


METHODS: Mapping[str, OuterGradient] = {"reptile": reptile, "fomaml": fomaml, "maml": maml}


def outer_gradient(method: str) -> OuterGradient:
    """The method called so.

    Raises:
        InputError: there is none.
    """
    if method not in METHODS:
        raise InputError(
            f"unknown method of meta-learning {method!r}",
            hint=f"{did_you_mean(method, METHODS)}known methods: {', '.join(METHODS)}",
        )
    return METHODS[method]


def _made(start: Mapping[str, Tensor], init: Mapping[str, Tensor]) -> list[str]:
    """The parameters that are made for the task."""
    return [name for name, value in start.items() if value is not init[name]]


def _through_head(init: Mapping[str, Tensor], problem: Problem, at: Callable[[Params], Params]) -> Params:
    """A gradient in `init`, from that `at` the start of the inner loop, where a head is a parameter like others."""
    if problem.head is None:
        return at({name: value.detach() for name, value in init.items()})
    leaves = {name: value.detach().requires_grad_() for name, value in init.items()}
    start = problem.start(leaves)
    gradient = at({name: value.detach() for name, value in start.items()})
    made = _made(start, leaves)
    heads, gradients = [start[name] for name in made], [gradient[name] for name in made]
    found = torch.autograd.grad(heads, list(leaves.values()), gradients, allow_unused=True)
    more = {name: value for name, value in zip(leaves, found, strict=True) if value is not None}
    own = {name: torch.zeros_like(value) if name in made else gradient[name] for name, value in init.items()}
    return {name: value + more[name] if name in more else value for name, value in own.items()}


def _gradient(loss: Tensor, params: Params) -> Params:
    """Zero where the loss does not depend on a parameter."""
    gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    pairs = zip(params.items(), gradients, strict=True)
    return {name: torch.zeros_like(value) if g is None else g.detach() for (name, value), g in pairs}
