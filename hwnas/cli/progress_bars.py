"""Callbacks that draw progress on stderr: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from hwnas.cli.console import write
from hwnas.cli.time_left import TimeLeft
from hwnas.display import duration
from hwnas.events import Event

_LINE_EVERY_S = 10.0
_SHORT_S = 10.0  # a task that is shorter, of a label that was told as done before, is not told again
_SILENCE_S = 30.0  # after which a line says what is at work, although nothing was finished


class BarProgress:
    """A bar with the time left and a note for each task that is open; below each other where there are several."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._shown: dict[int, tuple[TaskID, TimeLeft]] = {}

    def __call__(self, event: Event) -> None:
        if event.kind == "message":
            write(self._console, escape(event.label))
        elif event.kind == "begin":
            if self._bars is None:
                self._bars = Bars(*_columns(), console=self._console, expand=True)
                self._bars.start()
            left = TimeLeft(time.monotonic(), event.done)
            task = self._bars.add_task(event.label, total=event.total, completed=event.done, note="", left=left)
            self._shown[event.task] = task, left
        elif event.kind == "advance" and self._bars is not None:
            task, left = self._shown[event.task]
            left.add(time.monotonic(), event.done)
            self._bars.update(task, completed=event.done, note=event.note)
        elif event.kind == "end" and self._bars is not None:
            task, _ = self._shown.pop(event.task)
            if self._shown:  # the last bar stays, others make room
                self._bars.remove_task(task)
            else:
                self._bars.stop()
                self._bars = None


class _LeftColumn(ProgressColumn):
    """The time left, where several reports tell it."""

    def render(self, task: Task) -> Text:
        left_s = task.fields["left"].seconds(round(task.total or 0))
        return Text("" if left_s is None else duration(left_s))


def _columns() -> tuple[ProgressColumn, ...]:
    text = "{task.description}  {task.fields[note]}"
    one_line = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return BarColumn(bar_width=10), _LeftColumn(), TextColumn(text, markup=False, table_column=one_line)


@dataclass
class _Timed:
    """A task: when it began, how far it is, and when and of what a line was last printed for it."""

    label: str
    total: int
    done: int
    started: float
    printed: float
    left: TimeLeft
    note: str = ""
    told: tuple[int, str] = (-1, "")
    stopped: threading.Event = field(default_factory=threading.Event)


class LineProgress:
    """For logs: how far, the time left and a note, at most every ten seconds; after a silence, what is at work.

    No line says again what the last one of its task said. Tasks of one name that follow each other are told once, but
    for long ones.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[int, _Timed] = {}
        self._ended: set[str] = set()
        self._spoke = time.monotonic()

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if event.kind == "message":
            self._say(event.label)
        elif event.kind == "begin":
            left = TimeLeft(now, event.done)
            task = self._tasks[event.task] = _Timed(event.label, event.total, event.done, now, now, left)
            threading.Thread(target=self._watch, args=(task,), daemon=True).start()
        elif event.kind == "advance":
            task = self._tasks[event.task]
            task.done, task.note = event.done, event.note
            task.left.add(now, event.done)
            if now - task.printed >= _LINE_EVERY_S and (event.done, event.note) != task.told:
                left_s = task.left.seconds(event.total)
                left_text = "" if left_s is None else f", {duration(left_s)} left"
                note = f", {event.note}" if event.note else ""
                self._say(f"{event.label}: {event.done} of {event.total}{left_text}{note}")
                task.printed, task.told = now, (event.done, event.note)
        elif event.kind == "end":
            task = self._tasks.pop(event.task)
            task.stopped.set()
            short = now - task.started < _SHORT_S and event.label in self._ended
            if event.record["completed"] and event.total and not short:
                self._ended.add(event.label)
                note = f" ({event.note})" if event.note else ""
                self._say(f"{event.label}: done in {duration(now - task.started)}{note}")

    def _watch(self, task: _Timed) -> None:
        """Say what is at work, as long as nothing else is said and no task in it is open."""
        while not task.stopped.wait(_SILENCE_S / 3):
            now = time.monotonic()
            if now - self._spoke >= _SILENCE_S and [*self._tasks.values()][-1:] == [task]:
                steps = [f"{task.done} of {task.total}"] * (task.done < task.total)
                state = ", ".join([*steps, *filter(None, [task.note])]) or "almost done"
                self._say(f"{task.label}: {state}, for {duration(now - task.started)} so far")

    def _say(self, message: str) -> None:
        self._spoke = time.monotonic()
        write(self._console, escape(message))
