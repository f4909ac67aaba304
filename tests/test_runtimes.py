"""Every runtime is one entry, which the rest asks; the truth here is written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from hwnas.backends.litert_runtime import run_litert
from hwnas.backends.model_format import format_of
from hwnas.backends.onnx_runtime import run_onnx
from hwnas.backends.ort_web_runtime import run_ort_web
from hwnas.backends.quantize import quantiser
from hwnas.devices import runner
from hwnas.devices.device import Device
from hwnas.errors import InputError
from hwnas.runtimes import RUNTIMES, readers, runtime_named


def test_files_are_run_by_the_usual_runtime_first() -> None:
    assert readers() == {
        ".onnx": ("onnxruntime", "ort-web"),
        ".ort": ("onnxruntime", "ort-web"),
        ".tflite": ("litert",),
    }


@pytest.mark.parametrize(
    ("name", "installed", "version"),
    [
        ("onnxruntime", {"onnxruntime": "1.32.0", "node": "22.1.0"}, "1.32.0"),
        ("onnxruntime", {"onnxruntime-web": "1.30.0", "node": "22.1.0"}, None),
        ("ort-web", {"onnxruntime": "1.32.0", "onnxruntime-web": "1.30.0", "node": "22.1.0"}, "1.30.0-node22"),
        ("litert", {}, None),
    ],
)
def test_the_version_in_a_condition(name: str, installed: dict[str, str], version: str | None) -> None:
    assert RUNTIMES[name].version(installed) == version


@pytest.mark.parametrize(
    ("name", "suffix", "run"),
    [("onnxruntime", ".onnx", run_onnx), ("litert", ".tflite", run_litert), ("ort-web", ".onnx", run_ort_web)],
)
def test_its_format_is_run_by_itself(name: str, suffix: str, run: object) -> None:
    assert (format_of(name).suffix, format_of(name).run) == (suffix, run)


def test_a_runtime_measures_in_the_runner_or_in_node() -> None:
    assert {one.name for one in RUNTIMES.values() if not one.in_node} == set(runner.RUNTIMES)


@pytest.mark.parametrize(("name", "value"), [("transport", "ssh"), ("threads", 2), ("precision", "int8")])
def test_a_device_keeps_to_the_rule_of_its_runtime(name: str, value: Any) -> None:
    settings: dict[str, Any] = {"transport": "local", "threads": 1, "precision": "fp32", name: value}
    for runtime in ("onnxruntime", "litert"):
        assert getattr(Device("a", "b", runtime=runtime, **settings), name) == value
    with pytest.raises(InputError, match=f"needs {name} = .*, not {value!r}") as caught:
        Device("a", "b", runtime="ort-web", **settings)
    assert "under Node" in caught.value.hint


def test_the_quantiser_is_named_with_its_version() -> None:
    assert quantiser(RUNTIMES["litert"]).startswith("ai-edge-quantizer ")
    assert quantiser(RUNTIMES["onnxruntime"]).startswith("onnxruntime ")


def test_an_unknown_runtime_says_which_there_are() -> None:
    with pytest.raises(InputError, match="unknown runtime 'tvm'") as caught:
        runtime_named("tvm")
    assert caught.value.hint == "one of onnxruntime, litert, ort-web"
