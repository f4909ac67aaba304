"""A sampler that guides the weights: what it is asked and told when, and that it goes on after an interruption."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import TOY, all_choices, toy_model
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from torch import Tensor

from hwnas.data import Dataset, Images, batches
from hwnas.errors import InputError
from hwnas.metric_names import METRICS, Metric
from hwnas.metrics import Tally
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.engine import SearchOutcome
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import Scored
from hwnas.nas.strategies import Strategy, strategy
from hwnas.nas.strategies.random import Random
from hwnas.nas.supernet import Gate, Supernet
from hwnas.nas.supernet_loop import SearchLoop
from hwnas.progress import Silent

MODEL = toy_model()
LIMITS = AdditiveSet(latency_constraint(MODEL, 0.5 * (MODEL.smallest_ms + MODEL.largest_ms)))
SETTINGS = SearchSettings(warmup_epochs=1, epochs=2, batch_size=16, arch_every=3)
STEPS = 4


class Recorder(Random):
    """Random search that writes down what it is asked and told."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked: list[tuple[int, ...]] = []
        self.told: list[tuple[tuple[int, ...], float]] = []

    def ask(self) -> tuple[int, ...]:
        self.asked.append(super().ask())
        return self.asked[-1]

    def tell(self, choices: Sequence[int], score: float) -> None:
        self.told.append((tuple(choices), score))


def images(rng: np.random.Generator, count: int) -> Images:
    pixels = rng.integers(0, 256, (count, *TOY.input_shape), dtype=np.uint8)
    return Images(pixels, rng.integers(0, TOY.classes, count))


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    floats = (0.5,) * TOY.input_shape[0]
    parts = [images(rng, count) for count in (16 * STEPS, 32, 8)]
    return Dataset("noise", tuple(map(str, range(TOY.classes))), *parts, floats, floats, flip=False)


def loop_of(entry: Strategy, dataset: Dataset) -> SearchLoop:
    return make_loop(TOY, [LIMITS], entry, dataset, SETTINGS, seed=0, device=torch.device("cpu"))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], bool]]:
    """The path of every pass through a supernet, and whether weights could learn from it."""
    seen: list[tuple[tuple[int, ...], bool]] = []
    forward = Supernet.forward

    def spy(self: Supernet, x: Tensor, gates: Sequence[Gate]) -> Tensor:
        seen.append((tuple(gate.active[0] for gate in gates), torch.is_grad_enabled()))
        return forward(self, x, gates)

    monkeypatch.setattr(Supernet, "forward", spy)
    return seen


def run(loop: SearchLoop, checkpoint: Path, events: list[dict[str, Any]] | None = None) -> None:
    loop.run(checkpoint=checkpoint, progress=Silent(), log=(events if events is not None else []).append)


def test_it_chooses_the_paths_after_warm_up_and_is_told_after_every_epoch(
    dataset: Dataset, tmp_path: Path, passes: list[tuple[tuple[int, ...], bool]]
) -> None:
    loop = loop_of(Strategy("recorder", "", sampler=Recorder, guides=True), dataset)
    events: list[dict[str, Any]] = []
    run(loop, tmp_path / "search.safetensors", events)
    (sampler,) = loop.samplers
    assert isinstance(sampler, Recorder)
    told = math.ceil(STEPS / SETTINGS.arch_every)
    after_warmup = passes[STEPS:]
    assert [path for path, _ in after_warmup] == sampler.asked
    assert [learns for _, learns in after_warmup] == ([True] * STEPS + [False] * told) * SETTINGS.epochs
    asked = [sampler.asked[STEPS:][:told], sampler.asked[2 * STEPS + told :]]
    assert [choices for choices, _ in sampler.told] == [choices for part in asked for choices in part]
    assert all(score * 16 == round(score * 16) and 0 <= score <= 1 for _, score in sampler.told), "of 16 images"
    means = [np.mean([score for _, score in sampler.told[at : at + told]]) for at in (0, told)]
    assert [event.get("reward") for event in events] == [None, *map(pytest.approx, means)]
    assert all(LIMITS.latency.keeps(path) for path, _ in passes)


def test_an_epoch_of_fewer_steps_sees_another_part_of_the_images_each_time(
    dataset: Dataset, passes: list[tuple[tuple[int, ...], bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[set[bytes]] = []
    prepare = sys.modules[batches.__module__].to_input

    def spy(pixels: Tensor, *rest: Any) -> Tensor:
        taken.append({image.numpy().tobytes() for image in pixels})
        return prepare(pixels, *rest)

    monkeypatch.setattr(sys.modules[batches.__module__], "to_input", spy)
    short = replace(SETTINGS, epoch_steps=2)
    entry = Strategy("recorder", "", sampler=Recorder, guides=True)
    loop = make_loop(TOY, [LIMITS], entry, dataset, short, seed=0, device=torch.device("cpu"))
    for epoch in range(short.all_epochs):
        assert len(list(loop.epoch(epoch))) == loop.steps == 2
    assert len(passes) == 2 * short.all_epochs
    epochs = [taken[at] | taken[at + 1] for at in range(0, len(taken), 2)]
    assert [len(images) for images in epochs] == [2 * 16] * short.all_epochs
    assert len(set().union(*epochs)) > 2 * 16
    assert short.images(len(dataset.train), relaxed=False) == 16 * len(passes)
    whole = replace(short, epoch_steps=100)
    assert whole.images(len(dataset.train), relaxed=False) == len(dataset.train) * whole.all_epochs
    assert make_loop(TOY, [LIMITS], entry, dataset, whole, seed=0, device=torch.device("cpu")).steps == STEPS


def test_what_it_is_told_is_the_accuracy_with_the_statistics_of_the_batch(dataset: Dataset) -> None:
    """Which those that were estimated before cannot change."""
    both = [loop_of(Strategy("recorder", "", sampler=Recorder, guides=True), dataset) for _ in range(2)]
    for name, value in both[1].supernet.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.fill_(7.0)
    first, second = (list(loop.guidance(1)) for loop in both)
    assert first == second
    assert first


@pytest.mark.parametrize("metric", METRICS)
def test_what_it_is_told_is_the_metric_of_the_batch(
    metric: Metric, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    add = Tally.add

    def spy(self: Tally, logits: np.ndarray, labels: np.ndarray) -> None:
        seen.append((labels, logits.argmax(axis=1)))
        add(self, logits, labels)

    monkeypatch.setattr(Tally, "add", spy)
    entry = Strategy("recorder", "", sampler=Recorder, guides=True)
    asked = replace(SETTINGS, metric=metric)
    loop = make_loop(TOY, [LIMITS], entry, dataset, asked, seed=0, device=torch.device("cpu"))
    rewards = list(loop.guidance(1))
    expected = {
        "accuracy": accuracy_score,
        "balanced": balanced_accuracy_score,
        "macro-f1": partial(f1_score, average="macro"),
    }[metric]
    assert rewards == pytest.approx([expected(labels, taken) for labels, taken in seen])
    (sampler,) = loop.samplers
    assert isinstance(sampler, Recorder)
    assert [score for _, score in sampler.told] == rewards


def test_a_sampler_that_does_not_guide_is_not_asked_before_the_weights_are_done(
    dataset: Dataset, tmp_path: Path
) -> None:
    loop = loop_of(Strategy("recorder", "", sampler=Recorder), dataset)
    run(loop, tmp_path / "search.safetensors")
    (sampler,) = loop.samplers
    assert isinstance(sampler, Recorder)
    assert sampler.asked == sampler.told == []


def test_an_interrupted_search_goes_on_to_the_bit(dataset: Dataset, tmp_path: Path) -> None:
    whole, half, rest = (loop_of(strategy("enas"), dataset) for _ in range(3))
    run(whole, tmp_path / "whole")

    def stop(event: dict[str, Any]) -> None:
        if event["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half.run(checkpoint=tmp_path / "half", progress=Silent(), log=stop)
    run(rest, tmp_path / "half")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "half").read_bytes()
    assert whole.samplers[0].state() == rest.samplers[0].state()
    assert whole.samplers[0].ask() == rest.samplers[0].ask()


def test_the_checkpoint_of_another_strategy_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    run(loop_of(strategy("random"), dataset), tmp_path / "search")
    with pytest.raises(InputError, match="belongs to a search with other settings"):
        run(loop_of(strategy("evolution"), dataset), tmp_path / "search")


def test_repairs_of_a_sampler_choose_among_what_was_scored() -> None:
    """Where something of it keeps the constraints; a relaxation's preferences are decoded."""

    def scored(choices: tuple[int, ...], loss: float) -> Scored:
        return Scored(TOY.architecture(choices), 0.5, 0.5, np.array([loss, loss]))

    costs = {choices: LIMITS.latency.value(choices) for choices in all_choices(MODEL.costs_ms)}
    slow, middle, other, fast = (sorted(costs, key=costs.__getitem__)[at] for at in (60, 30, 20, 0))
    evaluated = (scored(slow, 0.1), scored(middle, 0.2), scored(other, 0.9))
    preferences = [[float(option == choice) for option in range(3)] for choice in fast]
    found = SearchOutcome(evaluated[0], evaluated, preferences, slow, sampled=True)
    tight, tightest = (AdditiveSet(latency_constraint(MODEL, costs[one])) for one in (middle, fast))
    assert found.within(tight) == middle
    assert found.within(tightest) == fast
    assert replace(found, sampled=False).within(tight) == tight.decode(preferences) != middle
