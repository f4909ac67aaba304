"""Image files with labels, wherever they come from, as a source of images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache as cache_of
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwnas.data import cache, image
from hwnas.data.census import Census
from hwnas.data.census_cache import census_of
from hwnas.data.dataset import Dataset, Images, assemble
from hwnas.data.encoded import Shape, median_shape, reason_of, spread
from hwnas.data.found import Found
from hwnas.data.image_bytes import read_bytes
from hwnas.data.reading import Fit, Reading, ReadOptions, window
from hwnas.data.record_file import RecordFile
from hwnas.data.stores import FileStore, loader_threads
from hwnas.data.survey import Survey
from hwnas.data.taken import kept_ranges, taken
from hwnas.display import counted
from hwnas.errors import DataError
from hwnas.image_size import Size
from hwnas.progress import Progress, Silent

_SILENT = Silent()


@dataclass(frozen=True)
class _Seen:
    """What was seen of all images, which of them are kept, and the hashes of all their files."""

    survey: Survey
    kept: NDArray[np.int64]
    contents: NDArray[np.bytes_]


class EncodedSource:
    """Images in files, in RGB. What was seen of them is kept while the object lives, and in the cache folder."""

    def __init__(
        self, find: Callable[[], Found], options: ReadOptions, tell: Callable[[str], None] = _SILENT.say
    ) -> None:
        """Prepare it; nothing is read.

        Args:
            tell: where messages go while images are read.
        """
        self._find, self._options, self._tell = find, options, _once(tell)
        self._seen_by_seed: dict[int, _Seen] = {}

    @cached_property
    def _found(self) -> Found:
        return self._find()

    @cached_property
    def _shape(self) -> Shape:
        """Of up to 50 images, so that it is known without opening all."""
        files = [_opened(self._found, index) for index in spread(range(len(self._found.names)))]
        return median_shape(files, where=self._found.where)

    def native_shape(self) -> tuple[int, Size]:
        return 3, Size.square(self._shape.native(self._fit))

    @property
    def _fit(self) -> Fit:
        return self._options.fit_of(self._shape.mismatch(self._options.target))

    def classes(self) -> tuple[str, ...]:
        return self._found.classes

    def survey(self, *, seed: int, progress: Progress = _SILENT) -> Survey:
        return self._seen(seed, progress).survey

    def load(self, *, resolution: Size, seed: int) -> Dataset:
        found, seen = self._found, self._seen(seed, _SILENT)
        store = self._store(resolution, seen)
        parts = {
            part: Images(store, found.labels[rows], rows)
            for part, rows in ((part, seen.kept[rows]) for part, rows in kept_ranges(found, seen.kept).items())
        }
        dataset = assemble(
            found.name,
            found.classes,
            parts["train"],
            seed=seed,
            flip=seen.survey.mirroring.flip,
            val=parts.get("val"),
            test=parts.get("test"),
            counted=self._options.counted,
        )
        return replace(dataset, reading=seen.survey.reading)

    def _store(self, resolution: Size, seen: _Seen) -> FileStore:
        """All images at a resolution, those that are left out included, which are never read."""
        found, options, reading = self._found, self._options, seen.survey.reading
        shape = (3, *resolution)

        def keep(count: int, record_bytes: int) -> RecordFile | None:
            key = cache.pixels_key(found.files, (count, *shape), reading)
            return None if key is None else cache.opened(key, count, record_bytes)

        threads = loader_threads(options.threads) if options.loader_threads is None else options.loader_threads
        return FileStore(
            shape,
            lambda row: _decoded(found, row, seen.contents[row], resolution, reading),
            seen.contents,
            reading=reading.key,
            at=cache_of(lambda other: self._store(other, seen)),
            keep=keep,
            tell=self._tell,
            threads=threads,
        )

    def _seen(self, seed: int, progress: Progress) -> _Seen:
        if seed not in self._seen_by_seed:
            self._seen_by_seed[seed] = self._look(seed, progress)
        return self._seen_by_seed[seed]

    def _look(self, seed: int, progress: Progress) -> _Seen:
        found, options = self._found, self._options
        census = census_of(found, threads=options.threads, progress=progress)
        reading, notes = self._reading(census)
        survey, kept = taken(found, census, options, seed=seed, shape=self._shape, reading=reading, notes=notes)
        return _Seen(survey, kept, census.content)

    def _reading(self, seen: Census) -> tuple[Reading, list[str]]:
        fit = self._fit
        if not seen.deep.any():
            return Reading(fit), []
        low, high = float(seen.low[seen.deep].min()), float(seen.high[seen.deep].max())
        reading = Reading(fit, *window(low, high))
        return reading, [
            f"{counted(int(seen.deep.sum()), 'image has', 'images have')} more than 8 bits, with values from {low:g} "
            f"to {high:g}; {reading.low:g} to {reading.high:g} become 0 to 255"
        ]


def _opened(found: Found, index: int) -> Path | BytesIO:
    """The encoded image of an index; nothing, where what holds it cannot be read."""
    try:
        return found.open(index)
    except image.UNREADABLE:
        return BytesIO()


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Tells every text once, whatever size of the images it came up with."""
    said: set[str] = set()

    def say(text: str) -> None:
        if text not in said:
            said.add(text)
            tell(text)

    return say


def _decoded(found: Found, index: int, content: bytes, resolution: Size, reading: Reading) -> NDArray[np.uint8]:
    """The pixels of an image, whose file still has the SHA-256 that it had when it was looked at.

    Raises:
        DataError: it cannot be read, or has changed since.
    """
    source, data = Path(), BytesIO()
    try:
        opened = found.open(index)
        source, data = (opened, BytesIO(read_bytes(opened))) if isinstance(opened, Path) else (source, opened)
        if hashlib.sha256(data.getbuffer()).hexdigest().encode() == content:
            return image.read(data, resolution=resolution, reading=reading)
    except image.UNREADABLE as error:
        reason = reason_of(error, data).replace(repr(str(source)), "the file")
        raise DataError(
            f"images must stay readable while they are used, but {found.called(index)} in {found.where} cannot be "
            f"read: {reason}",
            hint="replace or remove this file, and start again",
        ) from error
    raise DataError(
        f"images must stay as they are while they are used, but {found.called(index)} in {found.where} has changed",
        hint="start again, with the images as they are now",
    )
