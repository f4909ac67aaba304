"""Ten silhouettes of equal area, and clutter: halves of them and plain forms, as maps of signed distances.

All is +, -, ×, / and square roots of float64, which IEEE 754 rounds alike everywhere, then whole numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 160
"""Of a map, in cells."""

CELLS = 40
"""A unit of length; a silhouette's area is 2 square units."""

STEPS = 256
"""A unit of distance."""

_AREA = 2.0
_CUTS = 3  # times that corners are cut

Outline = tuple[tuple[int, int], ...]

# Corners, x to the right and y down. Those of the second group are rounded; a corner that is given twice stays sharp.
_ANGULAR: dict[str, Outline] = {
    "arrow": ((0, -10), (8, -1), (3, -1), (3, 10), (-3, 10), (-3, -1), (-8, -1)),
    "bolt": ((2, -10), (-6, 2), (-1, 2), (-3, 10), (6, -3), (1, -3), (6, -10)),
    "cross": (
        (3, -9),
        (3, -3),
        (9, -3),
        (9, 3),
        (3, 3),
        (3, 9),
        (-3, 9),
        (-3, 3),
        (-9, 3),
        (-9, -3),
        (-3, -3),
        (-3, -9),
    ),
    "hourglass": ((-7, -9), (7, -9), (2, 0), (7, 9), (-7, 9), (-2, 0)),
    "star": (
        (0, -100),
        (24, -32),
        (95, -31),
        (38, 12),
        (59, 81),
        (0, 40),
        (-59, 81),
        (-38, 12),
        (-95, -31),
        (-24, -32),
    ),
    "tree": ((0, -10), (5, -3), (3, -3), (8, 5), (2, 5), (2, 9), (-2, 9), (-2, 5), (-8, 5), (-3, -3), (-5, -3)),
}
_ROUNDED: dict[str, Outline] = {
    "crescent": ((3, -10), (3, -10), (-9, -9), (-9, 9), (3, 10), (3, 10), (-3, 5), (-3, -5)),
    "drop": ((0, -11), (0, -11), (2, -5), (8, 1), (6, 9), (-6, 9), (-8, 1), (-2, -5)),
    "fish": (
        (-10, -6),
        (-10, -6),
        (-5, -1),
        (0, -7),
        (8, -6),
        (11, 0),
        (8, 6),
        (0, 7),
        (-5, 1),
        (-10, 6),
        (-10, 6),
        (-8, 0),
    ),
    "heart": ((0, -4), (0, -4), (2, -10), (10, -9), (10, -1), (0, 10), (0, 10), (-10, -1), (-10, -9), (-2, -10)),
}
_PLAIN: dict[str, Outline] = {
    "bar": ((-20, -3), (20, -3), (20, 3), (-20, 3)),
    "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "triangle": ((0, -2), (2, 2), (-2, 2)),
    "wedge": ((-3, -1), (3, -1), (3, 1)),
}
_DISC: Outline = ((-2, -5), (2, -5), (5, -2), (5, 2), (2, 5), (-2, 5), (-5, 2), (-5, -2))

NAMES = tuple(sorted(_ANGULAR | _ROUNDED))
"""Of the silhouettes, whose maps come first and in this order."""

BAR = len(NAMES)
"""The map of a bar; those of the clutter follow."""


@cache
def distance_maps() -> NDArray[np.int32]:
    """Distances to the edge in steps of 1 / `STEPS`, negative inside; shape (maps, SIDE, SIDE).

    After the silhouettes and the bar come plain forms, then the left and the upper half of every silhouette.
    """
    outlines = {name: _points(corners) for name, corners in (_ANGULAR | _PLAIN).items()}
    outlines |= {name: _rounded(_points(corners)) for name, corners in _ROUNDED.items()}
    disc = _rounded(_points(_DISC))
    whole = [_distances(points) for points in (*(outlines[name] for name in (*NAMES, *_PLAIN)), disc)]
    middle = _centres()
    halves = [np.maximum(whole[one], cut) for one in range(len(NAMES)) for cut in (middle[None, :], middle[:, None])]
    return np.floor(np.stack([*whole, *halves]) * STEPS + 0.5).astype(np.int32)


def _centres() -> NDArray[np.float64]:
    """Of the cells along one side, in units."""
    return (np.arange(SIDE) - SIDE / 2 + 0.5) / CELLS


def _points(corners: Outline) -> NDArray[np.float64]:
    return np.array(corners, np.float64)


def _rounded(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners cut again and again. Source: Chaikin, 1974."""
    for _ in range(_CUTS):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1).reshape(-1, 2)
    kept = (points != np.roll(points, -1, axis=0)).any(axis=1)
    rounded: NDArray[np.float64] = points[kept]
    return rounded


def _distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signed distance of every cell to a polygon of shape (n, 2), which is centred and brought to the common area."""
    (x, y), (x_next, y_next) = points.T, np.roll(points, -1, axis=0).T
    area = 0.0
    for twice in (x * y_next - x_next * y).tolist():  # one by one: the order of a sum changes its last bit
        area += twice / 2
    points = (points - (points.max(axis=0) + points.min(axis=0)) / 2) * np.sqrt(_AREA / abs(area))
    px, py = _centres()[None, :], _centres()[:, None]
    nearest, inside = np.full((SIDE, SIDE), np.inf), np.zeros((SIDE, SIDE), bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
        dx, dy = bx - ax, by - ay
        along = (((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy)).clip(0.0, 1.0)
        off_x, off_y = px - ax - along * dx, py - ay - along * dy
        np.minimum(nearest, off_x * off_x + off_y * off_y, out=nearest)
        if dy != 0.0:
            inside ^= ((py < ay) != (py < by)) & (px < (py - ay) / dy * dx + ax)
    signed: NDArray[np.float64] = np.where(inside, -1.0, 1.0) * np.sqrt(nearest)
    return signed
