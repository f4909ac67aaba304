"""A parent: a network in the description of this package, how it saw images, and where its weights come from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hwnas.arch.network import Network
from hwnas.arch.spaces import parent_network
from hwnas.data import Dataset
from hwnas.errors import InputError
from hwnas.image_size import SizeLike
from hwnas.parents.checkpoint_names import Naming

OWN_CHECKPOINT = "*.pth"
"""A file of the user's own, as a pattern for a shell."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a parent's images were made in its training.

    Attributes:
        mean, std: per channel (red, green, blue), of pixels scaled to 0..1: it reads (pixels / 255 - mean) / std.
        interpolation: of the resize: bilinear or bicubic.
        crop: side of the centre square that was kept when it was evaluated, as a share of the shorter side.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop: float

    def of_channels(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation for images of 3 channels, or of 1 where the parent treats its three alike.

        Raises:
            InputError: a parent does not read such images.
        """
        if channels == 3:
            return self.mean, self.std
        if channels == 1 and len(set(self.mean)) == len(set(self.std)) == 1:
            return self.mean[:1], self.std[:1]
        raise InputError(
            f"this parent reads colour images, not images of {channels} channels", hint="convert them to RGB"
        )


@dataclass(frozen=True, slots=True)
class Package:
    """A package of the Python Package Index that holds weights.

    Attributes:
        name: to install it by.
        path: of the file, from the folder that packages are installed in.
        sha256: of the file.
    """

    name: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Parent:
    """A pre-trained network.

    Attributes:
        name: also of its elastic space.
        resolution: of its training, in pixels.
        classes: of its training.
        preprocessing: of its training.
        namings: how checkpoints call its tensors.
        licence: of the published weights, an SPDX identifier.
        source: of the published weights.
        package: that holds them; None where there is none.
        checkpoint: where a library keeps the weights once it has loaded them, as a pattern for a shell.
        transforms: pairs of kernels for which a supernet has learned how the larger becomes the smaller one, the
            largest first (Cai et al., 2020). Its channels are in the order of their importance.
    """

    name: str
    resolution: int
    classes: int
    preprocessing: Preprocessing
    namings: tuple[Naming, ...]
    licence: str
    source: str
    package: Package | None = None
    checkpoint: str = OWN_CHECKPOINT
    transforms: tuple[tuple[int, int], ...] = ()

    @property
    def libraries(self) -> tuple[str, ...]:
        """Those whose checkpoints are read."""
        return tuple(dict.fromkeys(one.library for one in self.namings))

    def network(
        self, *, width: float = 1.0, resolution: SizeLike | None = None, channels: int = 3, classes: int | None = None
    ) -> Network:
        """The network; resolution and classes are those of its training, unless others are given.

        Raises:
            InputError: a constant is out of range.
        """
        resolution, classes = resolution or self.resolution, classes or self.classes
        return parent_network(self.name, width=width, resolution=resolution, channels=channels, classes=classes)

    def shapes(self, network: Network) -> dict[str, tuple[int, ...]]:
        """Of all tensors that the weights of `network` consist of, by their names.

        These are parameters and statistics, and `OP.depthwise.7to5` (25, 25) of a supernet's block of kernel 7.
        """
        found = network.graph.parameters() | network.graph.statistics()
        for name, spec in network.ops:
            for larger, smaller in self.transforms:
                if spec.kind == "mbconv" and larger <= spec.kernel:
                    found[f"{name}.depthwise.{larger}to{smaller}"] = (smaller**2, smaller**2)
        return found

    def prepared(self, dataset: Dataset) -> Dataset:
        """The data set with the parent's own mean and deviation in place of those of its train images.

        Raises:
            InputError: the parent does not read images of so many channels.
        """
        mean, std = self.preprocessing.of_channels(dataset.channels)
        return replace(dataset, mean=mean, std=std)
