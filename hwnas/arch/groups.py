"""Groups of decisions that hold together: of the edges into a node of a cell, so many are kept.

Everything that decides sees a space as items, one after the other: a group is one item, whose options are the valid
combinations of its decisions, and a decision of its own is an item too. Costs and scores of a combination are sums, so
what is exact for independent decisions is exact for items. Without groups the items are the decisions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hwnas.errors import InputError

Rows = Sequence[Sequence[float]]  # one row per decision, one value per option


@dataclass(frozen=True, slots=True)
class Group:
    """Decisions of which exactly `keep` take another option than `off`.

    Attributes:
        decisions: their indices, ascending.
        off: of each decision the option that leaves it out; -1 where it has none.
        keep: how many are kept.

    Raises:
        InputError: there are not so many.
    """

    decisions: tuple[int, ...]
    off: tuple[int, ...]
    keep: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.keep <= len(self.decisions):
            raise InputError(f"a group of {len(self.decisions)} decisions cannot keep {self.keep} of them")

    def kept(self, choices: Sequence[int]) -> list[int]:
        """The decisions that `choices`, one per decision of the space or of a prefix of it, do not leave out."""
        pairs = zip(self.decisions, self.off, strict=True)
        return [decision for decision, off in pairs if decision < len(choices) and choices[decision] != off]

    def restricted(self, options: Sequence[Sequence[int]]) -> Group:
        """The same group where each decision of the space offers the options `options[decision]` only."""
        pairs = zip(self.decisions, self.off, strict=True)
        left = (list(options[decision]) for decision in self.decisions)
        off = (row.index(off) if off in row else -1 for row, (_, off) in zip(left, pairs, strict=True))
        return Group(self.decisions, tuple(off), self.keep)


Groups = tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A choice that depends on no other.

    Attributes:
        decisions: what it decides.
        combinations: the valid ones, in lexicographic order; an option index for each of `decisions`.
    """

    decisions: tuple[int, ...]
    combinations: tuple[tuple[int, ...], ...]


def items(options: tuple[int, ...], groups: Groups = (), prefix: tuple[int, ...] = ()) -> tuple[Item, ...]:
    """The items of decisions that have so many `options`, in the order of their first decisions.

    Args:
        prefix: choices of the first decisions; only combinations that agree with them are left, which may be none.
    """
    found = []
    for decision in range(len(options)):
        group = _group_of(decision, groups)
        if decision == group.decisions[0]:
            found.append(_item(group, _offered(group, options, prefix)))
    return tuple(found)


@lru_cache(maxsize=4096)
def _item(group: Group, offered: tuple[Sequence[int], ...]) -> Item:
    return Item(group.decisions, tuple(sorted(_combinations(group, offered))))


def _offered(group: Group, options: Sequence[int], prefix: tuple[int, ...]) -> tuple[Sequence[int], ...]:
    """What each decision of the group may take."""
    return tuple(prefix[decision : decision + 1] or range(options[decision]) for decision in group.decisions)


def _group_of(decision: int, groups: Groups) -> Group:
    """The group of a decision; alone, it is a group of one that is always kept."""
    return next((group for group in groups if decision in group.decisions), Group((decision,), (-1,), 1))


def _combinations(group: Group, offered: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    for on in itertools.combinations(range(len(offered)), group.keep):
        rows = [
            [option for option in row if (option != off) == (place in on)]
            for place, (row, off) in enumerate(zip(offered, group.off, strict=True))
        ]
        yield from itertools.product(*rows)


def pooled(table: Rows, found: Sequence[Item]) -> list[list[float]]:
    """Sums over the decisions of each combination of each item."""
    return [
        [sum(table[d][option] for d, option in zip(item.decisions, one, strict=True)) for one in item.combinations]
        for item in found
    ]


def choices_of(found: Sequence[Item], picked: Sequence[int]) -> tuple[int, ...]:
    """The option index per decision for a combination index per item."""
    choices = {
        decision: option
        for item, index in zip(found, picked, strict=True)
        for decision, option in zip(item.decisions, item.combinations[index], strict=True)
    }
    return tuple(choices[decision] for decision in range(len(choices)))


def total(table: Rows, choices: Sequence[int], groups: Groups = ()) -> float:
    """Sum over the decisions; added up item by item, as what optimises over items does, so that both round alike."""
    if not groups:
        return sum((row[choice] for row, choice in zip(table, choices, strict=True)), 0.0)
    found = items(tuple(map(len, table)), groups)
    return sum((sum(table[decision][choices[decision]] for decision in item.decisions) for item in found), 0.0)


def allowed(options: tuple[int, ...], groups: Groups, prefix: tuple[int, ...]) -> tuple[bool, ...]:
    """Which options of decision `len(prefix)` can be completed to choices that keep to the groups."""
    group = _group_of(len(prefix), groups)
    offers = (_offered(group, options, (*prefix, option)) for option in range(options[len(prefix)]))
    return tuple(any(_combinations(group, offered)) for offered in offers)


def neighbours(choices: tuple[int, ...], options: tuple[int, ...], groups: Groups = ()) -> Iterator[tuple[int, ...]]:
    """Choices that differ in one thing: another option of one decision, or one edge in the place of another."""
    off = {decision: option for group in groups for decision, option in zip(group.decisions, group.off, strict=True)}
    for item in items(options, groups):
        now = tuple(choices[decision] for decision in item.decisions)
        for other in item.combinations:
            pairs = zip(item.decisions, now, other, strict=True)
            if sum(new not in (old, off.get(decision, -1)) for decision, old, new in pairs) == 1:
                swapped = list(choices)
                for decision, option in zip(item.decisions, other, strict=True):
                    swapped[decision] = option
                yield tuple(swapped)
