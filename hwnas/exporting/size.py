"""How large a model file becomes, as a sum over decisions: a bound that no file of the space exceeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnx

from hwnas.arch.groups import Groups, items, pooled, total
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.backends.model_format import format_of
from hwnas.backends.onnx import INPUT, OUTPUT, onnx_model
from hwnas.runtimes import DEFAULT, runtime_named

_FRAME_BYTES = {".onnx": 1600, ".tflite": 4096}
"""More than all that is neither an op nor counted by `size_model`: versions, what is computed around the network, names
of metadata, and how an app makes the input."""
_EMPTY_BYTES = {".onnx": 0, ".tflite": 352}
"""No file is smaller: what the files of single ops have in common."""


@dataclass(frozen=True)
class SizeModel:
    """`bytes <= fixed_bytes + Σ_d costs_bytes[d][choice_d]`, and short of it by less than 1 KiB.

    LiteRT: by less than 6 KiB; int8: by less than 12 KiB. In cells, whose ops share activations and are many, by less
    than 4 KiB, LiteRT by less than 32 KiB, for eight cells of `darts`.
    """

    costs_bytes: tuple[tuple[int, ...], ...]
    fixed_bytes: int
    groups: Groups = ()

    @property
    def smallest_bytes(self) -> int:
        found = items(tuple(map(len, self.costs_bytes)), self.groups)
        return self.fixed_bytes + int(sum(map(min, pooled(self.costs_bytes, found))))

    def predict_bytes(self, choices: Sequence[int]) -> int:
        """The bound of an architecture."""
        return self.fixed_bytes + int(total(self.costs_bytes, choices))


def size_model(
    space: SearchSpace,
    classes: Sequence[str],
    texts: Sequence[str],
    runtime: str = DEFAULT,
    precision: str = "fp32",
) -> SizeModel:
    """The bound for files of `space`.

    An ONNX file is its ops, one after the other, in a frame: protobuf has no padding, and the length of a weight does
    not depend on its values. Where an op's bytes depend on its neighbours, the largest are taken: an op names the
    value that it reads, which an op before it has named, further up where options are skipped.
    A LiteRT file, or one that was quantised, shares what its ops have in common, so it is smaller than their own files
    together.

    Args:
        classes: their names, which the metadata holds.
        texts: all else in the metadata that may be long: names of the data and of the device.
        runtime, precision: what the files are made for.
    """
    suffix = runtime_named(runtime).suffix
    litert = suffix == ".tflite"
    channels, _, width = space.input_shape
    fixed = _FRAME_BYTES[suffix] + _text_bytes(json.dumps(dict(enumerate(classes)), ensure_ascii=False), litert)
    fixed += sum(_text_bytes(text, litert) for text in texts) + 8 * channels * (width if litert else 1)
    if litert:  # the classes once more, as a file in its archive
        fixed += sum(_text_bytes(f"{name}\n", False) for name in classes)
    exact = suffix == ".onnx" and precision == "fp32"
    costs = [[0] * len(decision.options) for decision in space.decisions]
    shared: dict[str, int] = {}  # constants that ops have in common are written once
    unread = {(d, off) for group in space.groups for d, off in zip(group.decisions, group.off, strict=True)}
    longest = [len(f"{INPUT}_cast")]  # names of values that each slot may write; the last one is the input's
    for slot, places in zip(space.slots, space.sources, strict=True):
        reads = max(longest[place] for place in places)
        parts = [
            _onnx_part(slot.name, spec, reads) if exact else _file_part(slot.name, spec, runtime, precision)
            for spec in slot.ops
        ]
        for option, part in enumerate(parts):
            empty = not (slot.weighted or slot.ops[option].graph.nodes)
            if empty or (slot.decision, option) in unread:  # sums leave it out: it is no map of zeros in the file
                described = json.dumps(Network(((slot.name, slot.ops[option]),)).to_json())
                part = _Part(_text_bytes(described, litert), {}, 0)
            shared |= part.shared
            if slot.decision is None:
                fixed += part.own
            else:
                costs[slot.decision][option] += part.own
        names = [part.writes for part in parts]
        longest.insert(-1, max(*names, reads if 0 in names else 0))
        named = sorted(slot.reads, key=len)[-slot.ops[0].inputs :]  # what joins kept edges names no others
        fixed += _text_bytes(json.dumps({"reads": named}), litert) if named else 0
    return SizeModel(tuple(map(tuple, costs)), fixed + sum(shared.values()), space.groups)


@dataclass(frozen=True)
class _Part:
    own: int
    shared: Mapping[str, int]
    writes: int  # length of the name of what it writes; 0 where it writes nothing


@lru_cache(maxsize=4096)
def _file_part(slot: str, spec: OpSpec, runtime: str, precision: str) -> _Part:
    """As `_onnx_part`; names and constants that several ops share are counted with each."""
    network, model_format = Network(((slot, spec),)), format_of(runtime, precision)
    described = _text_bytes(json.dumps(network.to_json()), model_format.suffix == ".tflite")
    return _Part(described + len(model_format.random_model(network)) - _EMPTY_BYTES[model_format.suffix], {}, 0)


@lru_cache(maxsize=4096)
def _onnx_part(slot: str, spec: OpSpec, reads: int) -> _Part:
    """Bytes of one op, in the graph and in the description of the architecture that the metadata holds."""
    network = Network(((slot, spec),))
    described = len(json.dumps(network.to_json()))
    graph = network.graph
    if not graph.nodes:
        return _Part(described, {}, 0)
    shapes = graph.parameters() | graph.statistics()
    weights = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    proto = onnx.load_from_string(onnx_model(network, weights)).graph
    written = graph.nodes[graph.output - len(graph.inputs)].name
    longest = {value.name: "x" * reads for value in proto.input} | {OUTPUT: max(written, OUTPUT, key=len)}
    for node in proto.node:
        for names in (node.input, node.output):
            names[:] = [longest.get(name, name) for name in names]
    own = sum(_entry(node.ByteSize()) for node in proto.node)
    shared = {}
    for tensor in proto.initializer:
        if tensor.name.startswith(f"{slot}."):
            own += _entry(tensor.ByteSize())
        else:
            shared[tensor.name] = _entry(tensor.ByteSize())
    return _Part(described + own, shared, len(longest[OUTPUT]))


def _text_bytes(text: str, quoted: bool) -> int:
    """Bytes of a text of the metadata; within JSON it is `quoted`."""
    return len((json.dumps(text, ensure_ascii=False) if quoted else text).encode(errors="replace"))


def _entry(size: int) -> int:
    """Bytes of a protobuf field that holds a message: tag, length, content."""
    return 1 + max(1, (size.bit_length() + 6) // 7) + size
