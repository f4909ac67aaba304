"""A chart as SVG: every mark has a text, and its look is that of the style sheet, in light, dark and print."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 400, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 16, 14, 44
_SHAPES = {
    "found": "M0-7.5 7.5 0 0 7.5-7.5 0Z",
    "random": "M-5.5-5.5H5.5V5.5H-5.5Z",
    "parent": "M0-7 6.6 5.4H-6.6Z",
    "check": "M0 7 6.6-5.4H-6.6Z",
    "candidate": "M-3.8 0A3.8 3.8 0 1 1 3.8 0A3.8 3.8 0 1 1-3.8 0Z",
}
"""Kinds differ in shape as well as in colour."""

Pair = tuple[float, float]


@dataclass(frozen=True)
class Mark:
    """A point with its text.

    Attributes:
        kind: one of the shapes.
        across, up: ends of its error bars, in the units of the axes.
    """

    x: float
    y: float
    kind: str
    text: str
    across: Pair | None = None
    up: Pair | None = None


@dataclass(frozen=True)
class Axis:
    """An axis from one end to the other, with its name; `whole` has ticks at whole numbers alone."""

    label: str
    low: float
    high: float
    whole: bool = False

    @classmethod
    def around(cls, values: Iterable[float], label: str, room: float = 0.06) -> Axis:
        """An axis of all these, with some room at both ends, and not below 0 unless a value is."""
        known = list(values)
        low, high = min(known), max(known)
        span = (high - low) or abs(high) or 1.0
        bottom = low - room * span
        return cls(label, max(0.0, bottom) if low >= 0 else bottom, high + room * span)

    def share(self, value: float) -> float:
        """How far along the axis a value is, 0 to 1; those beyond an end are at it."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def ticks(self, most: int = 5) -> list[float]:
        """Round values on the axis, at most `most` and usually no fewer than half of them."""
        raw = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
        step = max(1.0, round(step)) if self.whole else step
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


class Chart:
    """Drawn in the order of the calls, in units of the axes."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self.x, self.y = x, y
        self._parts: list[Markup] = []
        self._frame()

    def line(self, points: Sequence[Pair], kind: str) -> None:
        """A line through points."""
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)
        self._parts.append(Markup('<polyline class="line {}" points="{}"/>').format(kind, path))

    def area(self, points: Sequence[Pair], kind: str) -> None:
        """A filled polygon."""
        path = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)
        self._parts.append(Markup('<polygon class="area {}" points="{}"/>').format(kind, path))

    def limit(self, value: float, text: str, *, level: bool = False, along: bool = False) -> None:
        """A dashed line across the chart with its text; upright unless it is `level`.

        Args:
            along: have the text along the line, where several lines are near each other.
        """
        if level:
            self.line([(self.x.low, value), (self.x.high, value)], "budget")
            self._text(WIDTH - _RIGHT - 4, self._y(value) - 5, "end", text, "budget")
            return
        self.line([(value, self.y.low), (value, self.y.high)], "budget")
        left = self.x.share(value) < 0.6
        if along:
            self._turned(self._x(value) - 5, HEIGHT - _BOTTOM - 6, "start", text, "budget")
        else:
            self._text(self._x(value) + (5 if left else -5), _TOP + 11, "start" if left else "end", text, "budget")

    def marks(self, marks: Iterable[Mark]) -> None:
        """Points; the error bars of each are behind it."""
        for one in marks:
            x, y = self._x(one.x), self._y(one.y)
            bars = ""
            if one.across is not None:
                bars += f"M{self._x(one.across[0]) - x:.1f} 0H{self._x(one.across[1]) - x:.1f}"
            if one.up is not None:
                bars += f"M0 {self._y(one.up[0]) - y:.1f}V{self._y(one.up[1]) - y:.1f}"
            drawn = Markup('<path class="bars" d="{}"/>').format(bars) if bars else Markup()
            self._parts.append(
                Markup(
                    '<g class="mark {}" transform="translate({:.1f} {:.1f})">{}<path d="{}"/><title>{}</title></g>'
                ).format(one.kind, x, y, drawn, _SHAPES[one.kind], one.text)
            )

    def svg(self, label: str) -> Markup:
        """The chart.

        Args:
            label: the text that stands for it where it is not seen.
        """
        opening = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">')
        return opening.format(WIDTH, HEIGHT, label) + Markup("").join(self._parts) + Markup("</svg>")

    def _frame(self) -> None:
        for value in self.x.ticks():
            self.line([(value, self.y.low), (value, self.y.high)], "grid")
            self._text(self._x(value), HEIGHT - _BOTTOM + 17, "middle", _tick(value), "tick")
        for value in self.y.ticks():
            self.line([(self.x.low, value), (self.x.high, value)], "grid")
            self._text(_LEFT - 7, self._y(value) + 4, "end", _tick(value), "tick")
        self._text((WIDTH + _LEFT - _RIGHT) / 2, HEIGHT - 6, "middle", self.x.label, "axis")
        self._turned(11, (HEIGHT + _TOP - _BOTTOM) / 2, "middle", self.y.label, "axis")

    def _turned(self, x: float, y: float, anchor: str, text: str, kind: str) -> None:
        """Text from the bottom to the top."""
        turned = Markup(
            '<text class="{}" text-anchor="{}" font-size="13" transform="translate({:.1f} {:.1f}) rotate(-90)">'
            "{}</text>"
        )
        self._parts.append(turned.format(kind, anchor, x, y, text))

    def _text(self, x: float, y: float, anchor: str, text: str, kind: str) -> None:
        self._parts.append(
            Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}" font-size="13">{}</text>').format(
                kind, x, y, anchor, text
            )
        )

    def _x(self, value: float) -> float:
        return _LEFT + self.x.share(value) * (WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - self.y.share(value) * (HEIGHT - _TOP - _BOTTOM)


def legend(kinds: Iterable[tuple[str, str]]) -> Markup:
    """What each kind of mark is, as a list."""
    entry = Markup(
        '<li><svg class="key" viewBox="-9 -9 18 18" aria-hidden="true"><g class="mark {}"><path d="{}"/></g></svg>'
        "{}</li>"
    )
    entries = [entry.format(kind, _SHAPES[kind], text) for kind, text in kinds]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(entries)) if entries else Markup()


def _tick(value: float) -> str:
    return f"{value:,.6g}"
