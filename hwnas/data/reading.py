"""How image files are read: what a user asks for, and what follows from the images."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hwnas.image_size import Size

Fit = Literal["crop", "pad", "squash"]
FITS: tuple[Fit, ...] = ("crop", "pad", "squash")

Scale = Literal["0..1", "0..255"]
SCALES: tuple[Scale, ...] = ("0..1", "0..255")

COUNTED = 4096
"""Of image files, mean and deviation are taken from so many at most, evenly spread."""

VERSION = 3
"""To be raised whenever the same file would be read to other pixels."""

PADDING = 128
"""Grey level of what `pad` adds."""

LONG = 1.8
"""Images that are longer or shorter in shape than is asked for by more than this, in the median, are padded."""


@dataclass(frozen=True)
class ReadOptions:
    """What a user asks for.

    Attributes:
        labels: a CSV file with a class per image; `filename` for classes in the names of files; empty for folders.
        fit: how an image of another shape than is asked for comes to it: auto, crop, pad or squash.
        flip: whether images are mirrored left-right in training: auto, on or off.
        skip_unreadable: leave out images that cannot be read, instead of refusing all of them.
        threads: that images are looked at with.
        loader_threads: that read images ahead of training; None for as many as there are cores to spare, 0 for none.
        counted: images that mean and deviation are taken from, at most.
        size: of the images that networks read; None follows the data.
    """

    labels: str = ""
    fit: Literal["auto", "crop", "pad", "squash"] = "auto"
    flip: Literal["auto", "on", "off"] = "auto"
    skip_unreadable: bool = False
    threads: int = 1
    loader_threads: int | None = None
    counted: int = COUNTED
    size: Size | None = None

    @property
    def target(self) -> Size:
        """What images are fitted to: of squares, which follow the data, only the shape is known."""
        return self.size or Size.square(1)

    def fit_of(self, mismatch: float) -> Fit:
        """The fit, for images that are longer in shape than the target by this factor, or shorter, in the median."""
        if self.fit != "auto":
            return self.fit
        return "pad" if mismatch > LONG else "crop"


@dataclass(frozen=True)
class Reading:
    """How the file of an image becomes pixels of one size; an exported model says so to whoever reads images for it.

    Attributes:
        fit: `crop` takes the centre in the shape asked for, `pad` adds grey to what is too short, `squash` stretches.
        low, high: the values of images of more than 8 bits that become 0 and 255.
        scale: of floats in arrays, as training saw them; None where it saw none.
    """

    fit: Fit = "crop"
    low: float = 0.0
    high: float = 65535.0
    scale: Scale | None = None

    def to_metadata(self) -> dict[str, str]:
        """What differs from the default, for the metadata of a model, by name."""
        default = Reading()
        fit = {} if self.fit == default.fit else {"fit": self.fit}
        values = (self.low, self.high)
        scale = {} if self.scale is None else {"scale": str(self.scale)}
        return fit | ({} if values == (default.low, default.high) else {"values": json.dumps(values)}) | scale

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str]) -> Reading:
        """What `to_metadata` wrote.

        Raises:
            ValueError: it is something else.
        """
        fit = next((one for one in FITS if one == metadata.get("fit", cls().fit)), None)
        scale = next((one for one in SCALES if one == metadata.get("scale")), None)
        values = json.loads(metadata["values"]) if "values" in metadata else [cls().low, cls().high]
        low, high = values if isinstance(values, list) and len(values) == 2 else (0, 0)
        if (
            fit is None
            or not all(type(one) in (int, float) and math.isfinite(one) for one in (low, high))
            or low >= high
            or metadata.get("scale") != scale
        ):
            raise ValueError("how images are read")
        return cls(fit, float(low), float(high), scale)

    @property
    def key(self) -> str:
        """Text that differs wherever pixels would."""
        return f"{VERSION} {self.fit} {self.low!r} {self.high!r}"


def window(low: float, high: float) -> tuple[float, float]:
    """The values that are to become black and white, where those of all images go from `low` to `high`.

    That is 0 and the largest value of as few bits as hold `high`, at least 8; values that use less than a quarter of
    those, or are negative or fractions, are taken from the lowest to the highest.
    """
    whole = float(low).is_integer() and float(high).is_integer()
    if whole and low >= 0:
        top = float((1 << max(8, int(high).bit_length())) - 1)
        if high - low >= top / 4 or high == low:
            return 0.0, top
    return (low, high) if high > low else (low, low + 1)
