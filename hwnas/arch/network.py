"""`Network`: named ops, each reading what earlier ones wrote, and the primitives they lower to as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hwnas.arch.op import OpSpec
from hwnas.arch.primitives import Builder, Graph, Shape, Value
from hwnas.errors import InputError

INPUT = "input"
"""What ops call the network's input that they read."""


def sources(names: Sequence[str], reads: Mapping[str, tuple[str, ...]]) -> tuple[tuple[int, ...], ...]:
    """What each of the ops `names`, in execution order, reads: positions of earlier ones; -1 is the network's input.

    Args:
        reads: names of what an op reads, where that is not just the one before it.

    Raises:
        InputError: an op reads one that is not before it, or `reads` speaks of an op that is not there.
    """
    places = {INPUT: -1}
    found = []
    for place, name in enumerate(names):
        wanted = reads.get(name)
        unknown = [other for other in wanted or () if other not in places]
        if unknown:
            raise InputError(f"{name} reads {unknown[0]!r}, which is not before it")
        found.append((place - 1,) if wanted is None else tuple(places[other] for other in wanted))
        places[name] = place
    if strange := [name for name in reads if name not in places]:
        raise InputError(f"nothing is called {strange[0]!r}, so it reads nothing")
    return tuple(found)


@dataclass(frozen=True)
class Network:
    """Ops by name, in execution order; each reads what the one before it wrote, unless `reads` says otherwise.

    Parameters of the op named `a` are called `a.<primitive>.<parameter>` in every backend.

    Attributes:
        reads: (name of an op, names of those that it reads); `INPUT` is the network's input. The last op's output is
            the network's.

    Raises:
        InputError: it is empty, a name repeats or holds a dot, or the shape that an op reads is not what is there.
    """

    ops: tuple[tuple[str, OpSpec], ...]
    reads: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        if not self.ops:
            raise InputError("a network needs at least one op")
        names = [name for name, _ in self.ops]
        if len({INPUT, *names}) <= len(names) or any("." in name or not name for name in names):
            raise InputError(f"the ops of a network need distinct names without dots, not {', '.join(names)}")
        first = self.ops[0][1]
        for (name, spec), places in zip(self.ops[first.inputs > 1 :], self.sources[first.inputs > 1 :], strict=True):
            if len(places) != spec.inputs:
                raise InputError(f"{name} reads {spec.inputs} maps, not {len(places)}")
            for place in places:
                before, shape = self.ops[place] if place >= 0 else (INPUT, first)
                written = shape.output_shape if place >= 0 else shape.input_shape
                if written != spec.input_shape:
                    raise InputError(f"{name} reads {spec.input_shape}, but {before} writes {written}")

    @classmethod
    def single(cls, spec: OpSpec) -> Network:
        """The micro-model of one op: what a latency table measures. It has an input for every map that the op reads."""
        return cls((("op", spec),))

    @cached_property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the ops that each op reads; -1 is the network's input."""
        return sources([name for name, _ in self.ops], dict(self.reads))

    @property
    def inputs(self) -> int:
        """Number of inputs; more than one only where the first op reads several maps."""
        return self.ops[0][1].inputs

    @property
    def input_shape(self) -> Shape:
        """Of the input; where there are several, of all of them, one after the other in the channels."""
        channels, height, width = self.ops[0][1].input_shape
        return self.inputs * channels, height, width

    @property
    def output_shape(self) -> Shape:
        return self.ops[-1][1].output_shape

    @cached_property
    def graph(self) -> Graph:
        """All primitives, in execution order."""
        builder = Builder(*[self.ops[0][1].input_shape] * self.inputs)
        given = [builder.input(index) for index in range(self.inputs)]
        made: list[Value] = []
        for (name, spec), places in zip(self.ops, self.sources, strict=True):
            builder.scope(f"{name}.")
            maps = [made[place] if place >= 0 else given[0] for place in places]
            made.append(spec.lower(builder, *(maps if made else given)))
        return builder.graph(made[-1])

    @cached_property
    def idle(self) -> tuple[str, ...]:
        """Names of the ops that `none` cuts off from the input or from the output; no file holds what they compute."""
        cut = [spec.graph.output < 0 for _, spec in self.ops]
        fed: list[bool] = []
        for off, places in zip(cut, self.sources, strict=True):
            fed.append(not off and any(place < 0 or fed[place] for place in places))
        wanted = {len(self.ops) - 1}
        for place in reversed(range(len(self.ops))):
            wanted |= set(self.sources[place]) if place in wanted and not cut[place] else set()
        pairs = enumerate(self.ops)
        return tuple(n for k, (n, spec) in pairs if spec.graph.nodes and not (fed[k] and k in wanted))

    def to_json(self) -> list[dict[str, Any]]:
        reads = dict(self.reads)
        entries = ({"name": name, "op": spec.key} for name, spec in self.ops)
        return [one | ({"reads": list(reads[one["name"]])} if one["name"] in reads else {}) for one in entries]

    @classmethod
    def from_json(cls, content: Iterable[dict[str, Any]]) -> Network:
        """The network that `to_json` wrote.

        Raises:
            InputError: an entry is malformed.
        """
        try:
            entries = list(content)
            ops = tuple((str(entry["name"]), OpSpec.parse(str(entry["op"]))) for entry in entries)
            reads = tuple((str(one["name"]), tuple(map(str, one["reads"]))) for one in entries if "reads" in one)
        except (TypeError, KeyError) as error:
            raise InputError(f"a network is a list of {{name, op, reads}} objects: {error!r}") from error
        return cls(ops, reads)
