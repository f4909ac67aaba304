"""Whether mirrored images keep their class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwnas.display import counted

_SIDES = (
    ("left", "right"),
    ("l", "r"),
    ("west", "east"),
    ("clockwise", "counterclockwise"),
    ("clockwise", "anticlockwise"),
    ("cw", "ccw"),
    ("links", "rechts"),
    ("gauche", "droite"),
    ("izquierda", "derecha"),
    ("sinistra", "destra"),
    ("b", "d"),
    ("p", "q"),
    ("<", ">"),
    ("(", ")"),
)
_MOST = 4000  # images that the probe learns from and is asked about
_LEAST = 16
_FOLDS = 4
_CLEAR_GROWTH = 0.1
_CLEAR_DEVIATIONS = 3.0


@dataclass(frozen=True)
class Mirroring:
    """Whether train images are mirrored, and why.

    Attributes:
        reason: one sentence without a full stop.
    """

    flip: bool
    reason: str


def mirroring(
    asked: str,
    classes: Sequence[str],
    thumbs: NDArray[np.uint8],
    labels: NDArray[np.int64],
    rows: NDArray[np.int64] | None = None,
    *,
    channels: int = 3,
) -> Mirroring:
    """What `asked` (auto, on or off) comes to.

    Args:
        thumbs: grey images, shape (N, 16, 16).
        labels: their classes, shape (N,).
        rows: of those to learn from, which are no test images; all of them without.
        channels: of the images; auto mirrors those with three only.
    """
    if asked != "auto":
        return Mirroring(asked == "on", f"as --flip {asked} says")
    if pair := mirror_names(classes):
        return Mirroring(False, f"{pair[0]!r} and {pair[1]!r} look like mirror images of each other by their names")
    if channels != 3:
        kind = "are grey" if channels == 1 else f"have {channels} channels"
        return Mirroring(False, f"the images {kind}; --flip on mirrors them")
    lost = mirror_loss(thumbs, labels, rows)
    if lost is None:
        count = len(labels) if rows is None else len(rows)
        few = f"{counted(count, 'image is', 'images are')} too few to tell whether that costs accuracy"
        return Mirroring(True, f"{few}, which takes {_LEAST}; --flip off leaves it out")
    plain, mirrored, clear = lost
    shares = f"a probe of small grey images is right on {plain:.0%} without mirrored ones and on {mirrored:.0%} with"
    return Mirroring(not clear, f"{shares}; --flip on mirrors all the same" if clear else shares)


def mirror_names(classes: Sequence[str]) -> tuple[str, str] | None:
    """Two classes whose names differ in left and right alone."""
    words = {tuple(re.findall(r"[^\W_]+|[<>()]", name.casefold())): name for name in classes}
    for name_words, name in words.items():
        for left, right in _SIDES:
            for position, word in enumerate(name_words):
                if word == left:
                    other = words.get((*name_words[:position], right, *name_words[position + 1 :]))
                    if other is not None:
                        return name, other
    return None


def mirror_loss(
    thumbs: NDArray[np.uint8], labels: NDArray[np.int64], rows: NDArray[np.int64] | None = None
) -> tuple[float, float, bool] | None:
    """Accuracy of nearest neighbours without and with mirrored images among them, and whether the loss is clear.

    Each image is asked about once, with three quarters of the others to learn from. The loss is clear where the errors
    grow by a tenth and by more than 3 standard deviations of the difference on the same images. None for fewer than 16
    images.
    """
    rows = np.arange(len(labels)) if rows is None else rows
    if len(rows) < _LEAST:
        return None
    order = rows[np.random.default_rng(0).permutation(len(rows))[:_MOST]]
    x, y = thumbs[order].astype(np.float32), labels[order]
    x -= x.mean((1, 2), keepdims=True)
    plain, both = np.zeros(len(y), bool), np.zeros(len(y), bool)
    for fold in range(_FOLDS):
        asked = np.arange(len(y)) % _FOLDS == fold
        known, named = x[~asked], y[~asked]
        near = _distances(x[asked], known)
        near_mirrored = _distances(x[asked], known[:, :, ::-1])
        plain[asked] = named[near.argmin(1)] == y[asked]
        closer = np.where(near_mirrored.min(1) < near.min(1), near_mirrored.argmin(1), near.argmin(1))
        both[asked] = named[closer] == y[asked]
    won, lost = int((both & ~plain).sum()), int((plain & ~both).sum())
    grown = lost - won >= _CLEAR_GROWTH * int((~plain).sum())
    clear = grown and lost - won > _CLEAR_DEVIATIONS * np.sqrt(lost + won)
    return float(plain.mean()), float(both.mean()), bool(clear)


def _distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared distances of every image of `a` to every one of `b`, (len(a), len(b)), less the same number in a row."""
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return np.asarray((b**2).sum(1) - 2 * a @ b.T, np.float32)
