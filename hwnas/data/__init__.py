"""Images to search and train on: built-in sets, folders, tables of labels, .npz and Arrow files, data sets of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hwnas.asked_paths import source_path
from hwnas.data.array_npz import ArrayNpz
from hwnas.data.batches import batches, to_input
from hwnas.data.built_in import SOURCES
from hwnas.data.dataset import Dataset, Images, resized, split
from hwnas.data.encoded_source import EncodedSource
from hwnas.data.from_torch import from_torch
from hwnas.data.image_folder import find
from hwnas.data.jpeg_npz import found_in
from hwnas.data.labels_csv import TABLE_SUFFIXES, from_csv
from hwnas.data.normalisation import Normalisation
from hwnas.data.npz import Archive
from hwnas.data.reading import ReadOptions
from hwnas.data.shard import WHOLE, Shard
from hwnas.data.source import Source
from hwnas.data.survey import Survey
from hwnas.errors import DataError
from hwnas.image_size import Size, SizeLike
from hwnas.progress import Progress, Silent

__all__ = [
    "WHOLE",
    "Dataset",
    "Images",
    "Normalisation",
    "ReadOptions",
    "Shard",
    "Survey",
    "batches",
    "class_names",
    "from_torch",
    "load_dataset",
    "native_shape",
    "resized",
    "split",
    "survey",
    "to_input",
]

_ASKED = ReadOptions()
_SILENT = Silent()


def load_dataset(
    source: str,
    *,
    resolution: SizeLike,
    seed: int,
    options: ReadOptions = _ASKED,
    tell: Callable[[str], None] = _SILENT.say,
) -> Dataset:
    """Load images at a size, split by `seed` where they come without a split.

    Args:
        source: `digits`, `shapes`, `mnist`, `cifar10`, `omniglot`, a folder of class folders or of train, val and test,
            or a CSV, .npz or Parquet file.
        options: how files are read.
        tell: where messages go while images are read, which those of files are when they are used.

    Raises:
        InputError: `source` is none of these, or the resolution is no size.
        DataError: the images cannot be used, or those of `mnist`, `cifar10` or `omniglot` are not on this machine.
    """
    size = Size.of(resolution)
    dataset = _source(source, replace(options, size=size), tell).load(resolution=size, seed=seed)
    return dataset if options.flip == "auto" else replace(dataset, flip=options.flip == "on")


def native_shape(source: str, options: ReadOptions = _ASKED) -> tuple[int, Size]:
    """(channels, size) that the images of `source` have by nature, without loading them.

    Of files of any size it is a square of the median shorter side of up to 50 of them, or of what is kept of it by the
    fit. Arrays that all have one shape keep it, unless a size or a fit is asked for.

    Raises:
        InputError: as `load_dataset`.
    """
    return _source(source, options).native_shape()


def class_names(source: str, options: ReadOptions = _ASKED) -> tuple[str, ...]:
    """The classes of `source`, without reading an image.

    Raises:
        InputError: as `load_dataset`.
    """
    return _source(source, options).classes()


def survey(source: str, *, seed: int, options: ReadOptions = _ASKED, progress: Progress = _SILENT) -> Survey | None:
    """What the images of `source` are like, with every one of them looked at; None of sets that need no looking at.

    Raises:
        InputError: as `load_dataset`; what that refuses, this refuses.
    """
    found = _source(source, options)
    return found.survey(seed=seed, progress=progress) if isinstance(found, EncodedSource | ArrayNpz) else None


def _source(source: str, options: ReadOptions, tell: Callable[[str], None] = _SILENT.say) -> Source:
    if (path := source_path(source)) is None:
        return _without_labels(SOURCES[source](), source, options)
    suffix = "" if path.is_dir() else path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return EncodedSource(lambda: from_csv(path, path.parent), options, tell)
    if suffix != ".npz":
        return EncodedSource(lambda: find(path, labels=options.labels), options, tell)
    archive = Archive(path)
    found: Source
    if archive.keys & {"jpeg", "offsets"}:
        found = EncodedSource(lambda: found_in(archive), options, tell)
    else:
        found = ArrayNpz(archive, name=path.stem, options=options)
    return _without_labels(found, source, options)


def _without_labels(found: Source, source: str, options: ReadOptions) -> Source:
    """The source, which brings its labels.

    Raises:
        DataError: others were asked for.
    """
    if options.labels:
        raise DataError(
            f"--labels is for folders of images, and {source} has labels of its own", hint="leave out --labels"
        )
    return found
