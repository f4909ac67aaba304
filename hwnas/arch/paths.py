"""Path encoding: an architecture as the chains of ops that its cells compute, whichever decisions they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from hwnas.arch.space import SearchSpace, Slot

_MOST_PATHS = 64

Path = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class _Node:
    """A slot of a part: per option its name, empty where it passes on what it reads, and None where it cuts it off.

    Attributes:
        reads: positions of the nodes of the part that it reads; -1 is what the part reads.
    """

    decision: int | None
    names: tuple[str | None, ...]
    reads: tuple[int, ...]


class Paths:
    """How often each path of chosen ops leads through a part of the network (White et al., 2021, section 3).

    Parts begin and end where all of the network passes through one slot: the cells of a space of cells. Equal parts
    count once. Ops that do nothing are left out of paths, and what `none` cuts off is on no path, so architectures
    with the same cells have the same paths.
    """

    def __init__(self, parts: Sequence[tuple[_Node, ...]]) -> None:
        self._parts = parts

    def __call__(self, choices: Sequence[int]) -> tuple[Counter[Path], Counter[Path]]:
        """How often each path is there, named by the number of the part and its ops; and how often each op is on one.

        Among the second ones, the number of a part alone counts its paths.
        """
        paths: Counter[Path] = Counter()
        ops: Counter[Path] = Counter()
        for number, part in enumerate(self._parts):
            for path, count in _through(part, choices).items():
                paths[(number, *path)] += count
                ops[(number,)] += count
                for name in path:
                    ops[(number, name)] += count
        return paths, ops


def paths_of(space: SearchSpace) -> Paths | None:
    """None where paths say no more than the choices do, or too much.

    That is in chains, where groups of decisions say which slots are read, and where more than 64 paths lead through a
    part, as between layers that read all those before them.
    """
    if space.is_chain or space.groups:
        return None
    parts = tuple(dict.fromkeys(part for part in _parts(space) if any(node.decision is not None for node in part)))
    return Paths(parts) if all(_most(part) <= _MOST_PATHS for part in parts) else None


def _parts(space: SearchSpace) -> Iterator[tuple[_Node, ...]]:
    """Slots up to one that is all that later ones read."""
    earliest = [min(places) for places in space.sources]
    read_later = [*accumulate(reversed(earliest[1:]), min)][::-1]  # the earliest place that slots after this one read
    begin = 0
    for place in range(len(space.slots)):
        if place == len(read_later) or read_later[place] >= place:
            yield tuple(
                _Node(slot.decision, _names(space, slot), tuple(read - begin for read in space.sources[begin + at]))
                for at, slot in enumerate(space.slots[begin : place + 1])
            )
            begin = place + 1


def _names(space: SearchSpace, slot: Slot) -> tuple[str | None, ...]:
    if slot.decision is None:
        return ("",)
    named = zip(space.decisions[slot.decision].options, slot.ops, strict=True)
    return tuple(None if op.graph.output < 0 else name if op.graph.nodes else "" for name, op in named)


def _through(part: Sequence[_Node], choices: Sequence[int]) -> Counter[tuple[str, ...]]:
    """Paths from what the part reads to its last node."""
    ends: list[Counter[tuple[str, ...]]] = []
    for node in part:
        name = node.names[0 if node.decision is None else choices[node.decision]]
        longer: Counter[tuple[str, ...]] = Counter()
        for place in node.reads if name is not None else ():
            for path, count in (ends[place] if place >= 0 else {(): 1}).items():
                longer[(*path, name) if name else path] += count
        ends.append(longer)
    return ends[-1]


def _most(part: Sequence[_Node]) -> int:
    """The number of paths through the part where nothing is cut off."""
    ends: list[int] = []
    for node in part:
        ends.append(sum(ends[place] if place >= 0 else 1 for place in node.reads))
    return ends[-1]
