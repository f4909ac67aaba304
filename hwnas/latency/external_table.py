"""Files of latencies that others made: FBNet's layer x op tables, rows of ProxylessNAS and OFA, and CSV. Never trusted.

Readers only: what comes out is still in the file's own unit and unchecked; `hwnas/latency/imported.py` makes a table
of it.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hwnas.arch.op import OpSpec, kinds
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import space_instance
from hwnas.errors import InputError
from hwnas.schema import json_as

_LATENCY_COLUMNS = {"latency_us": "us", "median_us": "us", "latency_ms": "ms"}
_CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
_REASONS, _LONGEST_KIND = 9, 40  # that are told apart, and letters of a kind that are told
_SHAPE = r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})x([1-9][0-9]{0,4})"
_OFA_MEAN = re.compile(r"""(?<![^\s{,])["']?mean["']?:\s+([^\s,}]{1,40})""")
_OFA_KEY = re.compile(
    rf"([A-Za-z_0-9]+)-input:{_SHAPE}-output:(?:{_SHAPE}|([1-9][0-9]{{0,6}}))((?:-[a-z]+:[0-9]{{1,5}})*)"
)


@dataclass(frozen=True)
class ExternalTable:
    """What such a file holds.

    Attributes:
        unit: of all its latencies: s, ms or us.
        rows: op, latency, and what the file calls the row.
        left_out: what hwnas has no op for, and how often it came.
        space: what the constant belongs to, where there is one.
        constant: latency of a network of `space` besides its rows.
        folded: ops of `space` that the constant stands for.
        facts: what the file says of itself.
    """

    unit: str
    rows: list[tuple[OpSpec, Any, str]]
    left_out: Counter[str] = field(default_factory=Counter)
    space: SearchSpace | None = None
    constant: Any = 0.0
    folded: tuple[OpSpec, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


def read_csv(text: str) -> ExternalTable:
    """Columns `key`, the key of an op, and one of `latency_us`, `median_us`, `latency_ms`; others are ignored.

    Rows whose key names no op of hwnas are counted and left out.

    Raises:
        InputError: there are no such columns, or a line is broken.
    """
    reader = csv.DictReader(io.StringIO(text), strict=True)
    rows: list[tuple[OpSpec, Any, str]] = []
    left_out: Counter[str] = Counter()
    try:
        columns = list(reader.fieldnames or [])
        named = [name for name in columns if name in _LATENCY_COLUMNS]
        if columns.count("key") != 1 or len(named) != 1:
            raise InputError(
                f"a CSV of latencies has a column key and one of {', '.join(_LATENCY_COLUMNS)}, "
                f"not {','.join(columns)[:200]}"
            )
        for line in reader:
            if None in line or None in line.values():
                raise InputError(f"line {reader.line_num} does not have {len(columns)} fields")
            try:
                rows.append((OpSpec.parse(line["key"]), line[named[0]], f"line {reader.line_num}"))
            except InputError:
                kind = _kind_of(line["key"])
                _leave_out(left_out, f"keys of {kind} that are none of hwnas" if kind in kinds() else f"{kind!r} ops")
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} is not CSV: {error}") from error
    return ExternalTable(_LATENCY_COLUMNS[named[0]], rows, left_out)


def _kind_of(key: str) -> str:
    """What a key begins with."""
    return key.partition("-")[0][:_LONGEST_KIND]


def _leave_out(left_out: Counter[str], reason: str) -> None:
    """Count a row; of reasons there are few."""
    left_out[reason if reason in left_out or len(left_out) < _REASONS else "others"] += 1


def read_fbnet(text: str, *, entry: str, width: float, resolution: int, channels: int, classes: int) -> ExternalTable:
    """Layer x op tables relative to skipping the layer, with the latency of the network that skips them all.

    What such a table cannot tell apart (stem, head, classifier, and the convolutions that stand for skips) is in its
    constant.

    Args:
        entry: device in the file; empty for the only one.
        width, resolution, channels, classes: of the instance of `fbnet`; where resolution or classes are 0, they follow
            the data set that the file names.

    Raises:
        InputError: the file is not JSON, or not of that form.
    """
    content = json_as(text, dict[str, Any], "it")
    name, relative, constant = _fbnet_device(content, entry)
    dataset = content.get("dataset")
    facts = {"entry": name, "dataset": str(dataset)[:100], "origin": str(content.get("source"))[:300]}
    space = _fbnet_space(str(dataset), width, resolution, channels, classes)
    options, layers = content.get("ops"), len(space.decisions)
    wanted = space.decisions[0].options
    if not isinstance(options, list) or sorted(map(str, options)) != sorted(wanted):
        raise InputError(f"its ops are {', '.join(wanted)}, not {str(options)[:200]}")
    if not isinstance(relative, list) or len(relative) != layers:
        raise InputError(f"its relative_to_skip_ms is a list of {layers} layers")
    rows: list[tuple[OpSpec, Any, str]] = []
    folded = [slot.ops[0] for slot in space.slots if slot.decision is None]
    for slot in space.slots:
        if slot.decision is None:
            continue
        values = relative[slot.decision]
        if not isinstance(values, list) or len(values) != len(options):
            raise InputError(f"layer {slot.decision} of relative_to_skip_ms is a list of {len(options)} latencies")
        for option, value in zip(options, values, strict=True):
            spec = slot.ops[wanted.index(option)]
            if option != "skip":
                rows.append((spec, value, f"layer {slot.decision}, {option}"))
            elif isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e-9:
                raise InputError(f"layer {slot.decision} is relative to skip, so skip is 0 there, not {value!r}")
            elif spec.graph.nodes:
                folded.append(spec)
    return ExternalTable("ms", rows, space=space, constant=constant, folded=tuple(folded), facts=facts)


def _fbnet_device(content: dict[str, Any], entry: str) -> tuple[str, Any, Any]:
    """Name, layers and constant of the device in the file."""
    devices = content.get("devices")
    if not isinstance(devices, dict) or not devices:
        raise InputError("it is an object with ops, layers and devices, as fbnet_lut_pixel3.json is")
    names = ", ".join(devices)[:200]
    if not entry and len(devices) > 1:
        raise InputError(f"it holds several devices: {names}", hint="choose one with --entry")
    name = entry or next(iter(devices))
    device = devices.get(name)
    if not isinstance(device, dict):
        raise InputError(f"it holds no device {name!r}", hint=f"it holds {names}")
    missing = [key for key in ("relative_to_skip_ms", "all_skip_total_ms") if key not in device]
    if missing:
        raise InputError(f"device {name!r} lacks {missing[0]}")
    return name, device["relative_to_skip_ms"], device["all_skip_total_ms"]


def _fbnet_space(dataset: str, width: float, resolution: int, channels: int, classes: int) -> SearchSpace:
    """The instance of `fbnet` that such a file was made for."""
    size = re.search(r"([0-9]{1,4})x\1\b", dataset)
    if size and resolution not in (0, int(size[1])):
        raise InputError(f"it holds latencies at {size[1]} pixels, not at {resolution}")
    resolution = resolution or (int(size[1]) if size else 0)
    classes = classes or next((count for name, count in _CLASSES.items() if re.match(rf"{name}\b", dataset)), 0)
    if not resolution or not classes:
        raise InputError(
            "it does not say which image size and how many classes it was made for",
            hint="say so with --resolution and --classes",
        )
    return space_instance("fbnet", width=width, resolution=resolution, channels=channels, classes=classes)


def read_ofa(text: str) -> ExternalTable:
    """Rows of the YAML files of ProxylessNAS and Once-for-All: `KEY: {mean: milliseconds, ...}`.

    Keys name a layer as `ProxylessNASLatencyTable` and `MBv3LatencyTable` of Once-for-All do. Only such rows are read,
    in one line or in several: a whole YAML parser can be made to crash. Layers that hwnas has no op for are counted and
    left out.

    Raises:
        InputError: a line does not belong to such a row, or a row contradicts itself.
    """
    found: dict[str, str] = {}
    key = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", "---")):
            continue
        start = re.match(r"""(['"]?)([\w:-]{1,200})\1:(?=\s|$)""", line, re.ASCII)
        if start is None and not (key and line.startswith((" ", "\t"))):
            raise InputError(f"line {number} is no row such as Conv-input:224x224x3-output:112x112x32: {{mean: 1.2}}")
        if start is not None:
            key = start[2]
            if key in found:
                raise InputError(f"line {number}: there is another row {key}")
        found[key] = found.get(key, "") + (line if start is None else line[start.end() :]) + "\n"
    v3 = any("-se:" in key for key in found)
    rows: list[tuple[OpSpec, Any, str]] = []
    left_out: Counter[str] = Counter()
    for key, entry in found.items():
        match, means = _OFA_KEY.fullmatch(key), _OFA_MEAN.findall(entry)
        if match is None:
            _leave_out(left_out, f"{_kind_of(key)!r} layers")
            continue
        if len(means) != 1:
            raise InputError(f"{key} has {len(means)} means, not one")
        spec = _ofa_op(key, match, v3=v3)
        if isinstance(spec, str):
            _leave_out(left_out, spec)
        else:
            rows.append((spec, means[0], key))
    return ExternalTable("ms", rows, left_out)


def _ofa_op(key: str, match: re.Match[str], *, v3: bool) -> OpSpec | str:
    """The op of a row, or in a phrase why hwnas has none."""
    kind, outputs = match[1], match[5]
    height, width, cin = (int(match[group]) for group in (2, 3, 4))
    act = "hswish" if v3 else "relu6"
    if kind == "Logits" and match[8] and not match[9]:
        return OpSpec("classifier", cin, int(match[8]), height, width)
    if outputs is None or kind not in ("Conv", "Conv_1", "Conv_2", "expanded_conv"):
        return f"{kind} layers"
    shape = (int(match[7]), int(outputs), int(match[6]))
    fields = dict(part.split(":") for part in match[9].split("-")[1:])
    if kind != "expanded_conv":
        stride = -(-height // shape[1])
        spec = OpSpec("conv", cin, shape[0], height, width, kernel=3 if kind == "Conv" else 1, stride=stride, act=act)
    else:
        needed = {"expand", "kernel", "stride", "idskip"} | ({"se", "hs"} if v3 else set())
        if fields.keys() != needed:
            return f"blocks whose fields are not {', '.join(sorted(needed))}"
        number = {name: int(value) for name, value in fields.items()}
        spec = OpSpec(
            "mbconv",
            cin,
            shape[0],
            height,
            width,
            number["kernel"],
            number["stride"],
            se=4 if number.get("se") else 0,
            act=("hswish" if number["hs"] else "relu") if v3 else act,
        ).with_inner(number["expand"] if v3 else number["expand"] * cin)
        residual = spec.input_shape == shape
        if number["idskip"] and not residual:
            raise InputError(f"{key} changes its shape, so it cannot have idskip 1")
        if residual and not number["idskip"]:
            return "blocks of one shape without a residual"
    if spec.output_shape != shape:
        raise InputError(f"{key} would write {spec.output_shape[1]}x{spec.output_shape[2]}x{spec.output_shape[0]}")
    return spec
