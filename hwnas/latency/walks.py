"""What walks through states cost, and the latency model of the chains of MetaQNN, which are such walks. Numbers only.

Exact where costs are real numbers: the cheapest and the costliest completion of every state are dynamic programmes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from hwnas.arch.op import OpSpec
from hwnas.arch.spaces.chain import ChainSpace, State
from hwnas.errors import InputError
from hwnas.latency.model import Latencies
from hwnas.schema import POSITIVE, at_least, checked

S = TypeVar("S", bound=Hashable)
Pick = Callable[[list[float]], float]


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """One thing that can be done in a state: its option, what it costs, and the state after it."""

    option: int
    cost: float
    after: S


@dataclass(frozen=True)
class Walks(Generic[S]):
    """All walks of `length` steps from `start`; costs are in any one unit, and no step leads to where none is left.

    Attributes:
        options: number of options of each step, allowed or not.
        steps: what can be done in a state, by ascending option.
        last: what a walk costs that ends in a state, beside its steps.
    """

    options: tuple[int, ...]
    start: S
    steps: Callable[[S], Sequence[Step[S]]]
    last: Callable[[S], float]

    @property
    def length(self) -> int:
        return len(self.options)

    def walked(self, choices: Sequence[int]) -> tuple[float, S]:
        """Cost of the steps so far, infinite where one is not there, and the state behind the last that is."""
        spent, state = 0.0, self.start
        for choice in choices:
            step = next((step for step in self.steps(state) if step.option == choice), None)
            if step is None:
                return float("inf"), state
            spent, state = spent + step.cost, step.after
        return spent, state

    def cost(self, choices: Sequence[int]) -> float:
        """What a walk costs, added up from its first step; infinite where it takes a step that is not there."""
        spent, state = self.walked(choices)
        return spent + self.last(state) if spent < float("inf") else spent

    def completions(self, pick: Pick = min) -> list[dict[S, float]]:
        """For each step, what the best completion of every state that can be reached by then costs.

        Args:
            pick: what is best: min or max.
        """
        reached: list[dict[S, float]] = [{self.start: 0.0}]
        for _ in range(self.length):
            reached.append({step.after: 0.0 for state in reached[-1] for step in self.steps(state)})
        reached[-1] = {state: self.last(state) for state in reached[-1]}
        for at in reversed(range(self.length)):
            after = reached[at + 1]
            reached[at] = {
                state: pick([step.cost + after[step.after] for step in self.steps(state)]) for state in reached[at]
            }
        return reached

    def tail(self, levels: Sequence[Mapping[S, float]], at: int, state: S, pick: Pick = min) -> tuple[int, ...]:
        """The best choices from step `at` on, by the `completions` of the same `pick`."""
        choices = []
        for after in levels[at + 1 :]:
            steps = self.steps(state)
            costs = [step.cost + after[step.after] for step in steps]
            step = steps[costs.index(pick(costs))]
            choices.append(step.option)
            state = step.after
        return tuple(choices)

    def extreme(self, pick: Pick) -> tuple[int, ...]:
        """The choices of the cheapest walk (min), or of the costliest (max)."""
        return self.tail(self.completions(pick), 0, self.start, pick)


def chain_walks(space: ChainSpace, row_ms: Callable[[OpSpec], float]) -> Walks[State]:
    """The chains of `space` by what they take: the sum of their rows, that of the classifier included.

    Args:
        row_ms: latency of one op in milliseconds.
    """
    known: dict[State, tuple[Step[State], ...]] = {}

    def steps(state: State) -> tuple[Step[State], ...]:
        if state not in known:
            known[state] = tuple(
                Step(option, 0.0 if spec is None else row_ms(spec), after) for option, spec, after in space.steps(state)
            )
        return known[state]

    return Walks(space.options, space.start, steps, lambda state: row_ms(space.classifier(state)))


@dataclass(frozen=True)
class _Kept:
    """What `ChainLatencies.to_json` gives."""

    rows_ms: dict[str, Annotated[float, at_least(0)]]
    slope: Annotated[float, POSITIVE]
    intercept_ms: float
    sigma: Annotated[float, at_least(0)]


@dataclass(frozen=True)
class ChainLatencies(Latencies):
    """`latency = intercept_ms + slope · Σ rows` of a chain's layers and its classifier.

    Attributes:
        rows_ms: raw latency of every op of the space, by key.
    """

    space: ChainSpace
    rows_ms: Mapping[str, float]
    slope: float = 1.0
    intercept_ms: float = 0.0
    sigma: float = 0.0
    fixed_ms: float = 0.0

    @cached_property
    def walks(self) -> Walks[State]:
        """The chains by their raw latencies."""
        return chain_walks(self.space, lambda spec: self.rows_ms[spec.key])

    def restricted(self, kept: Sequence[Sequence[int]]) -> ChainLatencies:
        """Itself: no limit beside the latency removes options of chains."""
        return self

    def to_json(self) -> dict[str, Any]:
        facts = {"slope": self.slope, "intercept_ms": self.intercept_ms, "sigma": self.sigma}
        return {"rows_ms": dict(self.rows_ms), **facts}

    @classmethod
    def of_json(cls, space: ChainSpace, content: Any, source: Path | str) -> ChainLatencies:
        """The model of `space` that `to_json` gave.

        Raises:
            InputError: it is none, or lacks a row; `source` is the file, for the message.
        """
        kept = checked(content, _Kept, source, extra="forbid")
        lacking = [spec.key for spec in space.ops if spec.key not in kept.rows_ms]
        if lacking:
            raise InputError(f"{source}: rows_ms must have every op of {space.name}, but {lacking[0]} is missing")
        return cls(space, kept.rows_ms, kept.slope, kept.intercept_ms, kept.sigma)

    def raw_ms(self, choices: Sequence[int]) -> float:
        return self.walks.cost(choices)

    @cached_property
    def smallest_raw_ms(self) -> float:
        return self.walks.completions(min)[0][self.walks.start]

    @cached_property
    def largest_raw_ms(self) -> float:
        return self.walks.completions(max)[0][self.walks.start]


def chain_latencies(
    space: ChainSpace,
    row_ms: Callable[[OpSpec], float],
    *,
    slope: float = 1.0,
    intercept_ms: float = 0.0,
    sigma: float = 0.0,
) -> ChainLatencies:
    """The model of `space` from the rows of a table; see `hwnas.latency.model.latency_model`."""
    return ChainLatencies(space, {spec.key: row_ms(spec) for spec in space.ops}, slope, intercept_ms, sigma)
