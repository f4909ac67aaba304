"""How well images are classified, from a confusion matrix: numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOP = 5
_COUNT_LIMIT = 10**15
TOP_CLASSES = 20
"""Top-5 accuracy is told from so many classes on."""
DENSE_CLASSES = 50
"""Up to so many classes, a confusion matrix is written row by row; of more, only what is not 0 of it."""


@dataclass(frozen=True, eq=False)
class Metrics:
    """What a network made of labelled images; shares are 0 to 1. A share of nothing is 0, as in scikit-learn.

    Attributes:
        confusion: (K, K), how many images of each class (row) were taken for each class (column).
        in_top: how many images had their class among the five largest logits.
    """

    confusion: NDArray[np.int64]
    in_top: int

    @property
    def n(self) -> int:
        """Number of images."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of the images whose largest logit is that of their class."""
        return _share(np.trace(self.confusion), self.n).item()

    @property
    def top5(self) -> float | None:
        """Share of the images with their class among the five largest logits; None below 20 classes."""
        return _share(self.in_top, self.n).item() if len(self.confusion) >= TOP_CLASSES else None

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(K,) images of each class."""
        return np.asarray(self.confusion.sum(axis=1))

    @cached_property
    def recall(self) -> NDArray[np.float64]:
        """(K,) share of the images of a class that were taken for it."""
        return _share(np.diag(self.confusion), self.counts)

    @cached_property
    def precision(self) -> NDArray[np.float64]:
        """(K,) share of the images taken for a class that are of it."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=0))

    @cached_property
    def f1(self) -> NDArray[np.float64]:
        """(K,) harmonic mean of precision and recall."""
        return _share(2 * np.diag(self.confusion), self.counts + self.confusion.sum(axis=0))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images."""
        return _mean(self.recall[self.counts > 0])

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have images, or were taken for one."""
        return _mean(self.f1[self.counts + self.confusion.sum(axis=0) > 0])

    def never_predicted(self, classes: Sequence[str]) -> list[str]:
        """The classes that have images, and that no image was taken for."""
        absent = (self.counts > 0) & (self.confusion.sum(axis=0) == 0)
        return [name for name, yes in zip(classes, absent, strict=True) if yes]

    def value(self, metric: str) -> float:
        """The number that `--metric` names; higher is better."""
        return {"accuracy": self.accuracy, "balanced": self.balanced_accuracy, "macro-f1": self.macro_f1}[metric]

    def to_json(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """All of it, ready for JSON.

        Args:
            classes: their names.
        """
        rows = zip(classes, self.counts, self.precision, self.recall, self.f1, strict=True)
        return {
            "images": self.n,
            "accuracy": self.accuracy,
            "balanced": self.balanced_accuracy,
            "macro-f1": self.macro_f1,
            "top5": self.top5,
            "classes": [
                {"name": name, "images": int(n), "precision": float(p), "recall": float(r), "f1": float(f)}
                for name, n, p, r, f in rows
            ],
            "never_predicted": self.never_predicted(classes),
            "confusion": self.confusion.tolist() if len(classes) <= DENSE_CLASSES else _sparse(self.confusion),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Metrics:
        """What `to_json` gave."""
        top5 = content["top5"]
        in_top = 0 if top5 is None else round(top5 * content["images"])
        return cls(confusion_of(content["confusion"], len(content["classes"])), in_top)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Metrics)
            and np.array_equal(self.confusion, other.confusion)
            and self.in_top == other.in_top
        )

    __hash__ = None  # type: ignore[assignment]


def confusion_of(content: Any, classes: int) -> NDArray[np.int64]:
    """The (K, K) matrix that `Metrics.to_json` wrote: row by row, or of many classes its [row, column, count].

    Raises:
        ValueError: it is something else.
    """
    found = np.zeros((classes, classes), np.int64)
    sparse = isinstance(content, dict)
    listed = content.get("entries") if isinstance(content, dict) else content
    width = 3 if sparse else classes
    rows: list[Any] = listed if isinstance(listed, list) else [None]
    if not all(isinstance(row, list) and len(row) == width for row in rows) or not (sparse or len(rows) == classes):
        raise ValueError(f"no confusion matrix of {classes} classes")
    if not all(type(count) is int and 0 <= count < _COUNT_LIMIT for row in rows for count in row):
        raise ValueError("the numbers of a confusion matrix must be whole, and 0 or more")
    if not sparse:
        found[:] = np.array(rows, np.int64).reshape(found.shape)
    for row, column, count in rows if sparse else ():
        if max(row, column) >= classes:
            raise ValueError(f"no confusion matrix of {classes} classes")
        found[row, column] += count
    return found


def _sparse(confusion: NDArray[np.int64]) -> dict[str, Any]:
    rows, columns = np.nonzero(confusion)
    return {"entries": np.stack([rows, columns, confusion[rows, columns]], axis=1).tolist()}


class Tally:
    """Counts images batch by batch."""

    def __init__(self, classes: int) -> None:
        self._confusion = np.zeros((classes, classes), np.int64)
        self._in_top = 0
        self._right: list[NDArray[np.bool_]] = []

    def add(self, logits: ArrayLike, labels: ArrayLike) -> None:
        """Count a batch of logits (B, K) for images with labels (B,)."""
        scores, truth = np.asarray(logits), np.asarray(labels)
        best = scores.argmax(axis=1)
        np.add.at(self._confusion, (truth, best), 1)
        self._right.append(best == truth)
        own = scores[np.arange(len(truth)), truth][:, None]
        before = np.arange(scores.shape[1]) < truth[:, None]  # of equal logits the first is the larger one
        above = (scores > own) | ((scores == own) & before)
        self._in_top += int((above.sum(axis=1) < TOP).sum())

    def metrics(self) -> Metrics:
        """Of all images so far."""
        return Metrics(self._confusion.copy(), self._in_top)

    def right(self) -> NDArray[np.bool_]:
        """(N,) whether each image so far is classified right, in order."""
        return np.concatenate([np.zeros(0, np.bool_), *self._right])


def standard_error(values: NDArray[np.float64]) -> float:
    """Of the mean of values (N,)."""
    return float(values.std()) / math.sqrt(len(values))


def as_good(losses: NDArray[np.float64], others: NDArray[np.float64], errors: float = 1.0) -> bool:
    """Whether losses (N,) of the same images are no larger on the mean than others, or the images cannot tell.

    They cannot where the mean difference, image by image, is within so many of its standard errors: the
    one-standard-error rule (Breiman et al., 1984). What most images have in common, as some are hard for every network,
    drops out of it.
    """
    differences = losses - others
    return bool(differences.mean() <= errors * standard_error(differences))


def image_weights(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) weights with which a mean over images is the mean over their classes: N / (K · n_k), 1 on average."""
    _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(len(labels) / (len(counts) * counts[which]), np.float64)


def class_balanced_choice(labels: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Sorted indices of up to `count` images, drawn at random, with as many of each class as there are to have.

    Classes are drawn from in turns, in a random order; one that has no more images is left out of the next turn.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.unique(labels, return_counts=True)[1]
    turns = np.concatenate([np.arange(size) for size in sizes]) if len(sizes) else np.arange(0)
    ranks = np.repeat(rng.permutation(len(sizes)), sizes)
    chosen = by_class[np.lexsort((ranks, turns))][:count]
    return np.sort(chosen).astype(np.int64)


def stratified_choice(labels: NDArray[np.int64], count: int, least: int, seed: int = 0) -> NDArray[np.int64]:
    """Sorted indices of up to `count` images, drawn at random, in which classes have their shares of all images.

    Each class has at least `least` images, or all that it has, where `count` allows that for every class; the others
    then give way in proportion. Of a smaller count, classes are drawn from in turns.
    """
    if count >= len(labels):
        return np.arange(len(labels))
    _, sizes = np.unique(labels, return_counts=True)
    floors = np.minimum(sizes, least)
    if floors.sum() >= count:
        return class_balanced_choice(labels, count, seed)
    room = (count - floors.sum()) * (sizes - floors) / max(1, (sizes - floors).sum())
    quotas = floors + np.floor(room).astype(np.int64)
    for index in np.argsort(np.floor(room) - room, kind="stable")[: count - int(quotas.sum())]:
        quotas[index] += 1
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    chosen = [by_class[start : start + quota] for start, quota in zip(starts, quotas, strict=True)]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def share_error(share: float, images: int) -> float:
    """Standard error of a share of so many images, 0 to 1.

    That of the binomial distribution, its share shrunk towards one half (Agresti and Coull, 1998), so that a few images
    that all are right or wrong prove nothing.
    """
    shrunk = (share * images + 2.0) / (images + 4.0)
    return math.sqrt(shrunk * (1.0 - shrunk) / images)


def difference_error(before: NDArray[np.bool_], after: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """Standard error of the difference of two shares of the same images, 0 to 1.

    As many images change for the better as for the worse where there is no difference, so it follows from how many
    change at all (McNemar, 1947). One is counted at least: where none changes, few images prove little.

    Args:
        before, after: (N,) whether each image is classified right.
        weights: (N,) of the images in the shares, 1 on average, such as `image_weights`.
    """
    changed = np.square(weights[before != after]).sum()
    return math.sqrt(max(1.0, float(changed))) / max(1, len(weights))


def _share(part: ArrayLike, whole: ArrayLike) -> NDArray[np.float64]:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    out = np.zeros(np.broadcast_shapes(part.shape, whole.shape))
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
