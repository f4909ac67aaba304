"""From images that were looked at to what a run takes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwnas.data.cautions import cautions
from hwnas.data.census import Census
from hwnas.data.dataset import divided
from hwnas.data.encoded import Shape
from hwnas.data.found import PARTS, Found, Part
from hwnas.data.mirror import mirroring
from hwnas.data.reading import Reading, ReadOptions
from hwnas.data.survey import Caution, Survey
from hwnas.data.unreadable import list_file, refusal
from hwnas.image_size import SMALLEST_SIDE, Size

_ALIKE = 1.02
_SIDE = 224
_THIN = 8  # pixels of the shorter side that are left
_LARGE = _SIDE * _SIDE  # pixels of the largest input that is chosen without being asked for


def taken(
    found: Found,
    census: Census,
    options: ReadOptions,
    *,
    seed: int,
    shape: Shape,
    reading: Reading,
    channels: int = 3,
    notes: Sequence[str] = (),
) -> tuple[Survey, NDArray[np.int64]]:
    """The survey of images, and the indices of those that are kept.

    Args:
        shape: that the fit was chosen by.

    Raises:
        UnreadableError: images cannot be read, and these are not to be skipped.
        DataError: a class has too few images.
    """
    unreadable = [
        f"{found.called(int(row))} ({reason})" for row, reason in zip(census.failed, census.errors, strict=True)
    ]
    listed: Path | None = list_file(found.where, unreadable) if unreadable else None
    if unreadable and not options.skip_unreadable:
        raise refusal(unreadable, len(found.names), found.where, listed)
    kept, seen = census.kept(), census.readable()
    ranges = kept_ranges(found, kept)
    labels = found.labels[kept]
    chosen = divided(found.name, found.classes, {part: labels[rows] for part, rows in ranges.items()}, seed=seed)
    part_of_row = np.empty(len(kept), "U5")
    for part, (source, indices) in chosen.items():
        rows = np.arange(len(kept))[next(rows for one, rows in ranges.items() if one == source)]
        part_of_row[rows if indices is None else rows[indices]] = part
    learnt = np.flatnonzero(part_of_row != "test")
    survey = Survey(
        classes=found.classes,
        counts={part: np.bincount(labels[part_of_row == part], minlength=len(found.classes)) for part in PARTS},
        width=seen.width,
        height=seen.height,
        reading=reading,
        fit_reason=_fit_reason(shape, options, reading),
        mirroring=mirroring(options.flip, found.classes, seen.thumbs, labels, learnt, channels=channels),
        notes=(*found.notes, *notes),
        ignored=found.ignored,
        unreadable=tuple(unreadable),
        listed_in="" if listed is None else str(listed),
        cautions=(*cautions(found, seen, kept, part_of_row), *_thin(shape, options, reading)),
        grey=int(seen.grey.sum()),
    )
    return survey, kept


def kept_ranges(found: Found, kept: NDArray[np.int64]) -> dict[Part, slice]:
    """The rows of each part among the images that are kept."""
    result: dict[Part, slice] = {}
    for part, rows in found.ranges().items():
        start, stop = np.searchsorted(kept, (rows.start, rows.stop))
        result[part] = slice(int(start), int(stop))
    return result


def _thin(shape: Shape, options: ReadOptions, reading: Reading) -> Iterator[Caution]:
    """That padding leaves next to nothing of very long images."""
    target = options.size or Size.square(_SIDE)
    left = target.short / shape.mismatch(target)
    if reading.fit == "pad" and left < _THIN:
        yield Caution(
            "very-long",
            f"images are {shape.mismatch(target):.0f} times as long in shape as {target} pixels in the median, so "
            f"padding leaves {max(1, round(left))} pixels of their shorter side",
            "Remedy: cut them into pieces, or name a shape that is nearer to theirs with --resolution HEIGHTxWIDTH",
        )


def _fit_reason(shape: Shape, options: ReadOptions, reading: Reading) -> str:
    target, mismatch = options.target, shape.mismatch(options.target)
    if mismatch < _ALIKE and options.fit == "auto":
        return ""
    kind = "square" if target.is_square else f"part of the shape of {target}"
    done = {
        "crop": f"the centre {kind} of each is taken",
        "pad": "grey is added to the shorter side" if target.is_square else "grey is added to what is too short",
        "squash": "the longer side is squeezed" if target.is_square else f"each is stretched to {target}",
    }[reading.fit]
    why = f"the longer side is {mismatch:.2f} times the shorter one in the median"
    if not target.is_square:
        why = f"in the median an image is {mismatch:.2f} times as long in shape, or as short"
    other = "--fit pad keeps all of an image" if reading.fit == "crop" else f"--fit crop takes the centre {kind}"
    if target.is_square and reading.fit == "pad" and len(set(shape.sizes)) == 1:
        own = shape.sizes[0].at_most(_LARGE)
        other += f", --resolution {own} their own shape" if own.short >= SMALLEST_SIDE else ""
    return f"{done}; {why}; {other}"
