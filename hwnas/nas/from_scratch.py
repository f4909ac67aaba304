"""Scores by short trainings from scratch, several at once, each kept on disk as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from hwnas.arch.space import Architecture, SearchSpace
from hwnas.data import Dataset
from hwnas.data.saved import save_images
from hwnas.executors.executor import Executor, Tell, executor_on
from hwnas.executors.place import Place
from hwnas.executors.task import SETTINGS, Work
from hwnas.files import sha256, write_json
from hwnas.metric_names import Metric
from hwnas.nas.from_scratch_messages import Score, Shared
from hwnas.nas.select import Scored
from hwnas.schema import read_json_as
from hwnas.train import Recipe


class FromScratchEvaluator:
    """A `Scorer` that trains every architecture for a few epochs from random weights. Use it as a context manager.

    A score depends on the architecture, the seed, the recipe and the data, and on nothing else: neither on where it is
    trained, nor on what was trained before.
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
        place: Place,
        folder: Path,
        metric: Metric = "accuracy",
        gpus: float = 0.0,
        tell: Tell = lambda _: None,
    ) -> None:
        """Prepare trainings; nothing is started before the first of them.

        Args:
            threads: of each training.
            device: of each training, where it is computed.
            place: where that is.
            folder: where scores are kept, and looked for.
            metric: that they are of.
            gpus: of a cluster that each training takes.
            tell: is told where the cluster has no room for one.

        Raises:
            StorageError: the images cannot be written.
        """
        self._space, self._seed, self._folder, self._place = space, seed, folder, place
        shared = Shared(recipe, threads, str(device), save_images(dataset, folder), metric)
        write_json(folder / SETTINGS, asdict(shared))
        identity = [recipe.identity(), threads, seed, space.signature, dataset.digest(), metric]
        self._digest = sha256(json.dumps(identity).encode())[:12]
        doing, function = "an architecture was trained for its score", "hwnas.nas.from_scratch_task:trained_score"
        self._work = Work(function, folder, doing, threads, gpus)
        self._executor: Executor | None = None
        self._tell = tell

    def __enter__(self) -> FromScratchEvaluator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.__exit__(kind, error, trace)

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        """The scores of architectures, in their order.

        Raises:
            DivergedError, StorageError: of a training.
            InputError: a worker ended before its training did.
            ClusterError: the cluster cannot be joined, or was lost.
        """
        missing = [choices for choices in batch if not self._file(choices).exists()]
        trained = {choices: self._submitted(choices) for choices in missing}
        for choices in batch:
            path = trained[choices].result() if choices in trained else self._file(choices)
            score = read_json_as(path, Score, hint=f"delete {path} to train it again")
            told = score.accuracy if score.score is None else score.score
            losses = np.array(score.losses, np.float64)
            yield Scored(Architecture(self._space.name, choices), score.accuracy, told, losses)

    def _submitted(self, choices: tuple[int, ...]) -> Future[Path]:
        """The training of an architecture, as a `Job`."""
        if self._executor is None:
            self._executor = executor_on(self._place, self._work, self._tell)
        network = self._space.network(Architecture(self._space.name, choices))
        seed = int(sha256(f"score {self._seed} {choices}".encode())[:15], 16)
        return self._executor.submit({"network": network.to_json(), "seed": seed}, self._file(choices))

    def _file(self, choices: tuple[int, ...]) -> Path:
        """The file of a score, named by a hash of all that it comes from."""
        return self._folder / f"{self._digest}-{'-'.join(map(str, choices))}.json"
