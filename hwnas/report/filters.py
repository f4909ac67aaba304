"""Numbers as a page writes them; the filters of its templates. What is no number becomes a dash."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jinja2

from hwnas.report.run_files import number

_UNKNOWN = "–"


def ms(value: object) -> str:
    """Milliseconds: four digits, or whole ones from 1,000 on."""
    number_ms = number(value)
    if number_ms is None:
        return _UNKNOWN
    return f"{number_ms:,.0f}" if abs(number_ms) >= 1000 else f"{number_ms:#.4g}"


def percent(value: object) -> str:
    """A share as a percentage."""
    share = number(value)
    return _UNKNOWN if share is None else f"{share * 100:.1f} %"


def _scaled(value: object, base: int, units: str) -> str:
    amount = number(value)
    if amount is None:
        return _UNKNOWN
    power = min(len(units.split()), int(math.log(max(abs(amount), 1), base)))
    unit = ["", *units.split()][power]
    return f"{amount / base**power:.3g} {unit}" if power else f"{amount:.0f}"


def count(value: object) -> str:
    """A number of things, in thousands or millions of them."""
    return _scaled(value, 1000, "k M G T")


def size(value: object) -> str:
    """Bytes, in KiB and the like."""
    amount = _scaled(value, 1024, "KiB MiB GiB")
    return amount if "iB" in amount or amount == _UNKNOWN else f"{amount} B"


def seconds(value: object) -> str:
    """A duration in hours, minutes and seconds."""
    total = number(value)
    if total is None:
        return _UNKNOWN
    minutes, rest = divmod(round(total), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{total:.1f} s"


def text(value: object) -> str:
    """Anything that JSON or TOML holds, in words."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {text(entry)}" for key, entry in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not known" if value is None or isinstance(value, jinja2.Undefined) else str(value)


def binomial(share: object, images: object) -> tuple[float, float] | None:
    """The exact 95 % interval of Clopper and Pearson (1934) of a share of so many images; None if they are neither."""
    from scipy.stats import binomtest  # half a second that few commands need

    accuracy, n = number(share), number(images)
    if accuracy is None or n is None or n < 1 or not 0 <= accuracy <= 1:
        return None
    interval = binomtest(round(accuracy * n), round(n)).proportion_ci(confidence_level=0.95, method="exact")
    return float(interval.low), float(interval.high)


def place_of(result: object) -> str:
    """The device of one of the results of a run for several, as it was asked for; empty where there is one device."""
    asked = result.get("target") if isinstance(result, dict) else None
    return str(asked or "").rpartition(":")[0]


FILTERS: dict[str, Callable[..., Any]] = {"place": place_of} | {
    function.__name__: function for function in (number, ms, percent, count, size, seconds, text, binomial)
}
