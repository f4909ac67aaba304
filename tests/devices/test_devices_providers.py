"""Execution providers and delegates as part of a device's condition: what is offered, taken, recorded and refused.

Those of ONNX Runtime are made up, in a Python of their own: `openvino` takes all of a model but one operator, and
`cuda` does not start. LiteRT's delegate is the real one, and those of benchmark_model are what its texts say.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from device_models import HOST, write_convs, write_tflite
from phone import BENCHMARK_MODEL, Phone

from hwnas.devices import link
from hwnas.devices.device import Device, load_device
from hwnas.devices.link import condition_of, link_to
from hwnas.devices.measure import measure
from hwnas.devices.offered_providers import offered_providers
from hwnas.devices.runner import package_version
from hwnas.errors import DeviceError, InputError
from hwnas.progress import Silent

MADE_UP = """
import onnxruntime
import os
from types import SimpleNamespace

CPU, OPENVINO, CUDA = (f"{name}ExecutionProvider" for name in ("CPU", "OpenVINO", "CUDA"))
Session = onnxruntime.InferenceSession


class MadeUp(Session):
    def __init__(self, path, options, providers, **more):
        self.named = [one if isinstance(one, str) else one[0] for one in providers]
        if OPENVINO in self.named:
            assert providers[0][1] == {"device_type": "CPU", "num_of_threads": "2"}, providers
            os.write(1, b"what native code says\\n")
        super().__init__(path, options, providers=[CPU])

    def get_providers(self):
        return [name for name in self.named if name != CUDA]

    def get_provider_graph_assignment_info(self):
        counts = {OPENVINO: 3, CPU: 1}
        return [SimpleNamespace(ep_name=name, get_nodes=lambda n=n: [None] * n) for name, n in counts.items()]


onnxruntime.InferenceSession = MadeUp
onnxruntime.get_available_providers = lambda: [CUDA, OPENVINO, CPU]
"""


@pytest.fixture
def apart(tmp_path: Path) -> Device:
    """This machine with a Python of its own, as a file describes it; no provider is named."""
    (tmp_path / "sitecustomize.py").write_text(MADE_UP)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    path = tmp_path / "apart.toml"
    path.write_text(
        'id = "apart"\ndescription = "d"\ntransport = "local"\nruntime = "onnxruntime"\nthreads = 2\n'
        f'precision = "fp32"\n[local]\npython = "{python}"\n'
    )
    return load_device(str(path))


def test_what_is_offered_and_what_each_takes(apart: Device, tmp_path: Path) -> None:
    model = write_convs(tmp_path / "model.onnx", 1)
    found = offered_providers(apart, model, progress=Silent())
    assert [str(one) for one in found] == [
        "cpu",
        "openvino: 3 of 4 operators in 1 partition",
        "cuda: not the reference model, it does not start",
    ]
    assert str(offered_providers(HOST, model, progress=Silent())[0]) == "cpu"


def test_a_provider_is_part_of_the_condition_and_of_what_is_measured(apart: Device, tmp_path: Path) -> None:
    model, device = write_convs(tmp_path / "model.onnx", 1), apart.with_runtime(provider="openvino")
    version = package_version("onnxruntime")
    assert condition_of(device).id == f"onnxruntime-{version}-openvino-t2-fp32"
    assert condition_of(apart).id == f"onnxruntime-{version}-t2-fp32"
    assert len(measure(device, {"a": model}, model, rounds=2, round_ms=0.1)) == 2


def test_a_provider_that_does_not_start_is_refused_before_anything_is_measured(apart: Device, tmp_path: Path) -> None:
    model = write_convs(tmp_path / "model.onnx", 1)
    with pytest.raises(DeviceError, match="the provider cuda does not start here") as caught:
        measure(apart.with_runtime(provider="cuda"), {"a": model}, model, rounds=1)
    assert "hwnas devices check" in caught.value.hint


def test_a_provider_that_the_device_lacks_is_refused_with_what_it_offers(apart: Device) -> None:
    with pytest.raises(DeviceError, match=r"has no provider 'xnnpack': .* offers cpu and openvino and cuda") as caught:
        condition_of(apart.with_runtime(provider="xnnpack"))
    assert "build ONNX Runtime with it" in caught.value.hint


def test_what_hwnas_cannot_ask_a_runtime_for_is_refused() -> None:
    for runtime, provider in (("litert", "cuda"), ("onnxruntime", "gpu"), ("ort-web", "openvino")):
        with pytest.raises(InputError, match=f"knows no provider {provider!r} of {runtime}"):
            HOST.with_runtime(runtime, provider=provider)
    with pytest.raises(InputError, match="unknown provider 'tpu'"):
        HOST.with_runtime(provider="tpu")
    with pytest.raises(DeviceError, match=r"has no provider 'gpu': its litert .* offers xnnpack") as caught:
        condition_of(HOST.with_runtime("litert", provider="gpu"))
    assert "benchmark_model" in caught.value.hint


def test_the_usual_provider_is_none_and_another_runtime_begins_with_its_own() -> None:
    assert HOST.with_runtime(provider="cpu") == HOST == replace(HOST, provider="cpu")
    assert HOST.with_runtime("litert", provider="xnnpack") == HOST.with_runtime("litert")
    cuda = HOST.with_runtime(provider="cuda")
    assert (cuda.provider, cuda.with_runtime("litert").provider) == ("cuda", None)
    assert cuda.with_runtime("onnxruntime", "int8").provider == "cuda"
    assert cuda.with_runtime(provider="cpu") == HOST


def test_litert_says_what_xnnpack_takes(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    (found,) = offered_providers(
        HOST.with_runtime("litert"), write_tflite(tmp_path / "model.tflite"), progress=Silent()
    )
    assert str(found) == "xnnpack: 1 of 1 operators in 1 partition"


APPLIED = "Explicitly applied GPU delegate, and the model graph will be {} executed by the delegate{}."
ALL, PART = APPLIED.format("completely", ""), APPLIED.format("partially", " w/ 2 delegate kernels")
NOTHING = "Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate."


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Phone]]:
    """A phone whose benchmark_model says that of its GPU, where it is asked to use it."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(link.atexit, "register", at_exit.append)

    def with_gpu(said: str) -> Phone:
        found = Phone(tmp_path / "phone", monkeypatch)
        line = f'case "$*" in *--use_gpu=true*) echo "INFO: {said}";; esac\n'
        found.install("benchmark_model", BENCHMARK_MODEL.replace('echo "INFO: Init', f'{line}echo "INFO: Init'))
        return found

    yield with_gpu
    for close in at_exit:
        close()
    link_to.cache_clear()


@pytest.mark.parametrize(("said", "partitions"), [(ALL, 1), (PART, 2)])
def test_a_delegate_of_benchmark_model(phone: Callable[[str], Phone], said: str, partitions: int) -> None:
    there = phone(said)
    device, model = there.device().with_runtime(provider="gpu"), there.model("model", "7")
    assert "-gpu-t2-fp32" in condition_of(device).id
    assert [one.median_us for one in measure(device, {"a": model}, model, rounds=1)] == [71]
    assert all("--use_gpu=true" in call for call in there.calls())
    offered = offered_providers(device, model, progress=Silent())
    assert [(one.provider, one.partitions) for one in offered] == [("xnnpack", None), ("gpu", partitions)]
    assert not offered[1].trouble


@pytest.mark.parametrize("said", ["GPU acceleration is unsupported on this platform.", NOTHING])
def test_a_delegate_that_takes_nothing_is_not_measured(phone: Callable[[str], Phone], said: str) -> None:
    there = phone(said)
    model = there.model("model", "7")
    with pytest.raises(DeviceError, match="the delegate gpu does not take the reference model"):
        measure(there.device().with_runtime(provider="gpu"), {"a": model}, model, rounds=1)


def test_a_delegate_that_benchmark_model_was_not_built_with_is_refused(phone: Callable[[str], Phone]) -> None:
    with pytest.raises(DeviceError, match=r"has no provider 'nnapi': .* offers xnnpack and gpu"):
        condition_of(phone(ALL).device().with_runtime(provider="nnapi"))


def test_another_python_is_of_this_machine_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    head = 'id = "x"\ndescription = "d"\nruntime = "onnxruntime"\nthreads = 1\nprecision = "fp32"\n'
    path.write_text(f'{head}transport = "local"\n[local]\npython = "~/own/bin/python"\n')
    assert load_device(str(path)).python == str(Path("~/own/bin/python").expanduser())
    for python, said in (
        ("/no/python", "cannot start /no/python"),
        ("true", "ended before it was done"),
        ("false", "1"),
    ):
        path.write_text(f'{head}transport = "local"\n[local]\npython = "{python}"\n')
        with pytest.raises(DeviceError, match=f"device 'x' gives no answer: .*{said}") as caught:
            condition_of(load_device(str(path)).with_runtime("litert"))
        assert caught.value.hint.startswith(f"correct [local] python in {path}: ")
    path.write_text(f'{head}transport = "local"\nfile = "y.toml"\n')
    with pytest.raises(InputError, match="file is an unknown key"):
        load_device(str(path))
    path.write_text(f'{head}transport = "ssh"\n[local]\npython = "x"\n[ssh]\nhost = "pi.local"\n')
    with pytest.raises(InputError, match=r"transport 'ssh' has no use for a table \[local\]"):
        load_device(str(path))
    path.write_text(f'{head}transport = "local"\nprovider = "tpu"\n')
    with pytest.raises(InputError, match="provider must be one of cpu, openvino, "):
        load_device(str(path))
