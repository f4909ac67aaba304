"""Callbacks that draw progress on stderr: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column

from hwnas.cli.console import write
from hwnas.events import Event

_LINE_EVERY_S = 10.0


class BarProgress:
    """A bar with the time left and a note."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[int, tuple[Bars, TaskID]] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "message":
            write(self._console, escape(event.label))
        elif event.kind == "begin":
            bars = Bars(*_columns(), console=self._console, expand=True)
            self._shown[event.task] = bars, bars.add_task(event.label, total=event.total, completed=event.done, note="")
            bars.start()
        elif event.kind == "advance":
            bars, task = self._shown[event.task]
            bars.update(task, completed=event.done, note=event.note)
        elif event.kind == "end":
            self._shown.pop(event.task)[0].stop()


def _columns() -> tuple[BarColumn, TimeRemainingColumn, TextColumn]:
    text = "{task.description}  {task.fields[note]}"
    one_line = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return (
        BarColumn(bar_width=10),
        TimeRemainingColumn(compact=True),
        TextColumn(text, markup=False, table_column=one_line),
    )


@dataclass
class _Timed:
    """A task: when it began, how much of it was done then, and when its last line was printed."""

    started: float
    before: int
    printed: float


class LineProgress:
    """For logs: how far, the time left and a note, at most every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[int, _Timed] = {}

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind == "message":
            self._say(event.label)
        elif event.kind == "begin":
            self._tasks[event.task] = _Timed(now, event.done, now)
        elif event.kind == "advance":
            task = self._tasks[event.task]
            if now - task.printed >= _LINE_EVERY_S and event.done > task.before:
                left = (now - task.started) / (event.done - task.before) * (event.total - event.done)
                note = f", {event.note}" if event.note else ""
                self._say(f"{event.label}: {event.done} of {event.total}, {_duration(left)} left{note}")
                task.printed = now
        elif event.kind == "end":
            task = self._tasks.pop(event.task)
            if event.record["completed"]:
                note = f" ({event.note})" if event.note else ""
                self._say(f"{event.label}: done in {_duration(now - task.started)}{note}")

    def _say(self, message: str) -> None:
        write(self._console, escape(message))


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
