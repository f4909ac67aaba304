"""`Size`: height and width of images, in this order everywhere."""

from __future__ import annotations

import math
import re
import reprlib
from numbers import Integral
from typing import NamedTuple, TypeAlias

from hwnas.errors import InputError

SMALLEST_SIDE, LARGEST_SIDE = 4, 2048
"""In pixels, of what a network reads."""

_FORM = re.compile(r"\s*([0-9]{1,5})\s*(?:[xX×]\s*([0-9]{1,5})\s*)?")


SizeLike: TypeAlias = "int | str | Size"
"""The side of a square, a text such as `160` or `96x160`, or a size."""


class Size(NamedTuple):
    """Height and width in pixels. As text, squares are one number: `160`; others have both, `96x160`."""

    height: int
    width: int

    @classmethod
    def square(cls, side: int) -> Size:
        """As high as wide."""
        return cls(side, side)

    @classmethod
    def of(cls, value: object, *, smallest: int = 1) -> Size:
        """The size that a number (the side of a square), a text such as `160` or `96x160`, or a size stands for.

        Args:
            smallest: side in pixels; for networks that is `SMALLEST_SIDE`.

        Raises:
            InputError: it is something else, or a side is not from `smallest` to 2048 pixels.
        """
        if isinstance(value, Size):
            size = value
        elif isinstance(value, Integral) and not isinstance(value, bool):
            size = cls.square(int(value))
        else:
            match = _FORM.fullmatch(value) if isinstance(value, str) else None
            size = cls(int(match[1]), int(match[2] or match[1])) if match else cls(0, 0)
        if not smallest <= size.short <= size.long <= LARGEST_SIDE:
            raise InputError(
                f"a resolution is a number of pixels for squares, or height x width, with each side from {smallest} to "
                f"{LARGEST_SIDE}, not {_shown(value)}",
                hint="examples: --resolution 160, --resolution 96x160",
            )
        return size

    def __str__(self) -> str:
        return str(self.height) if self.is_square else f"{self.height}x{self.width}"

    @property
    def plain(self) -> int | str:
        """As a configuration keeps it."""
        return self.height if self.is_square else str(self)

    @property
    def is_square(self) -> bool:
        return self.height == self.width

    @property
    def short(self) -> int:
        """The shorter side."""
        return min(self)

    @property
    def long(self) -> int:
        """The longer side."""
        return max(self)

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def side(self) -> int:
        """Of a square with about as many pixels."""
        return round(math.sqrt(self.pixels))

    def halved(self) -> Size:
        """As a stride of 2 leaves it; a side of one pixel stays."""
        return Size((self.height + 1) // 2, (self.width + 1) // 2)

    def scaled(self, factor: float) -> Size:
        """Of about the same shape, with at least one pixel a side."""
        return Size(max(1, round(self.height * factor)), max(1, round(self.width * factor)))

    def at_most(self, pixels: int) -> Size:
        """Of about the same shape, with no more pixels, and no longer than the longest side there is."""
        factor = min(math.sqrt(pixels / self.pixels), LARGEST_SIDE / self.long)
        return self if factor >= 1 else self.scaled(factor)

    def mismatch(self, other: Size) -> float:
        """By which factor one is longer in shape than the other; 1 is the same shape."""
        wide, high = self.width * other.height, self.height * other.width
        return max(wide, high) / min(wide, high)


def size_value(value: object) -> object:
    """A resolution as a configuration keeps it: a number for squares, text such as `96x160` for others, 0 for none.

    Raises:
        InputError: it is none.
    """
    none = value == 0 if type(value) is int else isinstance(value, str) and value.strip() == "0"
    return 0 if none else Size.of(value, smallest=SMALLEST_SIDE).plain


def _shown(value: object) -> str:
    try:
        return str(value) if isinstance(value, Size) else reprlib.repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits
        return "a number of thousands of digits"
