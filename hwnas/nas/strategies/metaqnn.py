"""MetaQNN (Baker et al., 2017): an agent learns by tabular Q-learning which option to take next."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hwnas.errors import InputError
from hwnas.nas.choice_set import ChoiceSet
from hwnas.nas.strategies.warm_start import check_fit, tagged

_SCHEDULE = (  # ε, and for how many different models of 2,700 in all (table 2 of the paper)
    (1.0, 1500),
    *((epsilon, 100) for epsilon in (0.9, 0.8, 0.7)),
    *((epsilon, 150) for epsilon in (0.6, 0.5, 0.4, 0.3, 0.2, 0.1)),
)
_KIND = "Q-table"
_CARRIED_EPSILON = 0.1
_ANCHORS = 10
_LONGEST = 5  # options in the states of the tables that are kept for later tasks
_ENOUGH = 3  # architectures through a state, for its values to be gone by
_REPEATS = 20  # of known models, until one is proposed again

_State = tuple[int, ...]  # how many of the options taken last it holds, the number of the decision, these options
_Transition = tuple[list[float], int, list[int]]  # values of the state, the action, and all that were allowed


class MetaQNN:
    """Takes a random allowed option with probability ε, and else the one with the highest value Q(state, option).

    Of a finished architecture, from its last decision back to its first, `Q ← Q + α (target - Q)`, where the target
    is the score at the end and the highest value of the next state's allowed options before it (γ = 1). Every score is
    followed by a replay of 100 stored architectures. One that the agent builds again is learned from its stored score,
    and the agent goes on to the next: ε falls with the number of different ones, as in the paper.

    The state is the number of the decision and the option taken last, as the paper's is the depth and the last layer:
    so little that tens of architectures visit every state several times. ε runs through the paper's schedule in
    `models` architectures and stays at its end. The paper's α = 0.01 is for 2,700 models; within a hundred it would
    leave many values near their start, so the default is ten times that.

    To another task it carries the values over, and ε is at its end, 0.1: the schedule's first half would not look at
    them. One option says little of what goes well with it, and many tasks say more, so scores are learned by further
    tables as well, whose states hold up to five of the options taken last. From scratch nothing is decided by these; on
    a later task the agent goes by the longest state that three architectures or more passed through. The later task's
    scores may be higher or lower throughout, and what is new would then look bad or good beside all that is old; so
    while the first ten are told, all values move by what they were wrong on average.
    """

    def __init__(
        self,
        feasible: ChoiceSet,
        seed: int,
        *,
        models: int = 50,
        rate: float = 0.1,
        initial: float = 0.5,
        replays: int = 100,
        context: int = 1,
    ) -> None:
        """Prepare an agent that knows nothing.

        Args:
            models: different architectures until ε has fallen to 0.1.
            rate: α.
            initial: the value of what was never tried.
            replays: stored architectures that are learned again after each score.
            context: how many of the options taken last belong to the state.
        """
        self._feasible, self._rng = feasible, np.random.default_rng(seed)
        self._models, self._rate, self._initial = models, rate, initial
        self._replays, self._context = replays, context
        self._lengths = (context, *range(context + 1, _LONGEST + 1))
        self._values: dict[_State, list[float]] = {}
        self._visits: dict[_State, int] = {}  # different architectures of each task
        self._scores: dict[tuple[int, ...], float] = {}
        self._paths: dict[tuple[int, ...], list[list[_Transition]]] = {}
        self._carried = False
        self._anchors = 0  # scores that still shift carried values

    @property
    def epsilon(self) -> float:
        """The share of options that are taken at random now."""
        if self._carried:
            return _CARRIED_EPSILON
        left = len(self._scores) * sum(count for _, count in _SCHEDULE) / self._models
        for epsilon, count in _SCHEDULE:
            if left < count:
                return epsilon
            left -= count
        return _SCHEDULE[-1][0]

    def values(self, prefix: Sequence[int]) -> list[float]:
        """Q of each option of decision `len(prefix)`, by which the agent goes."""
        for length in reversed(self._lengths[1:] if self._carried else ()):
            state = _state(prefix, length)
            if self._visits.get(state, 0) >= _ENOUGH:
                return self._of(state)
        return self._of(_state(prefix, self._context))

    def ask(self) -> tuple[int, ...]:
        for _ in range(_REPEATS):
            choices = self._walk()
            if choices not in self._scores:
                break
            self._learn(choices)
        return choices

    def tell(self, choices: Sequence[int], score: float) -> None:
        told = tuple(choices)
        if told not in self._scores:
            for length, at in itertools.product(self._lengths, range(len(told))):
                state = _state(told[:at], length)
                self._visits[state] = self._visits.get(state, 0) + 1
        self._scores[told] = score
        if self._anchors:
            self._shift((score - self.values(told[:-1])[told[-1]]) / (_ANCHORS + 1 - self._anchors))
            self._anchors -= 1
        self._learn(told)
        memory = list(self._scores)
        for index in self._rng.integers(len(memory), size=self._replays):
            self._learn(memory[index])

    def state(self) -> dict[str, Any]:
        return {
            "rng": self._rng.bit_generator.state,
            "values": [[*one] for one in self._values.items()],
            "visits": [[*one] for one in self._visits.items()],
            "scores": [[*one] for one in self._scores.items()],
            "carried": [self._initial, self._carried, self._anchors],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._values = {tuple(key): list(values) for key, values in state["values"]}
        self._visits = {tuple(key): count for key, count in state["visits"]}
        self._scores = {tuple(choices): score for choices, score in state["scores"]}
        self._paths.clear()
        self._initial, self._carried, self._anchors = state["carried"]

    def export_state(self) -> dict[str, Any]:
        values = [[*one] for one in self._values.items()]
        visits = [[*one] for one in self._visits.items()]
        return tagged(
            _KIND, self._feasible.options, context=self._context, initial=self._initial, values=values, visits=visits
        )

    def warm_start(self, sampler_state: dict[str, Any]) -> None:
        check_fit(sampler_state, _KIND, self._feasible.options)
        if sampler_state["context"] != self._context:
            raise InputError(
                f"the Q-table's states hold the last {sampler_state['context']} options, but this agent's "
                f"{self._context}",
                hint="start from what an agent with the same context learned",
            )
        for (_, at, *_), values in sampler_state["values"]:
            if len(values) != self._feasible.options[at] or not all(map(math.isfinite, values)):
                raise InputError(
                    f"a state before decision {at} must have {self._feasible.options[at]} finite values, not {values}",
                    hint="start from another run",
                )
        self._values = {tuple(key): list(values) for key, values in sampler_state["values"]}
        self._visits = {tuple(key): int(count) for key, count in sampler_state["visits"]}
        self._initial = float(sampler_state["initial"])
        self._scores.clear()
        self._paths.clear()
        self._carried, self._anchors = True, _ANCHORS

    def _of(self, state: _State) -> list[float]:
        if state not in self._values:
            self._values[state] = [self._initial] * self._feasible.options[state[1]]
        return self._values[state]

    def _shift(self, by: float) -> None:
        """Move all values, those of states that were never visited included."""
        self._initial += by
        for values in self._values.values():
            values[:] = [value + by for value in values]

    def _walk(self) -> tuple[int, ...]:
        choices: list[int] = []
        for _ in self._feasible.options:
            options = _true(self._feasible.allowed(choices))
            if self._rng.random() >= self.epsilon:
                values = self.values(choices)
                highest = max(values[option] for option in options)
                options = [option for option in options if values[option] == highest]
            choices.append(int(self._rng.choice(options)))
        return tuple(choices)

    def _learn(self, choices: tuple[int, ...]) -> None:
        if choices not in self._paths:
            self._paths[choices] = self._path(choices)
        for path in self._paths[choices]:
            target = self._scores[choices]
            for values, choice, allowed in path:
                values[choice] += self._rate * (target - values[choice])
                target = max([values[option] for option in allowed])

    def _path(self, choices: tuple[int, ...]) -> list[list[_Transition]]:
        """For each length of states the transitions of an architecture, the last one first."""
        prefixes = [choices[:at] for at in reversed(range(len(choices)))]
        allowed = [_true(self._feasible.allowed(prefix)) for prefix in prefixes]
        return [
            [
                (self._of(_state(prefix, length)), choices[len(prefix)], options)
                for prefix, options in zip(prefixes, allowed, strict=True)
            ]
            for length in self._lengths
        ]


def _state(prefix: Sequence[int], length: int) -> _State:
    """What an agent with states of `length` options knows before decision `len(prefix)`."""
    return (length, len(prefix), *prefix[max(0, len(prefix) - length) :])


def _true(flags: Sequence[bool]) -> list[int]:
    return [index for index, flag in enumerate(flags) if flag]
