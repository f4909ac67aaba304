"""A step on α in parts that take less memory: the same gates for all of them, and gradients that add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hwnas.nas.bilevel import Bilevel
from hwnas.nas.strategies.base import Relaxation


def has_own_gradient(relaxation: Relaxation) -> bool:
    """Whether its gradient is another one than that of the validation loss, so that those of parts do not add up."""
    return type(relaxation).gradient is not Relaxation.gradient


def is_joint(relaxation: Relaxation) -> bool:
    """Whether one loss steps weights and α, so that images of both batches are in one graph."""
    return type(relaxation).joint_loss is not Relaxation.joint_loss


def problems_of(relaxation: Relaxation, problem: Bilevel, at_once: int, class_weights: Tensor) -> list[Bilevel]:
    """A problem in parts of at most `at_once` images (0 for all), whose losses and gradients add up to its own.

    Where the gradients of a relaxation do not add up, as those of second order, that is one problem of fewer images.
    """
    if has_own_gradient(relaxation):
        problem, at_once = problem.first(at_once) if at_once else problem, 0
    return problem.parts(at_once, class_weights)


def arch_gradient(relaxation: Relaxation, problems: Sequence[Bilevel], generator: torch.Generator) -> Tensor:
    """The gradient in the logits of all parts together."""
    total = torch.zeros_like(relaxation.logits)
    for one in _drawn_alike(problems, generator):
        total += relaxation.gradient(one, generator)
    return total


def joint_losses(
    relaxation: Relaxation, problems: Sequence[Bilevel], generator: torch.Generator
) -> Iterator[Tensor] | None:
    """The loss that steps weights and α together, part by part; None where a relaxation has none."""
    losses = (relaxation.joint_loss(one, generator) for one in _drawn_alike(problems, generator))
    first = next(losses)
    return None if first is None else _all(first, losses)


def _all(first: Tensor, others: Iterator[Tensor | None]) -> Iterator[Tensor]:
    yield first
    del first  # its graph is not needed for the next
    yield from (one for one in others if one is not None)


def _drawn_alike(problems: Sequence[Bilevel], generator: torch.Generator) -> Iterator[Bilevel]:
    """Each with the generator as it is for the first, so that what a relaxation draws is the same for all."""
    state = generator.get_state()
    for one in problems:
        generator.set_state(state)
        yield one
