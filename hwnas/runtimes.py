"""The runtimes that hwnas writes models for and measures: one entry each, which answers for everything that differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from hwnas.errors import InputError
from hwnas.near_names import did_you_mean

BENCHMARK_MODEL = "benchmark_model"
"""LiteRT's own program that measures, which stands for Python on an Android phone."""

_APART = "install {} into an environment of its own on the device, as it takes the place of onnxruntime"
_BUILD = "build ONNX Runtime with it, as https://onnxruntime.ai/docs/build/eps.html says"
_FLAG = "measure with a benchmark_model that was built with it, [adb] runner in the device's TOML"


@dataclass(frozen=True)
class Runtime:
    """What runs models on a device.

    Attributes:
        name: as in TOML files, conditions and `--runtime`.
        suffix: of the model files that hwnas writes for it.
        reads: suffixes of all model files that it runs.
        packages: those that bring it to a device, the usual one first, each with the text before its version in a
            condition.
        quantiser: the Python package that quantises models for it.
        only: settings of a `Device` that it is tied to, such as {"threads": 1}; any other setting is allowed.
        rule: the reason for `only`, for people.
        in_node: whether it runs in a Node process on this machine, into which npm installs it.
        usual_provider: what runs models where no execution provider or delegate is named.
        providers: the others that hwnas can ask it for, each with how a device that lacks it comes to it.
    """

    name: str
    suffix: str
    reads: tuple[str, ...]
    packages: Mapping[str, str]
    quantiser: str
    only: Mapping[str, Any] = field(default_factory=dict)
    rule: str = ""
    in_node: bool = False
    usual_provider: str = "cpu"
    providers: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_providers(self) -> tuple[str, ...]:
        """Names of all its providers, the usual one first."""
        return (self.usual_provider, *self.providers)

    @property
    def package(self) -> str:
        """The package that usually brings it."""
        return next(iter(self.packages))

    @property
    def has_benchmark_model(self) -> bool:
        """Whether `benchmark_model` can measure it."""
        return BENCHMARK_MODEL in self.packages

    def version(self, installed: Mapping[str, str]) -> str | None:
        """Its version in a condition, such as '1.32.0' or '1.30.0-node22'; None where it is missing.

        Args:
            installed: package to version, as a device tells them; with 'node', which compiles what runs in it.
        """
        for package, prefix in self.packages.items():
            if package in installed:
                suffix = f"-node{installed['node'].partition('.')[0]}" if self.in_node else ""
                return prefix + installed[package] + suffix
        return None

    def install_hint(self, python: str | None) -> str:
        """The next step where a device lacks it; `python` is the command of the Python there."""
        return f"{python or 'python3'} -m pip install {self.package}, on the device"


RUNTIMES: dict[str, Runtime] = {
    one.name: one
    for one in (
        Runtime(
            name="onnxruntime",
            suffix=".onnx",
            reads=(".onnx", ".ort"),
            packages={"onnxruntime": "", "onnxruntime-openvino": "openvino", "onnxruntime-gpu": "gpu"},
            quantiser="onnxruntime",
            providers={
                "openvino": _APART.format("onnxruntime-openvino"),
                "xnnpack": _BUILD,
                "cuda": _APART.format("onnxruntime-gpu"),
                "tensorrt": _APART.format("onnxruntime-gpu, and TensorRT,"),
                "coreml": "install onnxruntime on macOS, where it has it",
                "nnapi": _BUILD,
                "qnn": _BUILD,
            },
        ),
        Runtime(
            name="litert",
            suffix=".tflite",
            reads=(".tflite",),
            packages={"ai-edge-litert": "", "tflite-runtime": "tflite", BENCHMARK_MODEL: "bm"},
            quantiser="ai-edge-quantizer",
            usual_provider="xnnpack",
            providers={"gpu": _FLAG, "nnapi": _FLAG},
        ),
        Runtime(
            name="ort-web",
            suffix=".onnx",
            reads=(".onnx", ".ort"),
            packages={"onnxruntime-web": ""},
            quantiser="onnxruntime",
            only={"transport": "local", "threads": 1, "precision": "fp32"},
            rule="onnxruntime-web runs under Node on this machine, on one thread, in fp32",
            in_node=True,
        ),
    )
}
"""By name, the usual one for a file format first."""

DEFAULT = next(iter(RUNTIMES))
"""The name of the runtime where nobody names one."""

PRECISIONS = ("fp32", "int8")
"""Of the models that are measured."""

PROVIDERS = tuple(dict.fromkeys(name for one in RUNTIMES.values() for name in one.all_providers))
"""Execution providers and delegates of all runtimes."""


def runtime_named(name: str) -> Runtime:
    """The runtime of that name.

    Raises:
        InputError: there is none; the hint names the one that is called so elsewhere, or nearly so.
    """
    if name not in RUNTIMES:
        near = get_close_matches(name.lower(), _CALLED, 1)
        meant = f"did you mean {_CALLED[near[0]]}? " if near else ""
        raise InputError(f"unknown runtime {name!r}", hint=f"{meant}one of {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def known_runtime(name: str) -> str:
    """The name of a runtime as it is, or nothing.

    Raises:
        InputError: there is no such runtime.
    """
    return runtime_named(name).name if name else name


def known_precision(name: str) -> str:
    """A precision as it is, or nothing.

    Raises:
        InputError: there is no such precision.
    """
    if name and name not in PRECISIONS:
        raise InputError(
            f"unknown precision {name!r}", hint=f"{did_you_mean(name, PRECISIONS)}one of {', '.join(PRECISIONS)}"
        )
    return name


def known_provider(name: str) -> str:
    """A provider as it is, or nothing.

    Raises:
        InputError: no runtime has such a provider.
    """
    if name and name not in PROVIDERS:
        raise InputError(
            f"unknown provider {name!r}", hint=f"{did_you_mean(name, PROVIDERS)}one of {', '.join(PROVIDERS)}"
        )
    return name


_CALLED = {
    word: one.name
    for one in reversed(RUNTIMES.values())
    for word in (*(suffix.lstrip(".") for suffix in one.reads), *one.packages, one.name)
}
"""The runtimes by what people call them: endings of their files, packages and names; the usual one of several."""


def readers() -> dict[str, tuple[str, ...]]:
    """Names of the runtimes that run files of each suffix, the usual one first."""
    suffixes = dict.fromkeys(suffix for one in RUNTIMES.values() for suffix in one.reads)
    return {suffix: tuple(one.name for one in RUNTIMES.values() if suffix in one.reads) for suffix in suffixes}
