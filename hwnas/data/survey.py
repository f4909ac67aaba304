"""What a plan says about images: how many, what they are like, how they are read, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.data.found import PARTS, Ignored
from hwnas.data.mirror import Mirroring
from hwnas.data.reading import Reading
from hwnas.display import counted

_LISTED = 12  # classes whose counts are told one by one


@dataclass(frozen=True)
class Caution:
    """Something about the images that may spoil a result.

    Attributes:
        kind: one word or two with hyphens, for programs.
        text: what there is, in one sentence without a full stop.
        remedy: what to do about it, in one line.
        names: of all images that it is about.
    """

    kind: str
    text: str
    remedy: str
    names: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "text": self.text, "remedy": self.remedy, "images": list(self.names)}


@dataclass(frozen=True)
class Survey:
    """Images as a run will take them.

    Attributes:
        classes: their names.
        counts: by part, the images of each class.
        width, height: in pixels, upright, shape (N,).
        reading: how files become pixels.
        fit_reason: why they are fitted so, in a sentence without a full stop; empty where all are square anyway.
        mirroring: whether train images are mirrored.
        notes: further decisions, a sentence each.
        ignored: files that are not read.
        unreadable: images that are left out because they cannot be read, each with the reason.
        listed_in: the file that lists those; empty without any.
        cautions: what may spoil a result.
        grey: how many of the images that are kept have no colour.
    """

    classes: tuple[str, ...]
    counts: Mapping[str, NDArray[np.int64]]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    reading: Reading
    fit_reason: str
    mirroring: Mirroring
    notes: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    unreadable: tuple[str, ...] = ()
    listed_in: str = ""
    cautions: tuple[Caution, ...] = ()
    grey: int = 0

    @property
    def mostly_grey(self) -> bool:
        """Whether more than half of the images have no colour."""
        return 2 * self.grey > len(self.width)

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for JSON, with the name of every image that something is said about."""
        return {
            "images": {part: dict(zip(self.classes, map(int, self.counts[part]), strict=True)) for part in self.counts},
            "width": _spread(self.width),
            "height": _spread(self.height),
            "aspect": _spread(self._aspect),
            "grey": self.grey,
            "fit": self.reading.fit,
            "values": [self.reading.low, self.reading.high],
            "flip": self.mirroring.flip,
            "flip_reason": self.mirroring.reason,
            "notes": list(self.notes),
            "ignored": [{"name": one.name, "reason": one.reason} for one in self.ignored],
            "unreadable": list(self.unreadable),
            "warnings": [one.to_json() for one in self.cautions],
        }

    def lines(self) -> dict[str, str]:
        """For people, a line each by label."""
        lines = {"images": self._counted(), "sizes": self._sized()}
        if self.fit_reason:
            lines["fit"] = f"{self.reading.fit}: {self.fit_reason}"
        lines["mirrored"] = f"{'yes' if self.mirroring.flip else 'no'}: {self.mirroring.reason}"
        if self.notes:
            lines["notes"] = "; ".join(self.notes)
        if self.ignored:
            lines["ignored"] = ignored_text(self.ignored)
        if self.unreadable:
            lines["left out"] = (
                f"{counted(len(self.unreadable), 'image')} that cannot be read, listed in {self.listed_in}"
            )
        for number, one in enumerate(self.cautions, 1):
            lines[f"warning {number}" if len(self.cautions) > 1 else "warning"] = f"{one.text}. {one.remedy}"
        return lines

    @property
    def _aspect(self) -> NDArray[np.float64]:
        return np.maximum(self.width, self.height) / np.minimum(self.width, self.height)

    def _counted(self) -> str:
        names = {"train": "train", "val": "validation", "test": "test"}
        total = ", ".join(f"{int(self.counts[part].sum()):,} {names[part]}" for part in PARTS)
        each = [" + ".join(str(int(self.counts[part][k])) for part in PARTS) for k in range(len(self.classes))]
        if len(self.classes) <= _LISTED:
            return f"{total}; {', '.join(f'{name}: {count}' for name, count in zip(self.classes, each, strict=True))}"
        train = self.counts["train"]
        low, high = int(train.argmin()), int(train.argmax())
        return f"{total}; a class has from {each[low]} ({self.classes[low]}) to {each[high]} ({self.classes[high]})"

    def _sized(self) -> str:
        width, height, aspect = _spread(self.width), _spread(self.height), _spread(self._aspect)
        if width[0] == width[2] and height[0] == height[2]:
            order = "" if width[0] == height[0] else " (height x width)"
            return f"all {height[0]:g}x{width[0]:g} pixels{order}"
        return (
            f"{height[0]:g} to {height[2]:g} pixels high (median {height[1]:g}), {width[0]:g} to {width[2]:g} wide "
            f"({width[1]:g}); longer by shorter side {aspect[0]:.3g} to {aspect[2]:.3g} ({aspect[1]:.3g})"
        )


def ignored_text(ignored: Sequence[Ignored]) -> str:
    """How many files of which kind are not read, by reason."""
    counts = Counter((one.reason, _shown(one.suffix)) for one in ignored)
    by_reason: dict[str, list[str]] = {}
    for (reason, suffix), count in counts.most_common():
        by_reason.setdefault(reason, []).append(f"{count} {suffix}")
    return "; ".join(f"{', '.join(found)} ({reason})" for reason, found in by_reason.items())


def _shown(suffix: str) -> str:
    return (suffix if suffix.isprintable() else repr(suffix)) or "without suffix"


def _spread(values: NDArray[Any]) -> list[float]:
    """Smallest, median and largest."""
    return [round(float(value), 4) for value in (values.min(), np.median(values), values.max())]
