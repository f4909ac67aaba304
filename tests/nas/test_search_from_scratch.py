"""Scores by training from scratch: the same however many workers there are, and kept once they are there."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwnas.arch import Architecture, space_instance
from hwnas.backends.torch import network_module
from hwnas.data import Dataset, Images
from hwnas.errors import DivergedError, InputError
from hwnas.executors import local_executor
from hwnas.executors.local_executor import LocalExecutor
from hwnas.executors.place import Place
from hwnas.files import sha256
from hwnas.nas.from_scratch import FromScratchEvaluator
from hwnas.train import Recipe, evaluate, train

TOY = space_instance("toy", width=1.0, resolution=8, channels=3, classes=3)
CPU = torch.device("cpu")
RECIPE = Recipe(epochs=1, batch_size=16)
CHOICES = [(0, 0, 0, 0), (1, 2, 1, 0), (2, 1, 0, 2)]


def bright() -> Dataset:
    """Three classes that differ in brightness."""
    rng = np.random.default_rng(0)

    def drawn(count: int) -> Images:
        labels = np.arange(count) % 3
        pixels = rng.normal(60 + 60 * labels[:, None, None, None], 30, (count, 3, 8, 8)).clip(0, 255)
        return Images(pixels.astype(np.uint8), labels)

    return Dataset("bright", ("a", "b", "c"), drawn(48), drawn(24), drawn(9), (0.5,) * 3, (0.25,) * 3, flip=False)


def scores(folder: Path, *, on: str = "local:1", recipe: Recipe = RECIPE, seed: int = 3) -> FromScratchEvaluator:
    place = Place.parse(on)
    return FromScratchEvaluator(TOY, bright(), recipe, seed=seed, threads=1, device=CPU, place=place, folder=folder)


def workers(evaluator: FromScratchEvaluator) -> list[subprocess.Popen[str]]:
    assert isinstance(evaluator._executor, LocalExecutor)
    return [worker._process for worker in evaluator._executor._workers]


@dataclass(frozen=True)
class Kept:
    """Scores by two workers, the folder that keeps them, and the exit code of a worker that nobody asked any more."""

    folder: Path
    scored: list[Any]
    exit_code: int


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("scores")
    with scores(folder, on="local:2") as evaluator:
        found = list(evaluator(CHOICES))
        worker, _ = workers(evaluator)
        assert worker.poll() is None
        assert worker.stdin is not None
        worker.stdin.close()
        return Kept(folder, found, worker.wait())


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("a process was started")


def test_scores_are_those_of_a_training_in_this_process(kept: Kept) -> None:
    dataset = bright()
    for choices, one in zip(CHOICES, kept.scored, strict=True):
        seed = int(sha256(f"score 3 {choices}".encode())[:15], 16)
        torch.manual_seed(seed)
        module = network_module(TOY.network(Architecture(TOY.name, choices)))
        train(module, dataset, RECIPE, seed=seed, device=CPU)
        assert one.architecture.choices == choices
        assert one.accuracy == evaluate(module, dataset.val, dataset, device=CPU).accuracy
    assert len({one.loss for one in kept.scored}) == len(CHOICES)


def test_finished_scores_are_not_made_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_executor, "_Worker", forbidden)
    with scores(kept.folder) as evaluator:
        for ours, theirs in zip(evaluator(CHOICES), kept.scored, strict=True):
            assert (ours.accuracy, ours.loss) == (theirs.accuracy, theirs.loss)
    with scores(kept.folder, seed=4) as other, pytest.raises(AssertionError, match="a process was started"):
        list(other(CHOICES))


def test_one_worker_gives_what_two_give_in_another_order_and_what_it_did_stays_when_it_dies(
    kept: Kept, tmp_path: Path
) -> None:
    with scores(tmp_path) as evaluator:
        again = {one.architecture.choices: one for one in evaluator(CHOICES[::-1])}
        os.kill(workers(evaluator)[0].pid, signal.SIGKILL)
        with pytest.raises(InputError, match="exit code -9") as caught:
            list(evaluator([*CHOICES, (2, 2, 2, 2)]))
    assert "--resume" in caught.value.hint
    assert len(list(tmp_path.glob("*-?-?-?-?.json"))) == len(again) == len(CHOICES)
    for one in kept.scored:
        assert again[one.architecture.choices].accuracy == one.accuracy
        assert np.array_equal(again[one.architecture.choices].losses, one.losses)


def test_a_training_that_diverges_is_the_error_that_it_is_and_an_interrupt_ends_the_workers(tmp_path: Path) -> None:
    evaluator = scores(tmp_path, recipe=Recipe(epochs=2, batch_size=16, lr=1e30, clip=1e30))

    def interrupted() -> None:
        with evaluator:
            with pytest.raises(DivergedError, match="while an architecture was trained"):
                list(evaluator(CHOICES))
            assert workers(evaluator)[0].poll() is None, "it takes the next one"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert workers(evaluator)[0].returncode == -signal.SIGKILL


def test_a_worker_ends_when_nobody_asks_any_more(kept: Kept) -> None:
    assert kept.exit_code == 0


@pytest.mark.dear
def test_a_cluster_gives_the_same_files(kept: Kept, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with scores(tmp_path, on="ray") as evaluator:
            again = list(evaluator(CHOICES))
    finally:
        ray.shutdown()
    assert [one.accuracy for one in again] == [one.accuracy for one in kept.scored]
    files = {path.name: path.read_bytes() for path in kept.folder.glob("*-?-?-?-?.json")}
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*-?-?-?-?.json")} == files
    assert len(files) == len(CHOICES)
