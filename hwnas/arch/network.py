"""`Network`: named ops in a row, and the primitives they lower to as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hwnas.arch.op import OpSpec
from hwnas.arch.primitives import Builder, Graph, Shape
from hwnas.errors import InputError


@dataclass(frozen=True)
class Network:
    """Ops by name, in execution order; each reads what the one before it wrote.

    Parameters of the op named `a` are called `a.<primitive>.<parameter>` in every backend.

    Raises:
        InputError: it is empty, a name repeats or holds a dot, or the shape that an op reads is not the one before it.
    """

    ops: tuple[tuple[str, OpSpec], ...]

    def __post_init__(self) -> None:
        if not self.ops:
            raise InputError("a network needs at least one op")
        names = [name for name, _ in self.ops]
        if len(set(names)) != len(names) or any("." in name or not name for name in names):
            raise InputError(f"the ops of a network need distinct names without dots, not {', '.join(names)}")
        for (before, a), (name, b) in zip(self.ops, self.ops[1:], strict=False):
            if a.output_shape != b.input_shape:
                raise InputError(f"{name} reads {b.input_shape}, but {before} writes {a.output_shape}")

    @classmethod
    def single(cls, spec: OpSpec) -> Network:
        """The micro-model of one op: what a latency table measures."""
        return cls((("op", spec),))

    @property
    def input_shape(self) -> Shape:
        return self.ops[0][1].input_shape

    @property
    def output_shape(self) -> Shape:
        return self.ops[-1][1].output_shape

    @cached_property
    def graph(self) -> Graph:
        """All primitives, in execution order."""
        builder = Builder(self.input_shape)
        x = builder.input()
        for name, spec in self.ops:
            builder.scope(f"{name}.")
            x = spec.lower(builder, x)
        return builder.graph(x)

    def to_json(self) -> list[dict[str, str]]:
        return [{"name": name, "op": spec.key} for name, spec in self.ops]

    @classmethod
    def from_json(cls, content: Iterable[dict[str, Any]]) -> Network:
        """The network that `to_json` wrote.

        Raises:
            InputError: an entry is malformed.
        """
        try:
            return cls(tuple((str(entry["name"]), OpSpec.parse(str(entry["op"]))) for entry in content))
        except (TypeError, KeyError) as error:
            raise InputError(f"a network is a list of {{name, op}} objects: {error!r}") from error
