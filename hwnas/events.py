"""Events of long work, and the callbacks that hear them: progress bars, log files, a tracker of the user's own."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hwnas.progress import Advance

Kind = Literal["begin", "advance", "end", "message", "record"]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: `begin`, `advance` and `end` of a task with a known number of steps; a `message` for the user; a `record`,
            one entry of `log.jsonl`: stages, epochs, checks and verdicts.
        task: number of the task, the same in all its events; tasks nest.
        label: name of the task, or the text of the message.
        total: steps of the task.
        done: steps that are finished.
        note: state of the task in a few words, such as `loss 0.31`.
        record: content of a record, ready for JSON; its key `event` says what it is.
    """

    kind: Kind
    task: int = 0
    label: str = ""
    total: int = 0
    done: int = 0
    note: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


OnEvent = Callable[[Event], None]
"""A callback."""


class Events:
    """A `Progress` that turns reports into events and calls every callback with each of them, in order.

    Reports of several threads wait for each other, so that a callback is never called by two of them at once.
    """

    def __init__(self, *callbacks: OnEvent) -> None:
        self._callbacks, self._about = callbacks, ""
        self._numbers = itertools.count(1)
        self._one_at_a_time = threading.RLock()

    @classmethod
    def of(cls, on_event: OnEvent | Sequence[OnEvent]) -> Events:
        """Events for one callback or several."""
        return cls(*((on_event,) if callable(on_event) else on_event))

    def also(self, *callbacks: OnEvent) -> Events:
        """The same, with further callbacks."""
        more = Events(*self._callbacks, *callbacks)
        more._about = self._about
        more._numbers = self._numbers  # the callbacks that both have see no number twice
        more._one_at_a_time = self._one_at_a_time
        return more

    def about(self, name: str) -> Events:
        """The same about one thing of several, whose name tasks and messages begin with; records stay as they are."""
        more = self.also()
        more._about = f"{self._about}{name}: "
        return more

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        """Open a task of `total` steps, `done` of which were finished in an earlier run."""
        task, finished, last = next(self._numbers), done, ""

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal finished, last
            finished, last = finished + steps, note or last
            self._tell(Event("advance", task, label, total, finished, last))

        self._tell(Event("begin", task, label, total, done))
        completed = False
        try:
            yield advance
            completed = True
        finally:
            self._tell(Event("end", task, label, total, finished, last, {"completed": completed}))

    def say(self, message: str) -> None:
        """Tell the user one thing, in one line."""
        self._tell(Event("message", label=message))

    def record(self, entry: Mapping[str, Any]) -> None:
        """Tell one entry of the log."""
        self._tell(Event("record", record=entry))

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record that a stage begins and, unless something is raised, that it has ended and how long it took."""
        started = time.monotonic()
        self.record({"event": "start", "stage": name})
        yield
        self.record({"event": "end", "stage": name, "seconds": round(time.monotonic() - started, 3)})

    def _tell(self, event: Event) -> None:
        if self._about and event.kind != "record":
            event = replace(event, label=f"{self._about}{event.label}")
        with self._one_at_a_time:
            for callback in self._callbacks:
                callback(event)
