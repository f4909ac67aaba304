"""What every executor is: `submit` gives a future, and each result is kept in a file as soon as it is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from hwnas.executors.place import Place
from hwnas.executors.task import JSON, Work
from hwnas.files import write_json

Tell = Callable[[str], None]
"""Hears what the user is to know, in one line."""


class Executor(ABC):
    """Computes tasks elsewhere, several at once. Use it as a context manager: on leaving, all that runs is ended.

    `submit` gives a `concurrent.futures.Future`: `result` waits for the file that keeps the result, or raises what the
    task raised, and `cancel` is for tasks that have not begun. A thread waits for each task, so another executor is two
    functions: `_computed` and `_stop`.

    Source: the interface is that of `concurrent.futures`; that a place to run is interchangeable, of submitit.
    """

    def __init__(self, at_once: int) -> None:
        self._threads = ThreadPoolExecutor(at_once)

    def submit(self, task: JSON, kept: Path) -> Future[Path]:
        """Have a task computed, unless its result is there.

        Args:
            kept: the file of its result. Its name is a hash of all that the task computes, so that a task which is
                computed twice, as its first worker was lost, changes nothing.
        """
        return self._threads.submit(self._once, task, kept)

    def _once(self, task: JSON, kept: Path) -> Path:
        if not kept.exists():
            write_json(kept, self._computed(task))
        return kept

    @abstractmethod
    def _computed(self, task: JSON) -> JSON:
        """The result of a task; called in a thread of its own, which waits.

        Raises:
            HwnasError: of the task, or of what computes it.
        """

    @abstractmethod
    def _stop(self) -> None:
        """End what is computed now, and let the threads that wait for it raise something, which nobody hears."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._stop()
        self._threads.shutdown()


def executor_on(place: Place, work: Work, tell: Tell = lambda _: None) -> Executor:
    """The executor of a place.

    Args:
        tell: is told where a cluster has no room for a task.

    Raises:
        InputError: it is a cluster, and Ray is not installed.
        ClusterError: the cluster cannot be joined.
    """
    if place.cluster:
        from hwnas.executors.ray_executor import RayExecutor

        return RayExecutor(place, work, tell=tell)
    from hwnas.executors.local_executor import LocalExecutor

    return LocalExecutor(place.processes, work)
