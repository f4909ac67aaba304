"""How much memory the steps of a search take, from those in which every decision computes its largest options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hwnas.arch.costs import written
from hwnas.arch.space import SearchSpace
from hwnas.nas.arch_parts import has_own_gradient, is_joint
from hwnas.nas.strategies import Strategy
from hwnas.nas.strategies.base import Relaxation
from hwnas.nas.supernet import Gate, Supernet
from hwnas.train.step_memory import META, StepMemory, ghost_batch, step_memory


def loop_memory(space: SearchSpace, strategy: Strategy) -> StepMemory:
    """What the costliest kind of steps takes: on the weights or on α, in warm-up or after it.

    A path counts as the one whose ops write the most; of pairs, the two options that do. Two batches of one joint loss
    are in memory together.
    """
    return _counted(space, strategy)  # type: ignore[arg-type]  # spaces are hashed by their identity


@lru_cache(maxsize=4)
def _counted(space: SearchSpace, strategy: Strategy) -> StepMemory:
    with torch.random.fork_rng(devices=[]):
        supernet = Supernet(space).to(META).train()
    relaxation = None if strategy.relaxation is None else strategy.relaxation(space.options, torch.device("cpu"))
    kinds = _kinds(space, relaxation)
    found = [
        step_memory(_step(supernet, gates, weights=weights, batches=batches), [*supernet.parameters()], _shape(space))
        for gates, weights, batches in kinds
    ]
    return max(found, key=lambda one: one.image)


def _kinds(space: SearchSpace, relaxation: Relaxation | None) -> list[tuple[list[Gate], bool, int]]:
    """Of each kind of steps: gates, whether the gradient of weights is wanted, and batches in memory at once."""
    if relaxation is None:
        counts, kinds = [1] * len(space.options), []
    else:
        generator = torch.Generator().manual_seed(0)
        counts = [len(gate.active) for gate in relaxation.weight_gates(generator)]
        on_alpha = [len(gate.active) for gate in relaxation.arch_gates(generator)]
        joint = is_joint(relaxation)
        kinds = [(_largest(space, on_alpha, learned=True), joint or has_own_gradient(relaxation), 1 + joint)]
    if space.mixed_warmup:
        counts = list(space.options)
    if relaxation is None or not joint:
        kinds.append((_largest(space, counts, learned=False), True, 1))
    return kinds


def _largest(space: SearchSpace, counts: Sequence[int], *, learned: bool) -> list[Gate]:
    """Gates of the options that write the most, so many of each decision.

    Args:
        learned: whether the gradient reaches their weights.
    """
    gates = []
    for row, count in zip(space.costs(lambda spec: written(spec.graph)).table, counts, strict=True):
        active = sorted(range(len(row)), key=lambda option: -row[option])[:count]
        weights = torch.ones(count, device=META, requires_grad=learned)
        gates.append(Gate(tuple(sorted(active)), weights if learned or count > 1 else None))
    return gates


def _step(supernet: Supernet, gates: Sequence[Gate], *, weights: bool, batches: int) -> Callable[[int], None]:
    def step(images: int) -> None:
        for one in supernet.parameters():
            one.requires_grad_(weights)
        x, y = ghost_batch(images, _shape(supernet.space))
        losses: list[Tensor] = [cross_entropy(supernet(x, gates), y) for _ in range(batches)]
        sum(losses[1:], start=losses[0]).backward()  # type: ignore[no-untyped-call]
        for one in supernet.parameters():
            one.grad = None

    return step


def _shape(space: SearchSpace) -> tuple[int, ...]:
    return tuple(space.input_shape)
