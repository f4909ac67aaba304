"""Image files with labels, wherever they come from, as a source of images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwnas.data.cache import cached
from hwnas.data.census import Census
from hwnas.data.census_cache import census_of
from hwnas.data.dataset import Dataset, Images, assemble
from hwnas.data.encoded import Shape, decode, median_shape, spread
from hwnas.data.found import Found
from hwnas.data.reading import Fit, Reading, ReadOptions, window
from hwnas.data.survey import Survey
from hwnas.data.taken import kept_ranges, taken
from hwnas.image_size import Size
from hwnas.progress import Progress, Silent

_SILENT = Silent()


class EncodedSource:
    """Images in files, in RGB. What was seen of them is kept while the object lives, and in the cache folder."""

    def __init__(self, find: Callable[[], Found], options: ReadOptions) -> None:
        self._find, self._options = find, options
        self._surveys: dict[int, tuple[Survey, NDArray[np.int64]]] = {}

    @cached_property
    def _found(self) -> Found:
        return self._find()

    @cached_property
    def _shape(self) -> Shape:
        """Of up to 50 images, so that it is known without opening all."""
        files = [self._found.open(index) for index in spread(range(len(self._found.names)))]
        return median_shape(files, where=self._found.where)

    def native_shape(self) -> tuple[int, Size]:
        return 3, Size.square(self._shape.native(self._fit))

    @property
    def _fit(self) -> Fit:
        return self._options.fit_of(self._shape.mismatch(self._options.target))

    def classes(self) -> tuple[str, ...]:
        return self._found.classes

    def survey(self, *, seed: int, progress: Progress = _SILENT) -> Survey:
        return self._surveyed(seed, progress)[0]

    def load(self, *, resolution: Size, seed: int) -> Dataset:
        survey, kept = self._surveyed(seed, _SILENT)
        found, count = self._found, len(kept)
        all_kept = count == len(found.names)
        files = found.files if all_kept or len(found.files) != len(found.names) else [found.files[k] for k in kept]
        pixels = cached(
            files,
            (count, 3, *resolution),
            survey.reading,
            lambda: decode(
                count,
                lambda index: found.open(int(kept[index])),
                lambda index: found.called(int(kept[index])),
                resolution=resolution,
                where=found.where,
                reading=survey.reading,
            ),
            chosen="" if all_kept else hashlib.sha256(kept.tobytes()).hexdigest(),
        )
        parts = {
            part: Images(pixels[rows], found.labels[kept[rows]]) for part, rows in kept_ranges(found, kept).items()
        }
        dataset = assemble(
            found.name,
            found.classes,
            parts["train"],
            seed=seed,
            flip=survey.mirroring.flip,
            val=parts.get("val"),
            test=parts.get("test"),
        )
        return replace(dataset, reading=survey.reading)

    def _surveyed(self, seed: int, progress: Progress) -> tuple[Survey, NDArray[np.int64]]:
        """The survey, and the indices of the images that are kept."""
        if seed not in self._surveys:
            self._surveys[seed] = self._take(seed, progress)
        return self._surveys[seed]

    def _take(self, seed: int, progress: Progress) -> tuple[Survey, NDArray[np.int64]]:
        found, options = self._found, self._options
        census = census_of(found, threads=options.threads, progress=progress)
        reading, notes = self._reading(census.subset(census.errors == ""))
        return taken(found, census, options, seed=seed, shape=self._shape, reading=reading, notes=notes)

    def _reading(self, seen: Census) -> tuple[Reading, list[str]]:
        fit = self._fit
        if not seen.deep.any():
            return Reading(fit), []
        low, high = float(seen.low[seen.deep].min()), float(seen.high[seen.deep].max())
        reading = Reading(fit, *window(low, high))
        return reading, [
            f"{int(seen.deep.sum())} images have more than 8 bits, with values from {low:g} to {high:g}; "
            f"{reading.low:g} to {reading.high:g} become 0 to 255"
        ]
