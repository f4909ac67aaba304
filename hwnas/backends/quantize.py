"""Post-training static quantisation to int8, by the quantisers that belong to the runtimes: what both have."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import onnxruntime

from hwnas.backends.silence import nothing_printed
from hwnas.runtimes import Runtime

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """How weights and activations become eight bits.

    Attributes:
        per_channel: whether every channel of a weight has a scale of its own, or all have the same.
        calibration: how the range of an activation follows from the samples; each runtime has its own ways.
    """

    per_channel: bool
    calibration: str

    @property
    def weights(self) -> str:
        """In words."""
        return "per-channel" if self.per_channel else "per-tensor"

    def __str__(self) -> str:
        return f"{self.weights}, {self.calibration}"


Tell = Callable[[int], None]
"""Hears how many more are done."""


def ignore(count: int) -> None:
    """Hear nothing."""


def told(samples: Iterable[T], tell: Tell) -> Iterator[T]:
    """The samples, each of which is told once the next one is asked for."""
    for one in samples:
        yield one
        tell(1)


class Calibrated(Protocol):
    """A float model with samples of its inputs, to be quantised in several ways.

    Attributes:
        settings: those that there are; latency tables are measured with the first.
        layers: names of what can stay float by itself, in the order of the file.
    """

    settings: tuple[Setting, ...]
    layers: tuple[str, ...]

    def quantised(self, setting: Setting, floats: Collection[str] = (), tell: Tell = ignore) -> bytes:
        """The model in int8, but for what the file computes around the network.

        Args:
            floats: layers that stay float.
            tell: is called with each number of samples more that ranges were taken from, as often as that is done.

        Raises:
            ExportError: the quantiser refuses the model.
        """
        ...


def settings_of(*calibrations: str) -> tuple[Setting, ...]:
    """With each of the calibrations: first with a scale per channel, which costs nothing, then with one for all."""
    return tuple(Setting(per_channel, one) for per_channel in (True, False) for one in calibrations)


def layers_of(nodes: Iterable[tuple[str, bool]]) -> Mapping[str, tuple[str, ...]]:
    """The nodes of each layer by its name: a convolution or linear layer, and all up to the next one.

    Nodes before the first one belong to it, so that every node is in one layer.

    Args:
        nodes: in the order of the file, names and whether they are convolutions or linear layers.
    """
    found: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    layer = ""
    for name, weighted in nodes:
        if weighted:
            layer, before, found[name] = name, (), (*before, name)
        elif layer:
            found[layer] += (name,)
        else:
            before += (name,)
    return found


def quantiser(runtime: Runtime) -> str:
    """Name and version of what quantises for a runtime: other versions may write other models."""
    package = runtime.quantiser
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars, hints and warnings of the quantisers.

    Their first warning would give the root logger a handler that writes into what is closed when this ends; where there
    is a handler already, it does not.
    """
    onnxruntime.set_default_logger_severity(3)
    root, handler = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    try:
        with nothing_printed():
            yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        onnxruntime.set_default_logger_severity(2)
