"""Images to try a package on: those of its run, with what the trained network makes of them, and a test part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hwnas.backends.torch import load_weights, network_module
from hwnas.data import Dataset, Images, ReadOptions, load_dataset
from hwnas.data.reading import FITS
from hwnas.display import counted
from hwnas.errors import InputError
from hwnas.events import Events
from hwnas.exporting.file_images import input_values
from hwnas.exporting.package_reader import Package
from hwnas.files import real_path, sha256_of
from hwnas.run import run_marker
from hwnas.run.export_run import TrainedRun, check_finished
from hwnas.run.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class Truth:
    """What the trained network makes of images.

    Attributes:
        pixels: (n, C, H, W), uint8.
        logits: (n, classes).
        real: whether they are test images; else random ones stand for them.
    """

    pixels: NDArray[np.uint8]
    logits: NDArray[np.float32]
    real: bool

    def of(self, output: str) -> NDArray[np.float32]:
        """What a file that ends in `output` should write."""
        if output == "logits":
            return self.logits
        return torch.from_numpy(self.logits).softmax(1).numpy()


def run_of(package: Package, run: Path | None) -> RunFolder | None:
    """The run that a package was made of, where it is at hand: the one that is named, or the folder above.

    Raises:
        InputError: the run that is named is none, or another.
    """
    folder = RunFolder(run or real_path(package.folder).parent)
    there = run_marker.is_run(folder.path) and folder.weights.is_file()
    if there and sha256_of(folder.weights) == package.manifest.weights:
        return folder
    if run is None:
        return None
    check_finished(folder)
    raise InputError(
        f"{package.folder} was not made of {run}: its weights are others", hint="name the run that it was exported from"
    )


class PackageImages:
    """Of a package, whose run may be at hand.

    Args:
        data: a data set, in place of the run's.
    """

    def __init__(self, package: Package, run: RunFolder | None, data: str | None, events: Events) -> None:
        self._package, self._data, self._events = package, data, events
        self._run = None if run is None else TrainedRun(run, events)
        if self._run is not None and (names := list(self._run.reader.names)) != list(package.labels):
            own, theirs = next(pair for pair in zip_longest(package.labels, names) if pair[0] != pair[1])
            raise InputError(
                f"{package.folder} names a class {own!r} where the run that it was made of has {theirs!r}",
                hint="make it again, with hwnas export --package --force",
            )

    @cached_property
    def truth(self) -> Truth | None:
        """Of 64 test images; None without the run.

        Raises:
            InputError: the run's network reads other images.
        """
        if self._run is None:
            return None
        pixels, real = self._run.compared_on
        if pixels.shape[1:] != self._package.pixels.shape:
            raise InputError(f"the network of {self._run.folder.path} reads other images than the package")
        module = network_module(self._run.network).eval()
        load_weights(module, self._run.weights)
        values = input_values(pixels, self._run.reader.mean, self._run.reader.std)
        with torch.inference_mode():
            logits = torch.cat([module(torch.from_numpy(one[None])) for one in values]).numpy()
        return Truth(pixels, logits, real)

    @cached_property
    def test(self) -> Images | None:
        """The test part of the data set, or of the run's where that is there.

        Raises:
            InputError: the data set cannot be read, or has other classes or channels.
        """
        if self._data is not None:
            return self._loaded(self._data).test
        if self._run is None:
            return None
        try:
            return self._run.dataset.test
        except InputError as error:
            self._events.say(f"{error}: the test images are not classified")
            return None

    def _loaded(self, source: str) -> Dataset:
        package = self._package
        fit = next(one for one in FITS if one == package.fit)
        options = ReadOptions(fit=fit, counted=1)
        seed = package.manifest.split_seed
        found = load_dataset(source, resolution=package.size, seed=seed, options=options, tell=self._events.say)
        if found.classes != package.labels or found.channels != len(package.pixels):
            raise InputError(
                f"{source} has {counted(len(found.classes), 'class', 'classes')} of images of "
                f"{counted(found.channels, 'channel')}, and {package.folder} others",
                hint="name the images that the model was trained for",
            )
        return found


def in_parts(images: Images, count: int) -> Iterator[Images]:
    """The images, so many at a time."""
    for start in range(0, len(images), count):
        yield images.subset(np.arange(start, min(start + count, len(images))))
