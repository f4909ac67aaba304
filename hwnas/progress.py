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
