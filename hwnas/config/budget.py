"""Latency budgets as people type them. They are parsed here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from hwnas.config.text import shown
from hwnas.errors import InputError


class LatencyRange(Protocol):
    """The latencies of the fastest and of the slowest network of a space, in milliseconds."""

    @property
    def smallest_ms(self) -> float: ...

    @property
    def largest_ms(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """A latency budget: milliseconds, or a share of the space's latency range on the device."""

    value: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget in `text`: `20` is milliseconds, `50%` the middle of the range.

        Raises:
            InputError: the text is no budget.
        """
        match = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})\s*(%?)\s*", text, re.ASCII)
        value = float(match[1]) if match else 0.0
        relative = bool(match and match[2])
        if value <= 0 or (relative and value > 100):
            raise InputError(
                "a budget is a positive number of milliseconds or a share of at most 100%, not " + shown(text),
                hint="examples: --budget-ms 20, --budget-ms 0.5, --budget-ms 50%",
            )
        return cls(value, relative)

    def ms(self, model: LatencyRange) -> float:
        """In milliseconds; a share lies between the fastest and the slowest network of the space."""
        if not self.relative:
            return self.value
        return model.smallest_ms + self.value / 100 * (model.largest_ms - model.smallest_ms)

    def __str__(self) -> str:
        """As people say it: `20 ms`, `50%`."""
        return f"{self.value:.12g}{'%' if self.relative else ' ms'}"

    @property
    def text(self) -> str:
        """As targets are typed: `20ms`, `50%`."""
        return f"{self.value:.12g}{'%' if self.relative else 'ms'}"

    @property
    def folder(self) -> str:
        """The folder of its results where there are several budgets: `20ms`, `50pct`."""
        return f"{self.value:.12g}{'pct' if self.relative else 'ms'}"


def parse_budgets(text: str) -> tuple[Budget, ...]:
    """One budget or several with commas between them, the tightest first.

    Raises:
        InputError: one of them is no budget, one comes twice, or milliseconds and shares are mixed.
    """
    budgets = tuple(sorted((Budget.parse(part) for part in text.split(",")), key=lambda one: one.value))
    rule, hint = "", "examples: --budgets-ms 5,10,20, --budgets-ms 20%,50%"
    if len({one.relative for one in budgets}) > 1:
        rule = "are all in milliseconds or all shares"
    if twice := [str(one) for one, other in pairwise(budgets) if one == other]:
        rule = f"are all different, but {twice[0]} comes twice"
    if rule:
        raise InputError(f"the budgets of a search {rule}: {shown(text)}", hint=hint)
    return budgets


def budget_text(value: object) -> object:
    """The text of a budget as a configuration keeps it: one as typed, several from the tightest on.

    A file may hold one in milliseconds as a number. Where `value` is neither, or empty, it comes back as it is.

    Raises:
        InputError: the text is no budget.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:.9f}".rstrip("0").rstrip(".") if 0 < value < 1e10 else shown(value)
    if not isinstance(value, str) or not value:
        return value
    budgets = parse_budgets(value)
    if len(budgets) == 1:
        return value.strip()
    return ",".join(f"{one.value:.12g}{'%' if one.relative else ''}" for one in budgets)
