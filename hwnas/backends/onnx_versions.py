"""Opsets and IR versions of ONNX: those that files can have, and whether a file has them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import onnx
from onnx import TensorProto, helper

from hwnas.backends.onnx_runtime import RUNTIME_ERRORS, cpu_session
from hwnas.errors import ExportError, InputError

OPSET = 18
OLDEST_OPSET = 14
IR_VERSION = 8  # ONNX Runtime 1.14 and later read it; a newer one is refused outright by older apps


def versions(opset: int = OPSET, ir_version: int = 0) -> tuple[int, int]:
    """Opset and IR version that a file is asked for with; an IR version of 0 is the oldest that goes with the opset.

    Raises:
        InputError: onnx or ONNX Runtime, which every file is run with, knows no such version, or they do not go
            together.
    """
    oldest = oldest_ir_version(opset)
    if not ir_version:
        return opset, oldest
    if ir_version < oldest:
        raise InputError(
            f"opset {opset} takes an IR version of at least {oldest}, not {ir_version}",
            hint="leave out --ir-version, or ask for an older --opset",
        )
    if ir_version > IR_VERSION and ir_version > _newest_ir_version():
        raise InputError(
            f"the IR version of opset {opset} must be from {oldest} to {_newest_ir_version()}, not {ir_version}",
            hint="leave out --ir-version: the oldest is what most apps read",
        )
    return opset, ir_version


def oldest_ir_version(opset: int) -> int:
    """The IR version that an opset takes at least, but none older than `IR_VERSION`.

    Raises:
        InputError: there is no such opset, or it is too old.
    """
    if opset < OLDEST_OPSET or (opset > OPSET and opset > _newest_opset()):
        raise InputError(
            f"the ONNX opset must be from {OLDEST_OPSET} to {_newest_opset()}, not {opset}",
            hint=f"leave out --opset: {OPSET} is what most apps read",
        )
    return max(IR_VERSION, int(helper.find_min_ir_version_for([helper.make_opsetid("", opset)])))


def check_versions(model: bytes, opset: int, ir_version: int) -> None:
    """Whether a file is what runtimes of these versions read: ONNX's own operators, and all weights within.

    Raises:
        ExportError: it is something else.
    """
    proto = onnx.load_from_string(model)
    domains = {one.domain: one.version for one in proto.opset_import}
    beside = [one.name for one in proto.graph.initializer if one.data_location == TensorProto.EXTERNAL]
    foreign = [node.op_type for node in proto.graph.node if node.domain not in ("", "ai.onnx")]
    if (domains.get(""), proto.ir_version) != (opset, ir_version) or beside or foreign:
        raise ExportError(
            f"the file must be of opset {opset} and IR version {ir_version}, without weights beside it and without "
            f"operators of others, but has opset {domains.get('')}, IR version {proto.ir_version}, {len(beside)} "
            f"weights beside it and {len(foreign)} such operators"
        )


@cache
def _newest_opset() -> int:
    """The newest one of onnx that ONNX Runtime reads; it has a limit of its own, which only trying tells."""
    newest = onnx.defs.onnx_opset_version()
    return _first_read((opset, IR_VERSION) for opset in range(newest, OPSET, -1))[0]


@cache
def _newest_ir_version() -> int:
    """Likewise."""
    return _first_read((OPSET, ir_version) for ir_version in range(onnx.IR_VERSION, IR_VERSION, -1))[1]


def _first_read(candidates: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The first opset and IR version of which ONNX Runtime reads a file; those of every file by default, if none."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "versions", value[:1], value[1:])
    for opset, ir_version in candidates:
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
        try:
            cpu_session(model.SerializeToString())
        except RUNTIME_ERRORS:
            continue
        return opset, ir_version
    return OPSET, IR_VERSION
