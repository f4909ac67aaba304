"""What models make of images, computed by the real runner, against the runtimes called from here."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from device_models import HOST, write_convs
from ssh_board import Board, needs_sshd

from hwnas.arch import space_instance
from hwnas.backends.interface import Interface
from hwnas.backends.model_format import format_of
from hwnas.backends.weights import random_weights
from hwnas.devices import outputs
from hwnas.devices.device import Device
from hwnas.devices.link import link_to
from hwnas.devices.outputs import images_at_once, model_outputs
from hwnas.devices.transports.adb import AdbAddress
from hwnas.errors import DeviceError, InputError
from hwnas.progress import Silent

TOY = space_instance("toy", width=1.0, resolution=8, channels=3, classes=10)
PIXELS = np.random.default_rng(0).integers(0, 256, (37, 3, 8, 8), dtype=np.uint8)
LIMITS: dict[str, Any] = {"stall_s": 60.0, "memory_bytes": 2**31, "progress": Silent(), "label": "trying"}


def written(folder: Path, runtime: str, **interface: Any) -> Path:
    network, model_format = TOY.network(next(iter(TOY.enumerate()))), format_of(runtime)
    given: dict[str, Any] = {"input": "float", "output": "probabilities", "layout": model_format.layout}
    own = Interface(**given | interface, mean=(0.5,) * 3, std=(0.25,) * 3)
    path = folder / f"model{model_format.suffix}"
    path.write_bytes(model_format.model(network, random_weights(network.graph, 0), interface=own))
    return path


@pytest.mark.parametrize(
    ("runtime", "interface"),
    [
        ("onnxruntime", {"layout": "nchw"}),
        ("onnxruntime", {"layout": "nhwc", "input": "uint8", "output": "logits"}),
        ("litert", {"input": "float"}),
        ("litert", {"input": "uint8"}),
    ],
)
def test_outputs_are_those_of_the_runtime(runtime: str, interface: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, runtime, **interface)
    turned = runtime == "litert" or interface.get("layout") == "nhwc"
    given = np.ascontiguousarray(PIXELS.transpose(0, 2, 3, 1)) if turned else PIXELS
    found = model_outputs(HOST.with_runtime(runtime), path, given, 10, **LIMITS)
    if runtime == "litert":
        wanted = format_of(runtime).run(path.read_bytes(), PIXELS)
    else:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        kind = np.uint8 if interface.get("input") == "uint8" else np.float32
        wanted = np.concatenate([session.run(None, {"input": one[None].astype(kind)})[0] for one in given])
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert np.ptp(wanted, axis=0).max() > 0


@pytest.mark.usefixtures("ort_web")
def test_outputs_in_node(tmp_path: Path) -> None:
    path = written(tmp_path, "onnxruntime", layout="nchw")
    found = model_outputs(HOST.with_runtime("ort-web"), path, PIXELS, 10, **LIMITS)
    np.testing.assert_allclose(found, model_outputs(HOST, path, PIXELS, 10, **LIMITS), atol=1e-5)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    needs_sshd()
    (tmp_path / "board").mkdir()
    board = Board(tmp_path / "board")
    yield board
    link_to.cache_clear()
    board.close()


def test_images_go_to_a_board_and_do_not_stay_there(board: Board, tmp_path: Path) -> None:
    path = written(tmp_path, "onnxruntime")
    found = model_outputs(board.device(), path, PIXELS, 10, **LIMITS)
    np.testing.assert_array_equal(found, model_outputs(HOST, path, PIXELS, 10, **LIMITS))
    assert board.files(".npy") == []
    assert len(board.files(".onnx")) == 1


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "onnxruntime")
    with pytest.raises(InputError, match="an output must have 7 numbers for each image"):
        model_outputs(HOST, path, PIXELS, 7, **LIMITS)
    with pytest.raises(InputError, match=r"does not run .*model\.onnx"):
        model_outputs(HOST, path, PIXELS[:, :, :4], 10, **LIMITS)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(InputError, match=r"does not run .*broken\.onnx"):
        model_outputs(HOST, broken, PIXELS, 10, **LIMITS)
    several = write_convs(tmp_path / "convs.onnx", 1)
    with pytest.raises(InputError, match="numbers"):
        model_outputs(HOST, several, np.zeros((2, 16, 16, 16), np.uint8), 10, **LIMITS)


def test_a_phone_that_measures_with_benchmark_model_tells_no_outputs(tmp_path: Path) -> None:
    phone = Device("phone", "a phone", "adb", "litert", 1, "fp32", adb=AdbAddress(runner="/data/local/tmp/bm"))
    with pytest.raises(DeviceError, match="tells no outputs"):
        model_outputs(phone, tmp_path / "model.tflite", PIXELS, 10, **LIMITS)


@pytest.mark.parametrize(
    "event",
    [
        {"first": 0, "values": "no base 64!"},
        {"first": 0, "values": "QUJD"},
        {"first": "0", "values": ""},
        {"first": 0},
    ],
)
def test_what_is_no_outputs_is_a_fault_of_the_device(event: dict[str, Any]) -> None:
    with pytest.raises(DeviceError):
        outputs._take({"event": "outputs"} | event, np.zeros((4, 2), np.float32))


@pytest.mark.parametrize(("first", "count"), [(-1, 2), (4, 2), (0, 3), (3, 4), (0, 0)])
def test_outputs_stay_within_their_place(first: int, count: int) -> None:
    values = base64.b64encode(np.ones(count, np.float32).tobytes()).decode()
    with pytest.raises(InputError):
        outputs._take({"event": "outputs", "first": first, "values": values}, np.zeros((4, 2), np.float32))


def test_images_at_a_time() -> None:
    assert images_at_once((3, 224, 224)) == 222
    assert images_at_once((1, 2048, 2048)) == 8
    assert images_at_once((100, 2048, 2048)) == 1
