"""Warnings about images, each with its remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hwnas.data import image
from hwnas.data.census import Census, whole_pixels
from hwnas.data.found import Found
from hwnas.data.survey import Caution
from hwnas.display import few

FLAT = 2
"""Grey levels; an image whose lightest and darkest pixel are no further apart has no contrast."""

_FEW_TRAIN, _FEW_TEST = 20, 5


def cautions(found: Found, census: Census, kept: NDArray[np.int64], part: NDArray[np.str_]) -> tuple[Caution, ...]:
    """What may spoil a result.

    Args:
        found: all images.
        census: of those that are kept.
        kept: the indices of these, in `found`.
        part: train, val or test, of each that is kept.
    """
    labels = found.labels[kept]
    result = [
        *_equal(found, census, kept, part),
        *_flat(found, census, kept),
        *_grey(census, labels, found.classes),
        *_small(labels, part, found.classes),
    ]
    return tuple(result)


def _equal(found: Found, census: Census, kept: NDArray[np.int64], part: NDArray[np.str_]) -> Iterator[Caution]:
    labels = found.labels[kept]
    groups = equal_images(found, census, kept)
    kinds: Mapping[str, tuple[NDArray[np.generic], str, str]] = {
        "equal-across-parts": (part, "train, validation and test", "remove the copies: accuracy on them is memory"),
        "equal-across-classes": (labels, "several classes", "keep each in the one class that it belongs to"),
    }
    for kind, (of, where, remedy) in kinds.items():
        across = [group for group in groups if len(set(of[group].tolist())) > 1]
        if across:
            shown = [" = ".join(repr(found.names[int(kept[index])]) for index in group[:3]) for group in across]
            count = sum(map(len, across))
            yield Caution(
                kind,
                f"{count} images are copies of each other in {where}: {few(shown)}",
                f"Remedy: {remedy}",
                tuple(found.names[int(kept[index])] for group in across for index in group),
            )


def equal_images(found: Found, census: Census, kept: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Groups of images with equal bytes or equal pixels, as rows of the census; plain images only by their bytes."""
    leader = np.arange(len(census))
    for column, chosen in ((census.content, np.full(len(census), True)), (census.pixels, census.spread > FLAT)):
        for group in _groups(column, chosen):
            differing = len(set(census.content[group].tolist())) > 1
            for some in _truly_equal(found, census, kept, group) if differing else [group]:
                leader[some] = leader[some].min()
    return _groups(leader, np.full(len(census), True))


def _groups(values: NDArray[np.generic], chosen: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Indices of equal values, of those chosen, where there are two or more."""
    rows = np.flatnonzero(chosen)
    order = rows[np.argsort(values[rows], kind="stable")]
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(rows) else rows
    lengths = np.diff(np.append(starts, len(rows)))
    return [
        order[start : start + length] for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True)
    ]


def _truly_equal(
    found: Found, census: Census, kept: NDArray[np.int64], group: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """A group whose pixels are equal at a fraction of the size, by those of full size."""
    by_content: dict[bytes, bytes] = {}
    for index in group:
        content = bytes(census.content[index])
        if content not in by_content:
            by_content[content] = content
            with contextlib.suppress(*image.UNREADABLE):
                by_content[content] = whole_pixels(found.open(int(kept[index])))
    full: dict[bytes, list[int]] = {}
    for index in group:
        full.setdefault(by_content[bytes(census.content[index])], []).append(int(index))
    return [np.array(rows) for rows in full.values() if len(rows) > 1]


def _flat(found: Found, census: Census, kept: NDArray[np.int64]) -> Iterator[Caution]:
    flat = [found.names[int(index)] for index in kept[census.spread <= FLAT]]
    if flat:
        yield Caution(
            "no-contrast",
            f"{len(flat)} of {len(census)} images have no contrast: {few(list(map(repr, flat)))}",
            "Remedy: look at them, and remove those that show nothing",
            tuple(flat),
        )


def _grey(census: Census, labels: NDArray[np.int64], classes: Sequence[str]) -> Iterator[Caution]:
    grey = census.grey & (census.spread > FLAT)
    count = int(grey.sum())
    if 0 < count < len(census):
        of_class = np.bincount(labels, minlength=len(classes))
        shares = np.bincount(labels[grey], minlength=len(classes)) / of_class.clip(min=1)
        most, least = int(shares.argmax()), int(shares.argmin())
        yield Caution(
            "grey-among-colour",
            f"{count} of {len(census)} images are grey among others in colour, from {shares[least]:.0%} of "
            f"{classes[least]!r} to {shares[most]:.0%} of {classes[most]!r}",
            "Remedy: where classes differ in that, make all images grey, or the network learns the difference",
        )


def _small(labels: NDArray[np.int64], part: NDArray[np.str_], classes: Sequence[str]) -> Iterator[Caution]:
    train, test = (np.bincount(labels[part == one], minlength=len(classes)) for one in ("train", "test"))
    small = [
        f"{name!r} ({train[k]} train, {test[k]} test)"
        for k, name in enumerate(classes)
        if train[k] < _FEW_TRAIN or test[k] < _FEW_TEST
    ]
    if small:
        yield Caution(
            "small-classes",
            f"classes with few images: {few(small)}",
            f"Remedy: add images, {_FEW_TRAIN} or more to train and {_FEW_TEST} to test with, or merge classes",
        )
