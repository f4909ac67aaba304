"""`OpSpec`: one operation, described once. Its key names a row of a latency table and parses back to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TypeAlias

from hwnas.arch.primitives import ACTIVATIONS, PADDINGS, Builder, Graph, Shape, Value
from hwnas.errors import InputError
from hwnas.image_size import Size
from hwnas.near_names import did_you_mean

_CODES = {
    "cin": "i",
    "cout": "o",
    "height": "h",
    "width": "w",
    "kernel": "k",
    "stride": "s",
    "expand": "e",
    "groups": "g",
    "dilation": "d",
    "se": "se",
    "inputs": "n",
    "mid": "m",
    "start": "a",
}
_FIELD_OF_CODE = {code: field for field, code in _CODES.items()}
_ALWAYS = ("cin", "cout", "height", "width")
_WORDS = {"act": ("an activation", ACTIVATIONS), "pad": ("a padding", PADDINGS)}
_FIELD_OF_WORD = {word: field for field, (_, words) in _WORDS.items() for word in words}
_MAY_BE_ZERO = ("se", "mid")
_LARGEST = 1 << 20

Lowering: TypeAlias = "Callable[..., Value]"  # of a Builder, an OpSpec, and as many values as the op reads


@dataclass(frozen=True, slots=True)
class Kind:
    """A registered kind of op: the optional fields it uses and how it lowers."""

    name: str
    uses: frozenset[str]
    lower: Lowering


_kinds: dict[str, Kind] = {}


def op(name: str, uses: str = "") -> Callable[[Lowering], Lowering]:
    """Register a kind of op.

    Args:
        name: letters and digits, first a letter.
        uses: the optional fields of `OpSpec` that the kind uses, separated by blanks. A field that a kind does not use
            keeps its default, so one op has exactly one key.

    Raises:
        InputError: the name is taken or malformed, or a field is unknown.
    """
    used = frozenset(uses.split())
    unknown = used - {field.name for field in fields(OpSpec)} - {"kind"}
    if unknown:
        raise InputError(f"op {name!r} uses unknown fields: {', '.join(sorted(unknown))}")
    if not re.fullmatch(r"[a-z][a-z0-9]*", name):
        raise InputError(f"the name of an op is lower-case letters and digits, not {name!r}")
    if name in _kinds:
        raise InputError(f"an op named {name!r} is registered already: choose another name")

    def register(lower: Lowering) -> Lowering:
        _kinds[name] = Kind(name, used, lower)
        return lower

    return register


def kinds() -> tuple[str, ...]:
    """Names of the registered kinds, sorted."""
    return tuple(sorted(_kinds))


def lowered_here(name: str) -> bool:
    """Whether hwnas itself, and no plug-in, says how ops of a kind lower."""
    return _kinds[name].lower.__module__.startswith(f"{__package__}.")


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One operation on a (cin, height, width) map, or on several of that shape.

    Attributes:
        kind: a registered kind, for example `mbconv`.
        cin, cout: channels in and out.
        height, width: of the input, in pixels.
        kernel, stride, groups, dilation: as in a convolution.
        expand: channels inside are `expand · cin`.
        se: squeeze-excite; 0 is none, n squeezes to 1/n of the channels it gates.
        act: one of `ACTIVATIONS`.
        inputs: how many maps are read.
        pad: one of `PADDINGS`, as in `Conv`.
        mid: channels inside, where they are no multiple of `cin`; 0 leaves them to `expand`.
        start: kernel of a depthwise convolution before the expansion; 1 is none.

    Raises:
        InputError: the kind is unknown, a value is out of range, or a field is set that the kind does not use.
    """

    kind: str
    cin: int
    cout: int
    height: int
    width: int
    kernel: int = 1
    stride: int = 1
    expand: int = 1
    groups: int = 1
    dilation: int = 1
    se: int = 0
    act: str = "none"
    inputs: int = 1
    pad: str = "centred"
    mid: int = 0
    start: int = 1

    def __post_init__(self) -> None:
        if self.kind not in _kinds:
            raise InputError(
                f"unknown op {self.kind!r}", hint=f"{did_you_mean(self.kind, kinds())}known ops: {', '.join(kinds())}"
            )
        uses = _kinds[self.kind].uses
        for name, default, _, least in _PARTS:
            value = getattr(self, name)
            if value is default:
                continue
            if value != default and name not in uses and name not in _ALWAYS:
                raise InputError(f"op {self.kind!r} does not use {name}, so it cannot be {value!r}")
            if name in _WORDS:
                what, words = _WORDS[name]
                if value not in words:
                    raise InputError(f"{what} is one of {', '.join(words)}, not {value!r}")
            elif type(value) is not int or not least <= value <= _LARGEST:
                raise InputError(f"{name} of op {self.kind!r} must be a positive integer, not {value!r}")
        for kernel in (self.kernel, self.start):
            if kernel % 2 == 0:
                raise InputError(f"a kernel is odd, so that padding is symmetric, not {kernel}")
        if self.mid and (self.expand > 1 or self.mid % self.cin == 0):
            raise InputError(
                f"mid is for channels inside that are no multiple of cin, not for {self.mid} of {self.cin} channels "
                f"with expand {self.expand}",
                hint="use expand alone",
            )
        if self.cin % self.groups or self.cout % self.groups:
            raise InputError(f"groups must divide both channel counts: {self.groups} against {self.cin}, {self.cout}")

    @property
    def input_shape(self) -> Shape:
        """Of each map that is read."""
        return (self.cin, self.height, self.width)

    @property
    def inner(self) -> int:
        """Channels inside."""
        return self.mid or self.expand * self.cin

    def with_inner(self, channels: int) -> OpSpec:
        """This op with so many channels inside."""
        expand, rest = divmod(channels, self.cin)
        return replace(self, expand=1, mid=channels) if rest else replace(self, expand=expand, mid=0)

    @property
    def key(self) -> str:
        """Canonical text of this op, for example `mbconv-i16-o24-h32-w32-k3-s2-e6-relu6`."""
        parts = [self.kind]
        for name, default, code, _ in _PARTS:
            value = getattr(self, name)
            if value != default:
                parts.append(f"{code}{value}")
        return "-".join(parts)

    @classmethod
    def parse(cls, key: str) -> OpSpec:
        """The op whose `key` this is.

        Raises:
            InputError: the text is not the key of any op, or not in its canonical form.
        """
        kind, *parts = key.split("-")
        values: dict[str, int | str] = {}
        for part in parts:
            field, value = _field_of(part)
            if not field or field in values:
                raise InputError(f"{part!r} does not belong in the op key {key!r}")
            values[field] = value
        missing = [field for field in _ALWAYS if field not in values]
        if missing:
            raise InputError(f"the op key {key!r} lacks {', '.join(missing)}")
        spec = cls(kind, **values)  # type: ignore[arg-type]
        if spec.key != key:
            raise InputError(f"the op key {key!r} is not canonical", hint=f"write it as {spec.key!r}")
        return spec

    def lower(self, builder: Builder, *maps: Value) -> Value:
        """Append this op's primitives to `builder`, reading `maps`."""
        shapes = [x.shape for x in maps]
        if shapes != [self.input_shape] * self.inputs:
            wanted = f"a {self.input_shape} map" if self.inputs == 1 else f"{self.inputs} {self.input_shape} maps"
            raise InputError(f"{self.key} reads {wanted}, not {', '.join(map(str, shapes))}")
        return _kinds[self.kind].lower(builder, self, *maps)

    @property
    def graph(self) -> Graph:
        """The primitives of this op alone."""
        return _graph(self)

    @property
    def output_shape(self) -> Shape:
        return self.graph.output_shape

    @property
    def output_size(self) -> Size:
        return Size(*self.output_shape[1:])


_PARTS = tuple(
    (field.name, field.default, _CODES.get(field.name, ""), 0 if field.name in _MAY_BE_ZERO else 1)
    for field in fields(OpSpec)[1:]
)
"""Of each field but the kind: name, default (of those without one, what no value equals), code and least value.

Kept, as a table of 100,000 rows asks for them 100,000 times.
"""


@lru_cache(maxsize=4096)
def _field_of(part: str) -> tuple[str, int | str]:
    """The field that a part of a key sets, empty where there is none, and its value."""
    match = re.fullmatch(r"([a-z]+)([0-9]{1,7})", part, re.ASCII)
    field = _FIELD_OF_WORD.get(part) or (_FIELD_OF_CODE.get(match[1]) if match else None)
    return field or "", part if match is None or field in _WORDS else int(match[2])


@lru_cache(maxsize=65536)
def _graph(spec: OpSpec) -> Graph:
    builder = Builder(*[spec.input_shape] * spec.inputs)
    return builder.graph(spec.lower(builder, *map(builder.input, range(spec.inputs))))
