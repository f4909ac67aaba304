"""Tasks in processes of this machine. They end with this process, however it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from types import TracebackType
from typing import IO

from hwnas.errors import InputError
from hwnas.executors.executor import Executor
from hwnas.executors.task import JSON, Work, result_of


class LocalExecutor(Executor):
    """So many processes at most, each started when a task has no other. One that ends costs its task."""

    def __init__(self, processes: int, work: Work) -> None:
        super().__init__(processes)
        self._work = work
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._stopped = False

    def _computed(self, task: JSON) -> JSON:
        """As of `Executor`.

        Raises:
            HwnasError: of the task.
            InputError: its process ended before it did.
        """
        worker = self._free_worker()
        said = worker.ask(json.dumps(task))  # one that has ended is not free again
        self._idle.append(worker)
        return result_of(said, self._work.doing)

    def _free_worker(self) -> _Worker:
        with self._lock:
            if self._stopped:
                raise CancelledError
            if not self._idle:
                self._workers.append(_Worker(self._work))
                return self._workers[-1]
            return self._idle.pop()

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for worker in self._workers:
                worker.kill()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        for worker in self._workers:
            worker.close()


class _Worker:
    """A process with `task_worker`."""

    def __init__(self, work: Work) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hwnas.executors.task_worker", work.function, str(work.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers
        )

    def ask(self, task: str) -> str:
        """Have one task computed, and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(task + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):  # it is gone
            line = ""
        if not line:
            raise self._gone()
        return line

    def _gone(self) -> InputError:
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return InputError(
            f"a worker must live until its task is done, but it ended with exit code {code}{last}",
            hint="finished results are kept: go on with --resume, and with fewer processes, as in --on local:1, if "
            "memory is short",
        )

    def kill(self) -> None:
        """End it at once; it holds nothing that is not on disk."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close what led to it, once nobody listens any more."""
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                with suppress(OSError):  # what was not sent
                    stream.close()
