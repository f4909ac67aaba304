"""Pictures of silhouettes in clutter, in whole numbers alone: equal bytes on every machine.

Each number that is drawn is a hash of the seed, the picture and what it is for (splitmix64; Steele et al., 2014), so a
picture is the same whichever others are drawn, and whatever the version of numpy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwnas.data.silhouettes import BAR, CELLS, SIDE, STEPS, distance_maps

SIZE = 48
"""Side of a picture, in pixels."""

_FINE = 16  # steps a pixel, of places and lengths
_EDGE = 32  # steps of opacity, and steps a pixel of distances
_TURN = 1024  # of a sine of 1
_BEHIND, _BEFORE = 3, 1  # pieces of clutter
_AT_ONCE = 64  # pictures, so that a layer stays in the processor's cache

Whole = NDArray[np.int32]

_SINES = np.array([round(_TURN * math.sin(math.radians(degrees))) for degrees in range(450)], np.int64)


class Chance:
    """Whole numbers for each of some pictures, one call after the other."""

    def __init__(self, seed: int, pictures: NDArray[np.uint64]) -> None:
        self._pictures = _mixed(_mixed(np.array([seed], np.uint64)) + pictures)
        self._calls = 0

    def bits(self, count: int) -> NDArray[np.uint64]:
        """Shape (pictures, count): 64 bits each."""
        self._calls += 1
        start = _mixed(self._pictures + np.uint64(self._calls))
        return _mixed(start[:, None] + np.arange(count, dtype=np.uint64)[None, :] * _GOLDEN)

    def within(self, low: int, high: int) -> NDArray[np.int64]:
        """One each, uniform from `low` to `high`, both included."""
        return (self.bits(1)[:, 0] >> np.uint64(32)).astype(np.int64) * (high - low + 1) // 2**32 + low


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _GOLDEN
    for shift, factor in _ROUNDS:
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return state


@dataclass(frozen=True)
class Piece:
    """One form in each picture; every array has shape (pictures,).

    Attributes:
        form: which of the distance maps.
        x, y: its middle, in `_FINE` steps a pixel.
        size: pixels of a unit of length, in the same steps.
        narrow: the same across, before it is turned.
        degrees: how far it is turned, from 0 to 359.
        mirror: 1 or -1.
        rim: half the breadth of its line in `_EDGE` steps a pixel; where that is much, it is filled.
    """

    form: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    size: NDArray[np.int64]
    narrow: NDArray[np.int64]
    degrees: NDArray[np.int64]
    mirror: NDArray[np.int64]
    rim: NDArray[np.int64]


def pictures(labels: NDArray[np.int64], *, seed: int, first: int = 0) -> NDArray[np.uint8]:
    """Pictures of the silhouettes with these numbers, shape (N, 3, SIZE, SIZE).

    Args:
        first: number of the first picture; pictures with other numbers are others.
    """
    result = np.empty((len(labels), 3, SIZE, SIZE), np.uint8)
    for start in range(0, len(labels), _AT_ONCE):
        some = labels[start : start + _AT_ONCE]
        numbers = np.arange(first + start, first + start + len(some)).astype(np.uint64)
        result[start : start + _AT_ONCE] = _drawn(some, Chance(seed, numbers))
    return result


def _drawn(labels: NDArray[np.int64], chance: Chance) -> NDArray[np.int16]:
    ground = chance.within(0, 255)
    canvas = _colours(ground, chance)[:, :, None, None] + (_slope(chance) + _stripes(chance))[:, None].astype(np.int16)
    for piece in _pieces(labels, chance):
        grey = (ground + chance.within(90, 166)) % 256  # at least 90 from the ground, lighter or darker
        paint = _colours(grey, chance)[:, :, None, None] + _stripes(chance)[:, None].astype(np.int16)
        canvas += ((paint - canvas) * _opacity(piece)[:, None]) >> 5
    noise = chance.bits(3 * SIZE * SIZE // 8).astype("<u8").view(np.uint8).reshape(canvas.shape)
    canvas += (noise & 7).astype(np.int16) + (noise >> 5) - 7
    return canvas.clip(0, 255)


def _pieces(labels: NDArray[np.int64], chance: Chance) -> Iterator[Piece]:
    """From the back to the front: clutter, the silhouette, a bar and a little clutter."""
    forms = len(distance_maps()) - 1
    for _ in range(_BEHIND):
        yield _piece(chance, chance.within(BAR + 1, forms), reach=22, size=(4, 8), degrees=180)
    yield _piece(chance, labels, reach=4, size=(11, 15), degrees=25)
    yield _piece(chance, np.full_like(labels, BAR), reach=8, size=(5, 7), degrees=180, filled=True)
    for _ in range(_BEFORE):
        yield _piece(chance, chance.within(BAR + 1, forms), reach=16, size=(3, 4), degrees=180)


def _piece(
    chance: Chance,
    form: NDArray[np.int64],
    *,
    reach: int,
    size: tuple[int, int],
    degrees: int,
    filled: bool = False,
) -> Piece:
    """Up to `reach` pixels from the middle, and turned by up to so many degrees."""
    low, high = (_FINE * side for side in size)
    middle, far = SIZE * _FINE // 2, reach * _FINE
    across = chance.within(low, high)
    line = chance.within(28, 48)
    return Piece(
        form,
        chance.within(middle - far, middle + far),
        chance.within(middle - far, middle + far),
        across,
        across * chance.within(80, 100) // 100,
        chance.within(-degrees, degrees) % 360,
        2 * chance.within(0, 1) - 1,
        np.where((chance.within(0, 1) == 1) | filled, 10_000, line),
    )


def _opacity(piece: Piece) -> NDArray[np.int16]:
    """From 0 to `_EDGE`, shape (pictures, SIZE, SIZE)."""
    sine, cosine = _SINES[piece.degrees], _SINES[piece.degrees + 90]
    across, down = (CELLS << 16) // piece.narrow * piece.mirror, (CELLS << 16) // piece.size  # 1 / 65,536 cells a step
    steps = np.arange(SIZE) * _FINE + _FINE // 2
    x, y = steps[None, :] - piece.x[:, None], steps[None, :] - piece.y[:, None]

    def cell(of_x: NDArray[np.int64], of_y: NDArray[np.int64]) -> Whole:
        by_x, by_y = ((part // _TURN)[:, None] * place for part, place in ((of_x, x), (of_y, y)))
        both = by_x.astype(np.int32)[:, None, :] + by_y.astype(np.int32)[:, :, None]
        both >>= 16
        both += SIDE // 2
        return both.clip(0, SIDE - 1, out=both)

    column, row = cell(across * cosine, across * sine), cell(-down * sine, down * cosine)
    row *= SIDE
    row += column
    row += (piece.form * SIDE**2).astype(np.int32)[:, None, None]
    distance = distance_maps().ravel()[row]
    distance *= piece.size.astype(np.int32)[:, None, None]
    distance >>= (STEPS * _FINE // _EDGE).bit_length() - 1
    rim = piece.rim.astype(np.int32)[:, None, None]
    distance += rim
    np.abs(distance, out=distance)
    distance -= rim + _EDGE // 2
    np.negative(distance, out=distance)
    return distance.clip(0, _EDGE, out=distance).astype(np.int16)


def _colours(grey: NDArray[np.int64], chance: Chance) -> NDArray[np.int16]:
    """A colour about as light as this, shape (pictures, 3)."""
    return np.stack([(grey + chance.within(-45, 45)).clip(0, 255) for _ in range(3)], 1).astype(np.int16)


def _slope(chance: Chance) -> Whole:
    """Lighter to one side, by up to 48 at the corners; shape (pictures, SIZE, SIZE)."""
    place = np.arange(SIZE) - SIZE // 2
    x, y = (chance.within(-256, 256)[:, None] * place for _ in range(2))
    return ((x[:, None, :] + y[:, :, None]) >> 8).astype(np.int32)


def _stripes(chance: Chance) -> Whole:
    """Of 2 to 6 pixels, in any direction, lighter and darker by up to 12; shape (pictures, SIZE, SIZE)."""
    degrees, breadth, strength = chance.within(0, 359), chance.within(2, 6), chance.within(0, 12)
    place = np.arange(SIZE)
    x, y = (_SINES[turn][:, None] * place // breadth[:, None] for turn in (degrees, degrees + 90))
    stripe = (x.astype(np.int32)[:, None, :] + y.astype(np.int32)[:, :, None]) >> 10
    stripe &= 1
    stripe *= 2
    stripe -= 1
    stripe *= strength.astype(np.int32)[:, None, None]
    return stripe
