"""A run that a tracker hears, if its configuration names one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hwnas.config import Configuration
from hwnas.errors import InputError
from hwnas.events import Event, Events
from hwnas.files import real_path
from hwnas.run.run_folder import RunFolder
from hwnas.trackers import MLflowTracker, TensorBoardTracker, Tracker


class _Guarded:
    """A tracker that costs no run: what it raises ends the tracking, with one message."""

    def __init__(self, tracker: Tracker, told: Events) -> None:
        self._tracker, self._told, self._works = tracker, told, True

    def __call__(self, event: Event) -> None:
        self._attempt(lambda: self._tracker(event))

    def finish(self, run: Path, result: Mapping[str, Any]) -> None:
        self._attempt(lambda: self._tracker.finish(run, result))

    def close(self, error: str) -> None:
        self._attempt(lambda: self._tracker.close(error))

    def _attempt(self, step: Callable[[], None]) -> None:
        if self._works:
            try:
                step()
            except Exception as error:  # a server that is away, a full disk
                self._works = False
                self._told.say(f"the tracker hears no more of this run: {error}")


@contextmanager
def tracked(
    told: Events, config: Configuration, folder: RunFolder
) -> Iterator[tuple[Events, Callable[[Mapping[str, Any]], None]]]:
    """The events of a run, which its tracker hears too, and what tells that the result.

    Event files of TensorBoard go into the run's state, which starting anew clears.

    Raises:
        InputError: the package of the tracker is not installed, or it cannot begin.
    """
    if not config.compute.tracker:
        yield told, lambda _: None
        return
    try:
        tracker = _Guarded(_tracker(config, folder), told)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the tracker {config.compute.tracker} cannot begin: {error}", hint="correct its settings, or leave it out"
        ) from error
    try:
        yield told.also(tracker), partial(tracker.finish, folder.path)
    except BaseException as error:
        tracker.close(str(error) or type(error).__name__)
        raise


def _tracker(config: Configuration, folder: RunFolder) -> Tracker:
    if config.compute.tracker == "tensorboard":
        return TensorBoardTracker(folder.state / "tensorboard")
    chosen = {
        f"{section}.{name}": value
        for section, values in config.to_json().items()
        for name, value in values.items()
        if value not in ("", [], ())
    }
    return MLflowTracker(real_path(folder.path).name, chosen)
