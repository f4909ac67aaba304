"""Sums of scores that stand for the losses of whole networks, corrected by networks that were scored whole.

Numbers only. A sum misleads where what two blocks lose together is not what they lose alone. The correction is a ridge
regression toward the sums: of a network's loss on what each of its options, and each pair of neighbours, changes. Its
predictions are still a table and pairs, so the best network within a budget is found exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwnas.nas.decode import OptionTable, negative
from hwnas.nas.feasible_set import FeasibleSet
from hwnas.nas.milp import Pairs, best_within, total_score
from hwnas.nas.select import candidates

_SPREAD = 8.0  # of the preferences of a decision, in the middle: what α travels in a search
_RIDGES = (10.0, 1.0, 0.1, 0.01)  # times the mean of what a network's features come to
_LEAST_DEVIATION = 0.25  # of the middle score
_FEWEST = 4  # networks that a correction is made from
_ROUNDING = 1e-9  # of losses
_ROUNDS = 6

Choices = tuple[int, ...]
WholeLosses = Callable[[Sequence[Choices]], Sequence[float]]
"""Losses of whole networks."""


@dataclass(frozen=True)
class Sums:
    """Predicted losses: `Σ_d table[d][choice_d]`, and what pairs of options add.

    Attributes:
        table: per decision and option.
        pairs: of options of two decisions.
    """

    table: OptionTable
    pairs: Pairs = field(default_factory=dict)

    def loss(self, choices: Sequence[int]) -> float:
        """Predicted for one network."""
        return total_score(self.table, self.pairs, choices)

    def best(self, feasible: FeasibleSet) -> Choices | None:
        """The network with the least predicted loss, exactly; None where there is none.

        Args:
            feasible: of a space without groups.
        """
        scores = negative(self.table)
        start = feasible.decode(scores)
        if start is None or not self.pairs:
            return start
        costs = [one.costs.table for one in feasible.constraints]
        budgets = [one.raw_budget for one in feasible.constraints]
        return best_within(scores, costs, budgets, start, {key: -value for key, value in self.pairs.items()})

    def around(self, choices: Sequence[int]) -> list[list[float]]:
        """The table with every pair as it counts beside the other options of a network.

        Differences between this network and those with one other option are those of `loss`.
        """
        table = [list(row) for row in self.table]
        for ((a, i), (b, j)), value in self.pairs.items():
            table[a][i] += value * (choices[b] == j)
            table[b][j] += value * (choices[a] == i)
        return table


def preferences(losses: OptionTable) -> list[list[float]]:
    """What costs little is preferred, in units of which the middle decision spans 8, as α after a search."""
    spreads = sorted(max(row) - min(row) for row in losses)
    unit = _SPREAD / max(spreads[len(spreads) // 2], 1e-9) if spreads else 1.0
    return [[-unit * value for value in row] for row in losses]


def corrected(scores: OptionTable, judged: Mapping[Choices, float]) -> Sums:
    """Sums of `scores` in the scale of the losses of whole networks, with what these say of options and neighbours.

    The prior of an option's change deviates by its score and a quarter of the middle one, and that of a pair of
    neighbours by twice the root of the product of theirs, as if errors of logits added up. The ridge is the one with
    the least leave-one-out error; where none has less than the scaled sums alone, these are kept.

    Args:
        scores: at least 0; 0 for what changes nothing.
        judged: losses of whole networks, best of some near the budget.
    """
    if len(judged) < _FEWEST:
        return Sums(scores)
    networks, losses = list(judged), np.array(list(judged.values()))
    sums = _taken(scores, networks).sum(axis=1)
    scale = float(sums @ losses) / max(float(sums @ sums), 1e-300)
    if scale <= 0.0:
        return Sums(scores)
    rest = losses - scale * sums
    rest[np.abs(rest) < _ROUNDING * np.abs(losses).max()] = 0.0
    deviations = _taken(_deviations(scores), networks)
    dual = _dual(_kernel(np.array(networks), deviations), rest)
    table = [[scale * value for value in row] for row in scores]
    pairs: dict[tuple[tuple[int, int], tuple[int, int]], float] = defaultdict(float)
    for weight, choices, own in zip(dual.tolist(), networks, deviations.tolist(), strict=True):
        for decision, option in enumerate(choices):
            table[decision][option] += weight * own[decision] ** 2
            if decision:
                before = decision - 1, choices[decision - 1]
                pairs[before, (decision, option)] += 4.0 * weight * own[decision - 1] * own[decision]
    return Sums(table, {key: value for key, value in pairs.items() if value})


def judged_candidates(
    scores: OptionTable,
    feasible: Sequence[FeasibleSet],
    whole: WholeLosses,
    *,
    count: int,
    seed: int,
) -> tuple[Sums, dict[Choices, float]]:
    """Decode, score whole networks, correct; a few times over.

    In each round the best network by the sums so far is scored, and diverse ones beside it, which are the best by sums
    with noise.

    Args:
        feasible: one for each budget; all share the candidates.
        count: networks in all, at most.

    Returns:
        The corrected sums, and the losses of the networks, in the order in which they were scored.
    """
    sums, judged = Sums(scores), dict[Choices, float]()
    each = max(1, count // (_ROUNDS * len(feasible)))
    for turn in range(_ROUNDS if count else 0):
        new: list[Choices] = []
        for within in feasible:
            most = min(each, count - len(judged) - len(new))
            new += _proposed(sums, within, most, seed + turn, {*judged, *new})
        if not new:
            break
        judged |= zip(new, whole(new), strict=True)
        sums = corrected(scores, judged)
    return sums, judged


def _proposed(sums: Sums, feasible: FeasibleSet, count: int, seed: int, known: set[Choices]) -> Iterator[Choices]:
    """Up to `count` networks that are not known: the best one, and the best ones around it under noise."""
    best = sums.best(feasible) if count > 0 else None
    if best is None:
        return
    noisy = candidates(preferences(sums.around(best)), feasible, count=count + len(known) + 1, seed=seed)
    left = count
    for found in (best, *noisy):
        if left and found not in known:
            known.add(found)
            left -= 1
            yield found


def _taken(table: OptionTable, networks: Sequence[Choices]) -> NDArray[np.float64]:
    """What the table has for the options of networks (n, decisions)."""
    return np.array([[row[choice] for row, choice in zip(table, one, strict=True)] for one in networks])


def _deviations(scores: OptionTable) -> OptionTable:
    """How far off an option may be; what loses nothing is not."""
    known = [value for row in scores for value in row if value > 0.0]
    least = _LEAST_DEVIATION * float(np.median(known)) if known else 0.0
    return [[value + least if value > 0.0 else 0.0 for value in row] for row in scores]


def _kernel(taken: NDArray[np.int64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """What networks (n, decisions) have in common (n, n): options and pairs of neighbours, by their variances."""
    same = taken[:, None, :] == taken[None, :, :]
    options: NDArray[np.float64] = (same * own[:, None, :] ** 2).sum(axis=2)
    both = same[..., 1:] & same[..., :-1]
    neighbours: NDArray[np.float64] = (both * 4.0 * (own[:, 1:] * own[:, :-1])[:, None, :]).sum(axis=2)
    return options + neighbours


def _dual(kernel: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the networks in the ridge regression of `rest`; zeros where leaving one out tells that none helps."""
    best, least = np.zeros(len(rest)), float(rest @ rest)
    size = float(kernel.diagonal().mean())
    for ridge in _RIDGES if size > 0.0 else ():
        inverse = np.linalg.inv(kernel + ridge * size * np.eye(len(rest)))
        weights = inverse @ rest
        error = float(np.square(weights / inverse.diagonal()).sum())
        if error < least:
            best, least = weights, error
    return best
