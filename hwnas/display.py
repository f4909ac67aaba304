"""How results and numbers show themselves."""

from __future__ import annotations

import html
from collections.abc import Mapping

_SHOWN = 5


def table_html(title: str, facts: Mapping[str, object]) -> str:
    """A small table of facts, for `_repr_html_`; all text is escaped."""
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th><td>{_escaped(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table><caption>{html.escape(title)}</caption>{rows}</table>"


def _escaped(value: object) -> str:
    return html.escape(str(value)).replace("\n", "<br>")


def ms(value: float) -> str:
    """Milliseconds as text: four digits, or whole ones from 1,000 on."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.4g}"


def duration(seconds: float) -> str:
    """A time as text, with its unit: seconds below two minutes, two digits of minutes below ten, hours from two on."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.2g} min" if minutes < 10 else f"{minutes:.0f} min"
    return f"{round(minutes) // 60} h {round(minutes) % 60} min"


def slower(change: float) -> str:
    """A relative change of a time, such as 0.08, in words: '8.0% slower'."""
    return f"{abs(change):.1%} {'faster' if change < 0 else 'slower'}"


def counted(number: object, noun: str, several: str = "") -> str:
    """So many of a thing, such as '1 image' and '2 images'.

    Args:
        number: a count, or the text of any number.
        several: the plural, where it is not the noun and an s.
    """
    return f"{number} {noun if str(number) == '1' else several or f'{noun}s'}"


def steps_text(steps: float) -> str:
    """A number of steps in words; at least one."""
    count = max(1, round(steps))
    return counted(f"{count:,}", "step")


def epochs_text(epochs: float, steps: float) -> str:
    """A number of epochs in words; as so many steps where it is less than one."""
    shown = f"{epochs:.3g}"
    return steps_text(steps) if epochs < 1.0 else counted(shown, "epoch")


def few(items: list[str]) -> str:
    """The first few of the items, and how many more there are."""
    more = f", and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def printable(text: str, longest: int = 1000) -> str:
    """A text of others as a terminal can show it: what is not printable is escaped, and the end of a long one cut."""
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)
