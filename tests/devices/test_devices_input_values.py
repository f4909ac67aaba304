"""Ranges and arrays for inputs: what fits a model file, and what the runner makes of it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwnas.backends.model_facts import ModelFile, Tensor
from hwnas.devices.input_values import MADE_UP, input_values
from hwnas.devices.refusals import hint_for, shortened
from hwnas.devices.runner_aid import Inputs
from hwnas.errors import InputError

FILE = ModelFile(
    Path("m.onnx"),
    "onnx",
    1,
    (
        Tensor("ids", "int64", (1, None)),
        Tensor("a/b:0", "float32", (2, 3)),
        Tensor("flag", "bool", ()),
        Tensor("file", "uint8", None),
        Tensor("big", "uint64", (4,)),
    ),
    (),
)


def made(dtype: str, **given: Any) -> np.ndarray:
    values = Inputs(np.random.default_rng(0), given)("x", (50, 40), dtype)
    assert isinstance(values, np.ndarray)
    assert values.dtype == dtype
    return values


@pytest.mark.parametrize("dtype", MADE_UP)
def test_random_values_of_every_type_fill_the_range_and_no_more(dtype: str) -> None:
    low, high = (0, 1) if dtype == "bool" else (3, 7)
    for given in ({}, {"ranges": {"x": (low, high)}, "shapes": {"x": [2000]}}):
        values = made(dtype, **given)
        assert values.size == 2000
        assert np.isfinite(values).all()
    assert (values.min(), values.max()) == pytest.approx((low, high), abs=0.05)
    if dtype not in ("float16", "float32", "float64"):
        assert set(values.ravel().tolist()) == set(range(low, high + 1))
    assert made(dtype, shapes={"x": []}).shape == ()


def test_ends_of_types_are_reached() -> None:
    top = 2**64 - 1
    assert set(made("uint64", ranges={"x": (top, top)}).ravel().tolist()) == {top}
    assert np.isfinite(made("float64", ranges={"x": (-1.7e308, 1.7e308)})).all()
    assert float(made("float16", ranges={"x": (65504, 65504)}).max()) == 65504
    with pytest.raises(ValueError, match="unsupported type complex64"):
        made("complex64")


@pytest.mark.parametrize(
    ("name", "low", "high", "message"),
    [
        ("nope", 0, 1, "has no input 'nope'"),
        ("ids", 9, 0, "the lower one first"),
        ("ids", 0, 1.5, "two integers"),
        ("ids", 0, 2**63, "int64, from -9223372036854775808"),
        ("big", -1, 5, "uint64, from 0"),
        ("flag", 0, 2, "bool, from 0 to 1"),
        ("a/b:0", 0, float("inf"), "two finite numbers"),
        ("a/b:0", 0, 1e39, "float32"),
        ("big", 0, 10**400, "uint64"),
    ],
)
def test_ranges_that_do_not_fit(name: str, low: float, high: float, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        input_values(FILE, {name: (low, high)}, None)
    assert caught.value.hint


def test_arrays_arrive_as_they_are(tmp_path: Path) -> None:
    given = {"a/b:0": np.arange(6.0, dtype=">f4").reshape(2, 3), "file": np.arange(5, dtype=np.uint8), "flag": np.True_}
    with zipfile.ZipFile(tmp_path / "in.npz", "w") as archive:  # np.savez takes no array called "file"
        for name, array in given.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(array))
    for source in (given, tmp_path / "in.npz"):
        found = input_values(FILE, {"ids": (0, 9.0)}, source)
        path = found.write(tmp_path)
        assert path is not None
        values = Inputs(np.random.default_rng(0), {"arrays": list(found.arrays), "file": str(path)})
        for name, array in given.items():
            own = values(name, (), "float32")
            assert (own.dtype, own.shape) == (np.asarray(array).dtype.newbyteorder("="), np.asarray(array).shape)
            assert (own == array).all()
    where = str(tmp_path / "in.npz")
    assert found.to_json() == {"ids": {"range": [0, 9]}} | {name: {"array": where} for name in given}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"nope": np.zeros(1)}, "has no input 'nope'"),
        ({"ids": np.zeros((1, 4), np.int32)}, r"is int64, 1×\?, not int32, 1×4"),
        ({"ids": np.zeros((2, 4), np.int64)}, "which int64, 2×4 does not fit"),
        ({"ids": np.zeros(4, np.int64)}, "does not fit"),
        ({"ids": np.array([[{}]])}, "not object"),
        ({}, "has no arrays"),
    ],
)
def test_arrays_that_do_not_fit(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(InputError, match=message) as caught:
        input_values(FILE, {}, tmp_path / "in.npz")
    assert caught.value.hint


def test_files_that_lie_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "in.npz"
    header = {"descr": "<i8", "fortran_order": False, "shape": (1, 10**12)}
    with zipfile.ZipFile(path, "w") as archive, archive.open("ids.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
        member.write(b"\0" * 8)
    with pytest.raises(InputError, match="another length than its header says"):
        input_values(FILE, {}, path)
    for content in (b"", b"junk", path.read_bytes()[:-30]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot read .* as \.npz"):
            input_values(FILE, {}, path)
    with pytest.raises(InputError, match="No such file"):
        input_values(FILE, {}, tmp_path / "missing.npz")
    with pytest.raises(InputError, match="an array and a range"):
        input_values(FILE, {"flag": (0, 1)}, {"flag": np.True_})


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("Unsupported model IR version: 99, max supported IR version: 14", "ir_version"),
        (
            "Opset 99 is under development. Current official support for domain ai.onnx is till opset 28.",
            "version_conv",
        ),
        ("External data path does not exist: w.bin", "beside it"),
        ("indices element out of data bounds, idx=253 must be within the inclusive range [-100,99]", "--range"),
        ("Sparkle(1) is not a registered function/op", "op is not known"),
        ("std::bad_alloc", "--memory-gb"),
        ("Protobuf parsing failed.", "damaged"),
        ("Got invalid dimensions for input: x", "--shape"),
        ("python was silent for 30 s and was stopped", "--stall-s"),
        ("python was ended by SIGSEGV", "another version"),
        ("something else", "it is damaged, its inputs"),
    ],
)
def test_the_next_step_fits_the_reason(reason: str, hint: str) -> None:
    assert hint in hint_for(reason)


def test_long_reasons_keep_their_beginning_and_their_end() -> None:
    place = "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, int) "
    text = f"[ONNXRuntimeError] : 1 : FAIL : Load model from a.onnx failed:{place}Unsupported model IR version: 99"
    assert shortened(text) == "Load model from a.onnx failed:Unsupported model IR version: 99"
    long = shortened("begin " + "word " * 500 + "end")
    assert long.startswith("begin ")
    assert long.endswith(" end")
    assert len(long) < 320
