"""The images that a configuration names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hwnas.config import Configuration
from hwnas.data import Dataset, ReadOptions, Survey, class_names, load_dataset, native_shape, survey
from hwnas.data.reading import COUNTED
from hwnas.events import Events
from hwnas.files import real_path, user_path, write_json
from hwnas.image_size import Size
from hwnas.progress import Progress, Silent
from hwnas.run.run_folder import RunFolder

_SILENT = Silent()


@dataclass(frozen=True)
class ImageFacts:
    """What a plan knows of the images before it takes any.

    Attributes:
        classes: their names.
        channels: of the images by nature, as `size` is.
        survey: what they are like; None of sets that need no looking at.
    """

    classes: tuple[str, ...]
    channels: int
    size: Size
    survey: Survey | None = None

    @property
    def in_colour(self) -> bool:
        """Whether at least half of them have colours."""
        return self.channels == 3 and not (self.survey is not None and self.survey.mostly_grey)


def image_facts(config: Configuration, dataset: Dataset | None, progress: Progress) -> ImageFacts:
    """Look at the images.

    Args:
        dataset: takes the place of the data source of the configuration.

    Raises:
        InputError: as `images_of`.
    """
    if dataset is not None:
        return ImageFacts(dataset.classes, dataset.channels, dataset.size)
    return ImageFacts(named_classes(config), *native(config), surveyed(config, progress))


def read_options(config: Configuration) -> ReadOptions:
    """How the images are to be read."""
    data = config.data
    compute = config.compute
    return ReadOptions(
        data.labels,
        data.fit,
        data.flip,
        data.skip_unreadable,
        compute.threads,
        compute.loader_threads,
        size=config.space.size,
    )


def images_of(
    config: Configuration, resolution: Size, *, counted: int = COUNTED, tell: Callable[[str], None] = _SILENT.say
) -> Dataset:
    """The images at a size.

    Args:
        counted: images in files that mean and deviation are taken from, at most.
        tell: where messages go while images are read.

    Raises:
        InputError: the source is unknown, or the images cannot be used.
    """
    options = replace(read_options(config), counted=counted)
    return load_dataset(config.data.source, resolution=resolution, seed=config.compute.seed, options=options, tell=tell)


def named_classes(config: Configuration) -> tuple[str, ...]:
    """The classes, without reading an image.

    Raises:
        InputError: as `images_of`.
    """
    return class_names(config.data.source, read_options(config))


def native(config: Configuration) -> tuple[int, Size]:
    """(channels, size) that the images have by nature.

    Raises:
        InputError: as `images_of`.
    """
    return native_shape(config.data.source, read_options(config))


def surveyed(config: Configuration, progress: Progress) -> Survey | None:
    """What the images are like, with every one of them looked at; None of sets that need no looking at.

    Raises:
        InputError: as `images_of`: what a run would refuse is refused here.
    """
    return survey(config.data.source, seed=config.compute.seed, options=read_options(config), progress=progress)


def train_images(config: Configuration, found: Survey | None, dataset: Dataset | None) -> int:
    """How many images there are to train on.

    Raises:
        InputError: as `images_of`.
    """
    if found is not None:
        return int(found.counts["train"].sum())
    return len((dataset or images_of(config, native(config)[1])).train)


def note_images(found: Survey, folder: RunFolder, events: Events) -> None:
    """Write what the images are like to the run folder, and what matters most of it to its log, once.

    Raises:
        StorageError: it cannot be written.
    """
    facts = found.to_json()
    if not folder.images.exists():
        kinds = [one.kind for one in found.cautions]
        events.record(
            {
                "event": "images",
                **{name: facts[name] for name in ("fit", "values", "flip", "flip_reason")},
                "warnings": kinds,
            }
        )
    write_json(folder.images, facts)


def data_texts(config: Configuration, found: Survey | None) -> tuple[str, ...]:
    """What the metadata of a model says of the images, where that may be long."""
    own = () if found is None else (found.reading.key,)
    return (real_path(user_path(config.data.source)).name, *own)
