"""Progress on stderr: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column

from hwnas.cli.console import write
from hwnas.progress import Advance

_LINE_EVERY_S = 10.0


class BarProgress:
    """A bar with the time left and a note."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        columns = (
            BarColumn(bar_width=10),
            TimeRemainingColumn(compact=True),
            TextColumn(
                "{task.description}  {task.fields[note]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
        )
        with Bars(*columns, console=self._console, expand=True) as bars:
            task = bars.add_task(label, total=total, completed=done, note="")

            def advance(steps: int = 1, note: str = "") -> None:
                bars.update(task, advance=steps)
                if note:
                    bars.update(task, note=note)

            yield advance

    def say(self, message: str) -> None:
        write(self._console, escape(message))


class LineProgress:
    """For logs: how far, the time left and a note, at most every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        started = printed = time.monotonic()
        finished, last_note = done, ""

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal finished, printed, last_note
            finished, last_note = finished + steps, note or last_note
            now = time.monotonic()
            if now - printed >= _LINE_EVERY_S and finished > done:
                left = (now - started) / (finished - done) * (total - finished)
                note_part = f", {last_note}" if last_note else ""
                self.say(f"{label}: {finished} of {total}, {_duration(left)} left{note_part}")
                printed = now

        yield advance
        note_part = f" ({last_note})" if last_note else ""
        self.say(f"{label}: done in {_duration(time.monotonic() - started)}{note_part}")

    def say(self, message: str) -> None:
        write(self._console, escape(message))


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
