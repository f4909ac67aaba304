"""The interface of a model file: what it computes around the network, so that an app gives pixels and gets scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.primitives import Conv, Graph
from hwnas.backends.weights import Affine
from hwnas.errors import ExportError

Input: TypeAlias = Literal["normalised", "float", "uint8"]
Output: TypeAlias = Literal["logits", "probabilities"]
Layout: TypeAlias = Literal["nchw", "nhwc"]

INPUTS: tuple[Input, ...] = ("normalised", "float", "uint8")
OUTPUTS: tuple[Output, ...] = ("logits", "probabilities")
LAYOUTS: tuple[Layout, ...] = ("nchw", "nhwc")


@dataclass(frozen=True)
class Interface:
    """How the input and the output of a file differ from the network's, which reads normalised values, and writes
    logits.

    Attributes:
        input: `float` and `uint8` are pixels from 0 to 255, which the file normalises itself.
        output: what the file ends in; it is the name of its output, too.
        layout: order of the input's axes; a LiteRT file is `nhwc` in any case.
        mean, std: per channel, of pixels scaled to 0..1; only what writes pixel inputs needs them.
    """

    input: Input = "normalised"
    output: Output = "logits"
    layout: Layout = "nchw"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def pixels(self) -> bool:
        """Whether the file reads pixels from 0 to 255."""
        return self.input != "normalised"

    @property
    def bare(self) -> bool:
        """Whether the file is the network alone, as parity, latency tables and their fingerprints take it."""
        return (self.input, self.output, self.layout) == ("normalised", "logits", "nchw")

    def to_metadata(self) -> dict[str, str]:
        """What every file says of its interface; nothing where it is the network alone."""
        if self.bare:
            return {}
        return {"hwnas.input": self.input, "hwnas.output": self.output, "hwnas.layout": self.layout}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Interface:
        """The interface of a file with these metadata, without mean and deviation.

        Files of versions before there were interfaces say nothing, and are the network alone.

        Raises:
            ExportError: they name an interface that there is not.
        """
        found = []
        for name, known in (("input", INPUTS), ("output", OUTPUTS), ("layout", LAYOUTS)):
            said = metadata.get(f"hwnas.{name}", known[0])
            if said not in known:
                raise ExportError(f"hwnas.{name} in the metadata must be one of {', '.join(known)}, not {said[:40]!r}")
            found.append(said)
        return cls(*found)  # type: ignore[arg-type]


BARE = Interface()


@dataclass(frozen=True)
class Normalisation:
    """What a file computes of its pixels: x · scale + shift, each per channel (C,), or (1,) where all are equal.

    None is nothing to compute.
    """

    scale: NDArray[np.float32] | None = None
    shift: NDArray[np.float32] | None = None


def normalised(
    graph: Graph, constants: Mapping[str, Affine], interface: Interface
) -> tuple[Mapping[str, Affine], Normalisation]:
    """The constants of a network that reads pixels, and what is left to compute before it.

    (x / 255 - mean) / std is x · a + b with a = 1 / (255 · std) and b = -mean / std. Where a convolution alone reads
    the input, a goes into its weights, and b · Σ weights into its bias. Where it pads, its zeros are to mean the mean,
    not black: then pixels less 255 · mean are what it reads.

    Args:
        graph, constants: as `fold` gives them.

    Raises:
        ExportError: the network has several inputs, or another number of channels than there are means.
    """
    if not interface.pixels:
        return constants, Normalisation()
    channels, *sizes = graph.inputs[0]
    mean, std = np.array(interface.mean, np.float64), np.array(interface.std, np.float64)
    if len(graph.inputs) > 1 or not len(mean) == len(std) == channels:
        raise ExportError(
            "a file that reads pixels has one input, with a mean and a deviation for each of its channels, but there "
            f"are {len(graph.inputs)} inputs of {channels} channels, {len(mean)} means and {len(std)} deviations"
        )
    scale, shift = 1 / (255 * std), -mean / std
    first = next((node for node in graph.nodes if 0 in node.inputs), None)
    if first is None or not isinstance(first.primitive, Conv) or graph.readers()[0] > 1:
        return constants, Normalisation(_shared(scale), _shared(shift))
    weight, bias = constants[first.name]
    group, own = len(weight) // first.primitive.groups, weight.shape[1]
    read = (np.arange(len(weight)) // group)[:, None] * own + np.arange(own)  # channel that each weight reads
    exact = weight.astype(np.float64)
    scaled = (exact * scale[read][..., None, None]).astype(np.float32)
    if any(border for size in sizes for border in first.primitive.borders(size)):
        return {**constants, first.name: (scaled, bias)}, Normalisation(None, _shared(-255 * mean))
    shifted = (exact * shift[read][..., None, None]).sum((1, 2, 3)) + (0.0 if bias is None else bias)
    return {**constants, first.name: (scaled, shifted.astype(np.float32))}, Normalisation()


def _shared(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """A value per channel, or one for all where they are equal: that is faster."""
    return (values[:1] if (values == values[0]).all() else values).astype(np.float32)
