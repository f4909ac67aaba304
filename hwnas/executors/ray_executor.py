"""Tasks on a Ray cluster. Queues, retries, resources and the way of images to the nodes are Ray's."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from importlib.metadata import version
from types import TracebackType
from typing import Any

from hwnas.errors import ClusterError, InputError
from hwnas.executors.executor import Executor, Tell
from hwnas.executors.place import Place
from hwnas.executors.task import JSON, Common, Work, answer, function_at, result_of

_AT_ONCE = 64  # tasks that Ray knows of at a time
_RETRIES = 3  # of a task whose worker or node is lost
_LOOK_S = 1.0  # between looks at the head, while a task is waited for
_GONE_S = 20.0  # that the head may be silent; Ray itself ends this process without a word after 60
_SAME = ("hwnas", "torch", "numpy")
"""Packages of which workers need the version that is here, as results are to be the same."""
_RESUME = "finished results are kept: go on with --resume, on another cluster or with --on local:1"


class RayExecutor(Executor):
    """A task of Ray for each task, with the CPU threads and GPUs that the work asks for.

    A worker or node that is lost costs its task only, which Ray gives to another one. The cluster is the one that this
    process has joined already, and then stays joined; or that of the place, for the time of the executor. Without an
    address that is Ray's own choice: RAY_ADDRESS, else the one that runs on this machine, else a new one of it.
    """

    def __init__(self, place: Place, work: Work, *, at_once: int = _AT_ONCE, tell: Tell = lambda _: None) -> None:
        """Join the cluster, and give it what all tasks share.

        Args:
            tell: is told where no node has room for a task, for which Ray itself waits in silence.

        Raises:
            InputError: Ray is not installed.
            ClusterError: there is no such cluster.
        """
        place.check()
        super().__init__(at_once)
        import ray

        self._ray: Any = ray
        self._work = work
        self._running: set[Any] = set()
        self._stopped = False
        self._joins = not ray.is_initialized()
        try:
            if self._joins:
                ray.init(address=place.address or None, log_to_driver=False, logging_level=logging.ERROR)
            self._head = _Head("" if place.address else ray.get_runtime_context().gcs_address)
            self._common = ray.put(Common.read(work.folder))
            if not any(_has_room(node, work) for node in ray.nodes()):
                cpus, gpus = "CPU" + "s" * (work.threads > 1), f" and {work.gpus:g} GPU" if work.gpus else ""
                tell(
                    f"no node of the Ray cluster has {work.threads} {cpus}{gpus}, which each task takes, so tasks wait "
                    f"for one that has: fewer --threads{' and --gpus-per-trial' * bool(gpus)} need no other node"
                )
        except Exception as error:
            raise ClusterError(
                f"the Ray cluster{f' {place.address}' if place.address else ''} cannot be joined: {_line(error)}",
                hint="see whether it runs with `ray status` there, or train on this machine with --on local:1",
            ) from error
        remote = ray.remote(num_cpus=work.threads, num_gpus=work.gpus, max_retries=_RETRIES)
        self._remote: Any = remote(_answer)

    def _computed(self, task: JSON) -> JSON:
        """As of `Executor`.

        Raises:
            HwnasError: of the task.
            InputError: the nodes cannot compute it, as they lack a package or have another version of it.
            ClusterError: the head is gone, or a task lost every worker that tried it.
        """
        ray = self._ray
        try:
            said = self._waited_for(
                self._remote.remote(self._work.function, self._common, json.dumps(task), _versions())
            )
        except ray.exceptions.RayTaskError as error:
            raise InputError(
                f"every node must be able to compute a task, but one ended with: {_last_line(error)}",
                hint="install there what is installed here, hwnas and its plug-ins included, in the same versions",
            ) from error
        except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
            raise ClusterError(
                f"the Ray cluster must stay until its tasks are done, but one was lost: {_line(error)}", hint=_RESUME
            ) from error
        return result_of(said, self._work.doing)

    def _waited_for(self, reference: Any) -> str:
        ray = self._ray
        self._running.add(reference)
        try:
            while not ray.wait([reference], timeout=_LOOK_S)[0]:
                if self._stopped:
                    raise CancelledError
                self._head.look()
            said: str = ray.get(reference)
            return said
        finally:
            self._running.discard(reference)

    def _stop(self) -> None:
        self._stopped = True
        for reference in list(self._running):
            with suppress(Exception):  # it is done, or the cluster is gone
                self._ray.cancel(reference, force=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._joins:
            with suppress(Exception):  # the cluster is gone
                self._ray.shutdown()


def _has_room(node: Mapping[str, Any], work: Work) -> bool:
    """Whether a node, as `ray.nodes` tells it, can compute a task once it is idle."""
    has = node.get("Resources", {})
    return bool(node.get("Alive")) and has.get("CPU", 0) >= work.threads and has.get("GPU", 0) >= work.gpus


class _Head:
    """The head of a cluster, which is looked at by its port: Ray waits for it in silence, and then ends the process.

    One whose port is out of reach from the beginning, as for Ray Client, is not looked at. There the connection says by
    itself when it is cut.
    """

    def __init__(self, address: str) -> None:
        """The head at `HOST:PORT`; an empty address is never looked at."""
        host, _, port = address.rpartition(":")
        self._place = (host.strip("[]"), int(port or 0))
        self._seen_s = time.monotonic()
        self._watched = bool(address) and self._answers()

    def look(self) -> None:
        """Note whether it is there.

        Raises:
            ClusterError: it has been silent for too long.
        """
        if not self._watched or self._answers():
            self._seen_s = time.monotonic()
        elif (silent_s := time.monotonic() - self._seen_s) > _GONE_S:
            host, port = self._place
            raise ClusterError(
                f"the head of the Ray cluster must answer at {host}:{port}, but was silent for {silent_s:.0f} s",
                hint=_RESUME,
            )

    def _answers(self) -> bool:
        try:
            socket.create_connection(self._place, timeout=_LOOK_S).close()
        except OSError:
            return False
        return True


def _answer(name: str, common: Common, task: str, versions: dict[str, str]) -> str:
    """What a worker of the cluster computes: JSON text for `result_of`."""

    def computed(common: Common, task: JSON) -> JSON:
        here = _versions()
        if told := [f"{one} {here[one]} and not {there}" for one, there in versions.items() if here[one] != there]:
            raise InputError(
                f"every node must have the packages of the process that asks it, but one has {', '.join(told)}",
                hint="install the same versions there",
            )
        return function_at(name)(common, task)

    return answer(computed, common, task)


def _versions() -> dict[str, str]:
    """Without what tells builds for CPUs and GPUs apart."""
    return {name: version(name).partition("+")[0] for name in _SAME}


def _line(error: BaseException) -> str:
    """The first line of an error that has any."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _last_line(error: BaseException) -> str:
    """The last line of an error, which is where the traceback of a worker names its own."""
    return next(iter(reversed(str(error).strip().splitlines())), type(error).__name__)
