"""Images of many classes, from which tasks are drawn, and which of the classes are held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwnas.data import Dataset, Images, load_dataset
from hwnas.data.dataset import statistics
from hwnas.errors import InputError
from hwnas.image_size import SizeLike

_HELD_OUT = 0.2


@dataclass(frozen=True)
class ClassPool:
    """Images of many classes.

    Attributes:
        name: of the source.
        classes: names; `alphabet/character` puts a class into the group `alphabet`.
        images: pixels (N, C, H, W), and labels that index `classes`.
        mean, std: per channel, of pixels scaled to 0..1; what images are normalised with.
    """

    name: str
    classes: tuple[str, ...]
    images: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @cached_property
    def members(self) -> tuple[NDArray[np.int64], ...]:
        """Positions of the images of each class."""
        return tuple(np.flatnonzero(self.images.labels == label) for label in range(len(self.classes)))

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Classes by group, sorted by name; one group called '' where names have no group."""
        found: dict[str, list[int]] = {}
        for label, name in enumerate(self.classes):
            found.setdefault(name.rpartition("/")[0], []).append(label)
        return {group: tuple(found[group]) for group in sorted(found)}

    def hold_out(self, names: Sequence[str] = (), *, least: int = 2) -> tuple[ClassPool, ClassPool]:
        """Two pools without a common class: what to train on, and what to validate on.

        Both are normalised with mean and deviation of the first, as nothing is known of the second.

        Args:
            names: groups or classes to hold out; by default the last group, or a fifth of the classes, and no fewer
                than `least`, where there are no groups.

        Raises:
            InputError: there is no such group or class, or too few classes are left.
        """
        chosen = set(self._named(names) if names else self._last(least))
        kept = [label for label in range(len(self.classes)) if label not in chosen]
        if min(len(kept), len(chosen)) < 2:
            raise InputError(
                f"meta-training takes at least 2 classes to train on and 2 to validate on, but of the "
                f"{len(self.classes)} of {self.name} it has {len(kept)} and {len(chosen)}",
                hint="hold out others with --hold-out, or give images of more classes",
            )
        train = self._restricted(kept)
        mean, std = statistics(train.images)
        train, held = (
            ClassPool(p.name, p.classes, p.images, mean, std) for p in (train, self._restricted(sorted(chosen)))
        )
        return train, held

    def _named(self, names: Sequence[str]) -> Iterable[int]:
        for name in names:
            if name in self.groups:
                yield from self.groups[name]
            elif name in self.classes:
                yield self.classes.index(name)
            else:
                known = [group for group in self.groups if group] or list(self.classes)
                raise InputError(
                    f"{self.name} has no class or group of classes called {name!r} to hold out",
                    hint=f"it has {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}",
                )

    def _last(self, least: int) -> Sequence[int]:
        if len(self.groups) > 1:
            return list(self.groups.values())[-1]
        count = len(self.classes)
        return range(max(0, count - max(least, round(_HELD_OUT * count))), count)

    def _restricted(self, labels: Sequence[int]) -> ClassPool:
        places = np.concatenate([self.members[label] for label in labels])
        new = np.repeat(np.arange(len(labels)), [len(self.members[label]) for label in labels])
        images = Images(self.images.take(places), new)
        return ClassPool(self.name, tuple(self.classes[label] for label in labels), images, self.mean, self.std)


def pool_of(dataset: Dataset) -> ClassPool:
    """All images of a data set, whatever their split."""
    parts = (dataset.train, dataset.val, dataset.test)
    images = Images(np.concatenate([p.pixels for p in parts]), np.concatenate([p.labels for p in parts]))
    return ClassPool(dataset.name, dataset.classes, images, dataset.mean, dataset.std)


def load_pool(source: str, *, resolution: SizeLike) -> ClassPool:
    """The images of `source` at a size.

    Args:
        source: as `load_dataset` takes it.

    Raises:
        InputError: `source` is none of these.
        DataError: the images cannot be used.
    """
    return pool_of(load_dataset(source, resolution=resolution, seed=0))
