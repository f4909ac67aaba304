"""Scores by short trainings from scratch, in parallel over processes, each kept on disk as soon as it is there."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import torch

from hwnas import errors
from hwnas.arch.space import Architecture, SearchSpace
from hwnas.data import Dataset
from hwnas.data.saved import save_images
from hwnas.errors import HwnasError, InputError
from hwnas.files import sha256, write_json
from hwnas.metric_names import Metric
from hwnas.nas.from_scratch_messages import Answer, Score, Shared
from hwnas.nas.select import Scored
from hwnas.schema import json_as, read_json_as
from hwnas.train import Recipe


class FromScratchEvaluator:
    """A `Scorer` that trains every architecture for a few epochs from random weights. Use it as a context manager.

    A score depends on the architecture, the seed, the recipe and the data, and on nothing else: not on the number of
    workers, nor on what was trained before. Architectures go to the workers as JSON and images as .npy files; the
    workers end with this process, however it ends.
    """

    at_once = 8

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        recipe: Recipe,
        *,
        seed: int,
        threads: int,
        device: torch.device,
        workers: int,
        folder: Path,
        metric: Metric = "accuracy",
    ) -> None:
        """Prepare trainings; processes start with the first of them.

        Args:
            threads: of each worker.
            folder: where scores are kept, and looked for.
            metric: that they are of.

        Raises:
            InputError: the number of workers is not positive.
            StorageError: the images cannot be written.
        """
        if workers < 1:
            raise InputError(f"there must be at least 1 worker, not {workers}", hint="example: --workers 2")
        self._space, self._seed, self._folder, self._workers = space, seed, folder, workers
        shared = Shared(recipe, threads, str(device), save_images(dataset, folder), metric)
        write_json(folder / "shared.json", asdict(shared))
        identity = [recipe.identity(), threads, seed, space.signature, dataset.digest(), metric]
        self._digest = sha256(json.dumps(identity).encode())[:12]
        self._pool = ThreadPoolExecutor(workers)
        self._processes: list[_Worker] = []
        self._idle: queue.Queue[_Worker] = queue.Queue()

    def __enter__(self) -> FromScratchEvaluator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        self._pool.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        """The scores of architectures, in their order.

        Raises:
            DivergedError, StorageError: of a training.
            InputError: a worker ended before its training did.
        """
        missing = [choices for choices in batch if not self._file(choices).exists()]
        while missing and len(self._processes) < self._workers:
            self._processes.append(_Worker(self._folder))
            self._idle.put(self._processes[-1])
        trained = dict(zip(missing, [self._pool.submit(self._train, choices) for choices in missing], strict=True))
        for choices in batch:
            if choices in trained:
                trained[choices].result()
            path = self._file(choices)
            score = read_json_as(path, Score, hint=f"delete {path} to train it again")
            told = score.accuracy if score.score is None else score.score
            losses = np.array(score.losses, np.float64)
            yield Scored(Architecture(self._space.name, choices), score.accuracy, told, losses)

    def _train(self, choices: tuple[int, ...]) -> None:
        worker = self._idle.get()
        network = self._space.network(Architecture(self._space.name, choices))
        seed = int(sha256(f"score {self._seed} {choices}".encode())[:15], 16)
        try:
            worker.ask({"network": network.to_json(), "file": str(self._file(choices).absolute()), "seed": seed})
        finally:
            self._idle.put(worker)

    def _file(self, choices: tuple[int, ...]) -> Path:
        return self._folder / f"{self._digest}-{'-'.join(map(str, choices))}.json"


class _Worker:
    """A process with `score_worker`."""

    def __init__(self, folder: Path) -> None:
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hwnas.nas.from_scratch_worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers
        )

    def ask(self, job: dict[str, Any]) -> None:
        """Have one architecture trained."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):  # it is gone
            line = ""
        if not line:
            raise self._gone()
        answer = json_as(line, Answer, "the answer of a worker", hint="report it, with the line")
        if answer.kind:
            kind = getattr(errors, answer.kind, HwnasError)
            raise kind(f"while an architecture was trained for its score: {answer.error}", hint=answer.hint)

    def _gone(self) -> InputError:
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return InputError(
            f"a worker must live until its training is done, but it ended with exit code {code}{last}",
            hint="finished scores are kept: go on with --resume, and with fewer --workers if memory is short",
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
