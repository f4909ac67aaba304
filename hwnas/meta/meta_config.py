"""What a meta-training was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import space_instance
from hwnas.data import native_shape
from hwnas.errors import InputError
from hwnas.image_size import Size, SizeLike
from hwnas.meta.devices import device_models
from hwnas.meta.meta_settings import MetaSettings
from hwnas.meta.pools import load_pool
from hwnas.meta.train import Sources
from hwnas.progress import Progress


@dataclass(frozen=True)
class MetaConfig:
    """Everything that decides the outcome of a meta-training. Equal ones give the same file on one machine.

    Attributes:
        tasks: sources of images; see `load_pool`.
        hold_out: groups or classes to validate on; empty for the default of `Pool.hold_out`.
        devices: ids of devices whose tables give costs, or `all`; empty for tasks without a budget.
        space, width, depth, resolution: the instance of the search space; its classes are the ways of a task.
        settings: of the training; its steps are decided by `minutes`, if these are given.
        minutes: how long it may take, about; 0 for the steps of the settings.
        seed: of everything that is random.
    """

    tasks: tuple[str, ...]
    settings: MetaSettings
    hold_out: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    space: str = "mobile"
    width: float = 0.25
    depth: int = 0
    resolution: SizeLike = 32
    minutes: float = 0.0
    seed: int = 0

    def instance(self) -> SearchSpace:
        """The instance of the space.

        Raises:
            InputError: it is unknown, the sources do not have images of as many channels, or images that are no squares
            are to be turned.
            DataError: a source cannot be read.
        """
        if not self.tasks:
            raise InputError("a meta-training needs images to draw tasks from", hint="for example --tasks omniglot")
        if self.settings.shape.rotate and not Size.of(self.resolution).is_square:
            raise InputError(
                f"classes are turned by multiples of 90°, so images must be squares, but they are {self.resolution}",
                hint="leave out --rotate, or choose a --resolution such as 32",
            )
        channels = {source: native_shape(source)[0] for source in self.tasks}
        if len(set(channels.values())) > 1:
            said = ", ".join(f"{source} {count}" for source, count in channels.items())
            raise InputError(
                f"all tasks need images with the same number of channels, but they have: {said}",
                hint="meta-train on grey and on coloured images separately",
            )
        space = space_instance(
            self.space,
            width=self.width,
            depth=self.depth,
            resolution=self.resolution,
            channels=next(iter(channels.values())),
            classes=self.settings.shape.ways,
        )
        if not space.shares_weights:
            raise InputError(
                f"the networks of the space {self.space} share no weights, so there is nothing to initialise",
                hint="hwnas spaces list shows the others",
            )
        return space

    def sources(self, space: SearchSpace, tables: Path | None, progress: Progress) -> tuple[Sources, tuple[str, ...]]:
        """What tasks are drawn from, and the names of the tables that they have their costs from.

        Raises:
            InputError: classes to hold out are unknown, or too few.
            DataError: images cannot be used.
            TableError: a device has no table that holds all options.
        """
        ways = self.settings.validation.ways
        whole = [load_pool(source, resolution=self.resolution) for source in self.tasks]
        pools = [pool.hold_out(self.hold_out, least=ways) for pool in whole]
        train, held_out = tuple(one for one, _ in pools), tuple(other for _, other in pools)
        models = device_models(space, self.devices, tables, progress) if self.devices else {}
        names = tuple(sorted(models))
        return Sources(train, held_out, tuple(models[name] for name in names)), names
