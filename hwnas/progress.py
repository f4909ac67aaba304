"""The protocol by which long work reports; `hwnas.events` turns reports into events for callbacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol


class Advance(Protocol):
    """Report `steps` finished steps; `note` says in a few words how it goes (say, 'loss 0.31')."""

    def __call__(self, steps: int = 1, note: str = "") -> None: ...


class Progress(Protocol):
    """Where long work reports."""

    def track(self, label: str, total: int, *, done: int = 0) -> contextlib.AbstractContextManager[Advance]:
        """Open a stage of `total` steps, `done` of which were finished in an earlier run."""
        ...

    def say(self, message: str) -> None:
        """Tell the user one thing, in one line."""
        ...

    def record(self, entry: Mapping[str, Any]) -> None:
        """Tell one entry of the log, ready for JSON."""
        ...


class Within:
    """Tasks of one kind that count as steps of one that is open already; other tasks are as they were."""

    def __init__(self, outer: Progress, advance: Advance, total: int, *, kind: str, beyond: str) -> None:
        """Prepare it.

        Args:
            advance: of the open task, which has `total` steps left; further ones only change its note.
            kind: what the labels of the tasks that count begin with.
            beyond: what is noted once all steps are done.
        """
        self._outer, self._advance, self._left = outer, advance, total
        self._kind, self._beyond = kind, beyond

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        if label.startswith(self._kind):
            yield self._step
            return
        with self._outer.track(label, total, done=done) as advance:
            yield advance

    def say(self, message: str) -> None:
        self._outer.say(message)

    def record(self, entry: Mapping[str, Any]) -> None:
        self._outer.record(entry)

    def _step(self, steps: int = 1, note: str = "") -> None:
        counted = min(steps, self._left)
        self._left -= counted
        self._advance(counted, note if counted else self._beyond)


def _ignore(steps: int = 1, note: str = "") -> None:
    pass


class Silent:
    """Reports nothing."""

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        yield _ignore

    def say(self, message: str) -> None:
        pass

    def record(self, entry: Mapping[str, Any]) -> None:
        pass
