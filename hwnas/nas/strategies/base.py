"""The two interfaces that cover the field. A strategy sees numbers: no table, device or backend is known here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from hwnas.nas.bilevel import Bilevel
from hwnas.nas.supernet import Gate


class Relaxation(Protocol):
    """Architecture choice as continuous parameters, trained by gradient together with the shared weights.

    Inherit from it: what most methods share need not be written again.
    """

    logits: Tensor
    """(decisions, most options) architecture parameters α, a leaf with gradient; -inf where there is no option."""

    def weight_gates(self, generator: torch.Generator) -> list[Gate]:
        """Gates of one step on the shared weights; no gradient reaches α."""
        ...

    def arch_gates(self, generator: torch.Generator) -> list[Gate]:
        """Gates of one step on α, through which the loss reaches `logits`."""
        ...

    def anneal(self, progress: float) -> None:
        """Set temperatures for `progress` in 0..1 of the search after warm-up; most have none."""
        return

    def gradient(self, problem: Bilevel, generator: torch.Generator) -> Tensor:
        """Gradient of the validation loss with respect to `logits`, of their shape.

        First order unless a method says otherwise: of the weights as they are, equation 7 of Liu et al. (2019), ξ = 0.
        """
        with problem.fixed_weights():
            loss = problem.val(self.arch_gates(generator))
        (gradient,) = torch.autograd.grad(loss, self.logits)
        return gradient

    def joint_loss(self, problem: Bilevel, generator: torch.Generator) -> Tensor | None:
        """The one loss that steps weights and α together; None where each has a step of its own, as in most methods."""
        return None

    def settle(self, logits: Tensor, before: Tensor) -> None:
        """Correct in place what a step of the optimiser made of `before`, where a method says which logits may move."""
        return


class Sampler(Protocol):
    """Proposes architectures and learns from their scores; how a score was made it never sees."""

    def ask(self) -> tuple[int, ...]:
        """Choices of the next architecture, a feasible one."""
        ...

    def tell(self, choices: Sequence[int], score: float) -> None:
        """The score of an architecture; higher is better. It may be one that was never asked for, or one told before.

        Strategies are tuned for scores such as accuracies: differences of hundredths to tenths.
        """
        ...

    def state(self) -> dict[str, Any]:
        """All that it has learned and the state of its random numbers, as JSON."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state` of a sampler made alike: what it asks from then on is what that one would have."""
        ...


@runtime_checkable
class WarmStartable(Protocol):
    """The optional part of a sampler: its exported state starts a search of another task."""

    def export_state(self) -> dict[str, Any]:
        """The part of its state that holds beyond the task, as JSON: no random numbers, no list of proposals.

        `kind` names the sort of thing that it is, and `options` counts those of each decision (`warm_start.tagged`).
        """
        ...

    def warm_start(self, sampler_state: dict[str, Any]) -> None:
        """Begin a new task, whose scores may have another scale, with the state that was exported after others.

        Raises:
            InputError: it is of another sort, or of a space with other decisions (`warm_start.check_fit`).
        """
        ...


@runtime_checkable
class Guiding(Protocol):
    """The optional part of a sampler that guides shared weights, which give known architectures other scores."""

    def guide(self, guides: bool) -> None:
        """Whether it guides from now on: what is known may then be asked for again, and is not noted as known."""
        ...


@contextlib.contextmanager
def guiding(samplers: Iterable[Sampler]) -> Iterator[None]:
    """Samplers that know the difference guide while it lasts."""
    able = [one for one in samplers if isinstance(one, Guiding)]
    for one in able:
        one.guide(True)
    try:
        yield
    finally:
        for one in able:
            one.guide(False)


def uniform_logits(options: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Zero logits for decisions with `options` options each, -inf where there is none: no option is preferred."""
    logits = torch.zeros(len(options), max(options), device=device)
    for row, count in zip(logits, options, strict=True):
        row[count:] = -torch.inf
    return logits


def gumbels(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Logits plus Gumbel noise: the largest of a row is drawn from its softmax, the largest two without replacement."""
    uniform = torch.rand(logits.shape, generator=generator).clamp_(1e-10, 1.0 - 1e-7)
    return logits - torch.log(-torch.log(uniform)).to(logits.device)


def soft_gates(weights: Tensor, options: Sequence[int]) -> list[Gate]:
    """Gates that compute all options, with (decisions, most options) `weights`."""
    return [Gate(tuple(range(count)), row[:count]) for row, count in zip(weights, options, strict=True)]


def mixed_gates(options: Sequence[int], generator: torch.Generator, device: torch.device | None = None) -> list[Gate]:
    """Gates that compute all options, by a Gumbel softmax (Jang et al., 2017) at temperature 1 that prefers none."""
    return soft_gates(torch.softmax(gumbels(uniform_logits(options, device), generator), dim=1), options)


def pair_gates(perturbed: Tensor, temperature: float, options: Sequence[int]) -> list[Gate]:
    """Gates that compute the two options with the largest `perturbed` logits (decisions, most options).

    The first alone counts; the gradient reaches the logits straight through the softmax over the pair.
    """
    top = perturbed.topk(min(2, max(options)), dim=1)
    soft = torch.softmax(top.values / temperature, dim=1)
    one_hot = torch.zeros_like(soft)
    one_hot[:, 0] = 1.0
    weights = one_hot + (soft - soft.detach())
    pairs: list[list[int]] = top.indices.tolist()
    return [
        Gate(tuple(pair[:count]), row[: len(pair[:count])])
        for pair, row, count in zip(pairs, weights, options, strict=True)
    ]


def log_probabilities(logits: Tensor) -> list[list[float]]:
    """Per decision the log-probability of each option that exists."""
    rows = torch.log_softmax(logits.detach().cpu().double(), dim=1).tolist()
    finite = torch.isfinite(logits).sum(dim=1).tolist()
    return [row[:count] for row, count in zip(rows, finite, strict=True)]
