"""Model files that nobody vouches for, on the real runner: measured, or refused with what is wrong and what to do."""

from __future__ import annotations

import platform
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from device_models import HOST, write_convs
from onnx import TensorProto, helper, numpy_helper

from hwnas.backends.model_facts import describe
from hwnas.devices.input_values import input_values
from hwnas.devices.job import Inputs
from hwnas.devices.measure import measure, stream_rounds
from hwnas.devices.measure_file import ReferenceModel, Verification, measure_file
from hwnas.errors import DeviceError, InputError, ModelError

value = helper.make_tensor_value_info


def saved(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: dict[str, np.ndarray] | None = None,
    *,
    ir_version: int = 8,
    opset: int = 17,
) -> Path:
    stored = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "made", list(inputs), list(outputs), stored)
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=sets)
    model.ir_version = ir_version
    onnx.save(model, path)
    return path


def relu(path: Path, **versions: int) -> Path:
    vectors = [value(name, TensorProto.FLOAT, [1, 8]) for name in "xy"]
    return saved(path, [helper.make_node("Relu", ["x"], ["y"])], vectors[:1], vectors[1:], **versions)


def lookup(path: Path, size: int = 100) -> Path:
    """Looks up 16 rows of a table."""
    table = np.ones((size, 4), np.float32)
    ids, rows = value("ids", TensorProto.INT64, [1, 16]), value("y", TensorProto.FLOAT, [1, 16, 4])
    return saved(path, [helper.make_node("Gather", ["table", "ids"], ["y"])], [ids], [rows], {"table": table})


def endless(path: Path) -> Path:
    true = value("go", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["a", "a"], ["b"])],
        "body",
        [value("i", TensorProto.INT64, []), true, value("a", TensorProto.FLOAT, [1])],
        [value("on", TensorProto.BOOL, []), value("b", TensorProto.FLOAT, [1])],
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)
    vectors = [value(name, TensorProto.FLOAT, [1]) for name in "xy"]
    return saved(path, [node], vectors[:1], vectors[1:], {"n": np.array(2**62)})


def giant(path: Path) -> Path:
    """Makes 10 GB of ones."""
    nodes = [
        helper.make_node("ConstantOfShape", ["n"], ["c"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("Mul", ["c", "x"], ["y"]),
    ]
    inputs, outputs = [value("x", TensorProto.FLOAT, [1])], [value("y", TensorProto.FLOAT, None)]
    return saved(path, nodes, inputs, outputs, {"n": np.array([50_000, 50_000])})


def smallest_by_minus_one(path: Path) -> Path:
    """Divides the smallest int32 by -1, which ends a process by SIGFPE on x86."""
    numbers = [value(name, TensorProto.INT32, [1]) for name in "xy"]
    nodes = [helper.make_node("Div", ["low", "minus"], ["c"]), helper.make_node("Add", ["c", "x"], ["y"])]
    constants = {"low": np.array([-(2**31)], np.int32), "minus": np.array([-1], np.int32)}
    return saved(path, nodes, numbers[:1], numbers[1:], constants)


REFERENCE = ReferenceModel(lambda folder, device: write_convs(folder / "reference.onnx", 1), lambda condition: None)


def verified(path: Path, **options: Any) -> Verification:
    return measure_file(path, HOST, REFERENCE, **options)


def refused(path: Path, **options: Any) -> tuple[str, str]:
    """Message and hint of what has exit code 2."""
    with pytest.raises(InputError) as caught:
        verified(path, **options)
    return str(caught.value), caught.value.hint


def once(path: Path, inputs: Inputs | None = None, **options: Any) -> int:
    reference = write_convs(path.with_name("reference.onnx"), 1)
    given = {} if inputs is None else {"m": inputs}
    return len(list(stream_rounds(HOST, {"m": path}, reference, rounds=1, round_ms=0.1, inputs=given, **options)))


def outputs_of_every_kind(folder: Path) -> list[Path]:
    floats, text = value("x", TensorProto.FLOAT, [1, 4]), value("y", TensorProto.STRING, [1, 4])
    sequence = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    entry = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    zipped = helper.make_value_info("y", helper.make_sequence_type_proto(entry))
    labels = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[1, 2, 3, 4])
    empty = helper.make_node("Slice", ["x", "no", "no"], ["y"])
    return [
        saved(folder / "sequence.onnx", [helper.make_node("SequenceConstruct", ["x"], ["y"])], [floats], [sequence]),
        saved(folder / "zipmap.onnx", [labels], [floats], [zipped]),
        saved(folder / "text.onnx", [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)], [floats], [text]),
        saved(
            folder / "empty.onnx",
            [empty],
            [floats],
            [value("y", TensorProto.FLOAT, None)],
            {"no": np.zeros(1, np.int64)},
        ),
    ]


def test_outputs_that_are_no_arrays_of_numbers_are_measured(tmp_path: Path) -> None:
    models = {path.name: path for path in outputs_of_every_kind(tmp_path)}
    rounds = measure(HOST, models, write_convs(tmp_path / "reference.onnx", 1), rounds=1, round_ms=0.1)
    assert {one.name for one in rounds} == set(models)


def test_versions_of_the_future_are_named_with_the_newest_that_is_known(tmp_path: Path) -> None:
    message, hint = refused(relu(tmp_path / f"{'long' * 40}.onnx", ir_version=99))
    assert "IR version: 99, max supported IR version: " in message
    assert "ir_version" in hint
    message, hint = refused(relu(tmp_path / "m.onnx", opset=99))
    assert "till opset" in message
    assert "version_converter" in hint


def test_indices_are_kept_below_the_end_of_a_table(tmp_path: Path) -> None:
    path = lookup(tmp_path / "m.onnx")
    message, hint = refused(path)
    assert "out of data bounds" in message
    assert "--range ids=0:99" in hint
    assert once(path, Inputs(ranges={"ids": (99, 99)})) == 1
    with pytest.raises(ModelError, match="out of data bounds"):
        once(path, Inputs(ranges={"ids": (100, 100)}))


def test_arrays_are_what_the_model_reads(tmp_path: Path) -> None:
    path = lookup(tmp_path / "m.onnx")
    for last, fits in ((99, True), (100, False)):
        np.savez(tmp_path / "inputs.npz", ids=np.full((1, 16), last))
        values = input_values(describe(path), {}, tmp_path / "inputs.npz")
        inputs = Inputs(arrays=tuple(values.arrays), file=values.write(tmp_path))
        if fits:
            assert once(path, inputs) == 1
        else:
            with pytest.raises(ModelError, match="idx=100"):
                once(path, inputs)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 traps on this division")
def test_a_crash_names_the_signal_and_the_model(tmp_path: Path) -> None:
    path = smallest_by_minus_one(tmp_path / "crash.onnx")
    with pytest.raises(DeviceError, match=r"was ended by SIGFPE .*'crash\.onnx'") as caught:
        verified(path)
    assert not isinstance(caught.value, ModelError)
    assert caught.value.exit_code == 5
    assert "another version" in caught.value.hint


def test_a_model_that_never_ends_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"silent for 1 s .*'endless\.onnx'") as caught:
        verified(endless(tmp_path / "endless.onnx"), stall_s=1.0)
    assert "--stall-s" in caught.value.hint


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux limits what a process allocates")
def test_a_model_that_wants_too_much_memory_is_refused(tmp_path: Path) -> None:
    message, hint = refused(giant(tmp_path / "giant.onnx"))
    assert "10000000000" in message
    assert "--memory-gb" in hint
    before = resource.getrlimit(resource.RLIMIT_DATA)
    model = onnx.load(lookup(tmp_path / "one.onnx"))
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    with (tmp_path / "w.bin").open("r+b") as weights:
        weights.truncate(2**30)  # which takes no room on the disk
    with pytest.raises(InputError, match=r"has 1 GiB, more than the 0\.5 GiB"):
        verified(tmp_path / "m.onnx", memory_gb=0.5)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    huge = [value(name, TensorProto.FLOAT, [1, 3, 100_000, 100_000]) for name in "xy"]
    message, hint = refused(
        saved(tmp_path / "input.onnx", [helper.make_node("Relu", ["x"], ["y"])], huge[:1], huge[1:])
    )
    assert "Unable to allocate" in message
    assert "--memory-gb" in hint


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    model = onnx.load(lookup(tmp_path / "one.onnx"))
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    message, hint = refused(tmp_path / "m.onnx")
    assert "w.bin" in message
    assert "copy that file" in hint
