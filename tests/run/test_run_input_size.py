"""Which input size a search from a parent takes: of a few, the one whose best network within the budget sees most."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up_parents import CLASSES, WIDTH, elastic_space, made_up
from run_fakes import a_config

from hwnas.arch import SlotSpace
from hwnas.arch.costs import macs, written
from hwnas.arch.network import Network
from hwnas.arch.space import SearchSpace
from hwnas.data import Dataset, Images
from hwnas.devices.device import Device, load_device
from hwnas.errors import InfeasibleLimitError
from hwnas.image_size import Size
from hwnas.nas.strategies import strategy
from hwnas.parents import inherit
from hwnas.parents.frozen import features, trunk
from hwnas.parents.judged_head import HeldOut, cross_validated
from hwnas.progress import Progress, Silent
from hwnas.run import input_size, instance, instance_choice
from hwnas.run.affordable import Training, affordable
from hwnas.run.affordable import work as work_of
from hwnas.run.constrained_space import ConstrainedSpace
from hwnas.run.input_size import Judges, Span, Trial, best_size, expected, few_images, hasty, preferred, timed, trials
from hwnas.run.instance import ChosenInstance

NAME = "efficientnet-lite0"
DEVICE = load_device("host")
FREE = (1, 3, 5)  # decisions with all their options
BUDGET_MS = 2.0
CPU = torch.device("cpu")


def photos(side: int, counts: tuple[int, int] = (60, 40)) -> Dataset:
    """Five classes that differ in brightness and noise."""
    rng = np.random.default_rng(0)

    def images(count: int) -> Images:
        labels = np.arange(count) % CLASSES
        noise = rng.normal(0, 10 + 10 * labels[:, None, None, None], (count, 3, side, side))
        pixels = np.clip(40 + 35 * labels[:, None, None, None] + noise, 0, 255).astype(np.uint8)
        return Images(pixels, labels.astype(np.int64))

    train, val = map(images, counts)
    return Dataset("photos", tuple("abcde"), train, val, val, (0.4,) * 3, (0.2,) * 3, flip=True)


def judges(minutes: float = 0.0, train_images: int = 10_000) -> Judges:
    images = made_up().parent.prepared(photos(48))
    return Judges(made_up(), images, balanced=False, device=CPU, minutes=minutes, train_images=train_images)


def held_out(*losses: float, halved: float = 0.0) -> HeldOut:
    return HeldOut(np.array(losses), halved or float(np.mean(losses)), 0.5)


def constrain(space: SearchSpace) -> ConstrainedSpace:
    kept = tuple(tuple(range(n)) if place in FREE else (0,) for place, n in enumerate(space.options))
    assert isinstance(space, SlotSpace)
    return ConstrainedSpace(0.0, 0.0, kept, space.restricted(kept), None)


def work(network: Network) -> float:
    return sum(macs(spec.graph) + written(spec.graph) for _, spec in network.ops)


@cache
def ends(space: SlotSpace) -> tuple[float, float]:
    low, high = (work(instance.extreme(space, pick)) for pick in (min, max))
    return low, high


def latency_ms(space: SlotSpace, span_ms: tuple[float, float], choices: Sequence[int]) -> float:
    """Between the ends by the work of the whole network."""
    low, high = ends(space)
    share = (work(space.network(space.architecture(choices))) - low) / (high - low)
    return span_ms[0] + share * (span_ms[1] - span_ms[0])


def chosen(side: int) -> ChosenInstance:
    return ChosenInstance(elastic_space(resolution=side), WIDTH, 0, "the largest")


def test_each_size_gets_the_best_network_within_the_budget_and_a_head_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spans = [(elastic_space(resolution=48), (1.0, 2.1)), (elastic_space(resolution=32), (0.5, 1.8))]
    rng = np.random.default_rng(0)
    scores = [[0.0, *rng.uniform(0.1, 1.0, count - 1).tolist()] for count in spans[0][0].options]
    monkeypatch.setattr(input_size, "_scores", lambda *_: scores)
    asked = judges()
    found = trials(spans, BUDGET_MS, asked, constrain, Silent(), scored=spans[-1][0])
    for one, (space, (low, high)) in zip(found, spans, strict=True):
        side = space.input_shape[1]
        assert one.size == Size.square(side)
        options = [range(count) if place in FREE else (0,) for place, count in enumerate(space.options)]
        target_ms = BUDGET_MS if high <= BUDGET_MS else 0.95 * BUDGET_MS
        within = {each: latency_ms(space, (low, high), each) for each in itertools.product(*options)}
        inside = [each for each, value_ms in within.items() if value_ms <= target_ms]
        best = min(inside, key=lambda each: sum(row[k] for row, k in zip(scores, each, strict=True)))
        assert one.choices == best
        assert one.network_ms == pytest.approx(within[best])
        images = asked.at(one.size)
        network = space.network(space.architecture(best))
        told = features(trunk(network, inherit(made_up(), network)), images.train, images)
        labels = torch.from_numpy(images.train.labels)
        heads = cross_validated(told, labels, images, penalties=(0.1, 1.0, 10.0))
        np.testing.assert_allclose(one.losses, heads.losses, rtol=1e-4)
        assert one.judged.accuracy == heads.accuracy
    assert found[0].choices != found[1].choices == (0,) * len(spans[1][0].options)  # the whole parent fits there


def test_scores_are_those_of_replacements_in_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_size, "_SCORED", 8)
    scores = input_size._scores(elastic_space(resolution=32), judges(), Silent())
    assert [len(row) for row in scores] == list(elastic_space(resolution=32).options)
    assert all(row[0] == 0 for row in scores)
    assert all(max(row) > 1e-4 for row in scores)
    assert all(value > -1e-6 for row in scores for value in row)


def fake_judges(monkeypatch: pytest.MonkeyPatch, losses: Mapping[int, float]) -> list[int]:
    """Known losses of what is judged; the sides that were."""
    judged: list[int] = []

    def quality(space: SearchSpace, choices: Sequence[int], judges: Judges) -> HeldOut:
        judged.append(space.input_shape[1])
        return held_out(*(losses[judged[-1]] + one for one in (-0.1, 0.1)))

    monkeypatch.setattr(input_size, "_judged", quality)
    monkeypatch.setattr(input_size, "_scores", lambda space, *_: [[0.0] * count for count in space.options])
    return judged


def spans_of(highs_ms: Mapping[int, float]) -> list[Span]:
    return [(elastic_space(resolution=side), (0.3 * high_ms, high_ms)) for side, high_ms in highs_ms.items()]


@pytest.mark.parametrize(
    ("highs_ms", "losses", "compared", "best"),
    [
        ({64: 4.0, 48: 2.5, 32: 1.8}, {64: 0.9, 48: 0.7, 32: 0.8}, [64, 48, 32], 48),
        ({64: 4.0, 48: 2.5, 32: 1.8}, {64: 0.6, 48: 0.7, 32: 0.8}, [64, 48, 32], 64),
        ({64: 4.0, 48: 1.9, 32: 0.9}, {64: 0.9, 48: 0.8, 32: 0.1}, [64, 48], 48),  # at 32 nothing is gained
        ({64: 2.0, 48: 1.0, 32: 0.5}, {}, [], 64),
    ],
)
def test_the_size_with_the_least_loss_is_taken(
    highs_ms: dict[int, float],
    losses: dict[int, float],
    compared: list[int],
    best: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged = fake_judges(monkeypatch, losses)
    found = best_size(chosen(64), spans_of(highs_ms), BUDGET_MS, judges, constrain, DEVICE, Silent())
    assert judged == compared
    assert found.space.input_shape[1] == best
    assert [one["input"] for one in found.sizes] == [[side, side] for side in compared]
    assert [one["validation_loss"] for one in found.sizes] == pytest.approx([losses[side] for side in compared])
    assert all(f"{losses[side]:.3f}" in found.reason for side in compared)
    if compared:
        assert found.reason.startswith(f"{0.3 * highs_ms[best]:.3g} to {highs_ms[best]:.3g} ms on host")
    else:
        assert found == chosen(64)


def test_a_size_at_which_other_limits_leave_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = fake_judges(monkeypatch, {64: 0.1, 48: 0.9})

    def limited(space: SearchSpace) -> ConstrainedSpace:
        if space.input_shape[1] == 64:
            raise InfeasibleLimitError("too large", limit="--max-peak-kb", smallest_kb=1.0)
        return constrain(space)

    spans = spans_of({64: 4.0, 48: 2.5})
    found = best_size(chosen(64), spans, BUDGET_MS, judges, limited, DEVICE, Silent())
    assert judged == [48]
    assert found.space.input_shape[1] == 48


def test_few_minutes_compare_on_fewer_images() -> None:
    many = photos(8, (1500, 9))
    for minutes, count in ((0.0, 800), (12.0, 800), (4.0, 400), (0.5, 200)):
        few = few_images(many, minutes)
        assert len(few.train) == count
        assert set(few.train.labels.tolist()) == set(range(CLASSES))
    assert len(few_images(photos(8), 0.0).train) == 60


def test_minutes_make_a_large_input_worse_by_what_its_head_does_not_see() -> None:
    """An image of the larger input takes 1 s, and of the smaller .25 s; losses are as the root of the images."""
    pair = [a_trial(side, *np.full(80, loss), halved=loss * 2**0.5) for side, loss in ((64, 1.0), (32, 1.3))]
    works = (4e6, 1e6)

    def of(minutes: float, train_images: int, busy: float = 1.0) -> list[Trial]:
        return expected(pair, works, replace(judges(minutes, train_images), unit_s=busy * 0.25e-6))

    images = {side: (0.4 * 60 * 100 / image_s - 0.35 * 1500 - 480) / 3 for side, image_s in ((64, 1.0), (32, 0.25))}
    found = of(100.0, 1500)
    for one, was in zip(found, pair, strict=True):
        seen = min(1500, int(images[one.size.short]))
        assert one.head_images == seen
        assert one.loss == pytest.approx(was.loss * (60 / seen) ** 0.5)  # heads were fitted on 60 of 80
    assert preferred(found, 9.0)[0].size.short == 32
    assert f"heads see {int(images[64])}, 1500 train images there" in preferred(found, 9.0)[1]
    # Where all images are seen, minutes change nothing, and neither does a busy machine as long as that holds.
    for busy in (1.0, 2.0):
        found = of(100.0, 200, busy)
        assert [one.head_images for one in found] == [200, 200]
        assert preferred(found, 9.0)[0].size.short == 64
    assert of(0.0, 1500) == pair
    assert expected([], [], judges(5.0)) == []


def test_a_busy_machine_compares_on_fewer_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of 48 pixels take a second, and those of 32 pixels less by their work."""
    spans = spans_of({48: 1.0, 32: 0.5})
    spaces = [space for space, _ in spans]
    works = [work_of(instance.extreme(space, max).graph) for space in spaces]
    clock = itertools.count(0.0, 20 * works[1] / works[0])
    monkeypatch.setattr(input_size, "_TIMED", 20)
    monkeypatch.setattr(input_size.time, "monotonic", lambda: next(clock))
    for minutes, images in ((8.0, 48 / (1 + works[1] / works[0])), (0.1, 4 * CLASSES), (0.0, 60)):
        asked = timed(judges(minutes), spans)
        assert asked.unit_s == (pytest.approx(1 / works[0]) if minutes else 0.0)
        assert len(hasty(asked, spaces).dataset.train) == int(images)


@pytest.mark.parametrize(("image_s", "compared", "best"), [(0.01, [64, 48], 64), (0.1, [48], 48), (9.0, [], 32)])
def test_an_input_is_left_out_only_where_the_run_cannot_end(
    image_s: float, compared: list[int], best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 minutes 96 s are for heads: 480 passes for options, 350 for evaluations, and 3 x 256 for heads."""
    judged = fake_judges(monkeypatch, {64: 0.6, 48: 0.7, 32: 0.8})
    spans = spans_of({64: 4.0, 48: 1.9, 32: 0.9})
    unit_s = image_s / work_of(instance.extreme(spans[0][0], max).graph)
    monkeypatch.setattr(input_size, "timed", lambda asked, _: replace(asked, unit_s=unit_s))
    found = best_size(chosen(64), spans, BUDGET_MS, lambda: judges(4.0, 1000), constrain, DEVICE, Silent())
    assert judged == (compared if len(compared) > 1 else [])
    assert found.space.input_shape[1] == best
    assert ("4 minutes are not enough for heads at a larger input" in found.reason) is (best != 64)


@pytest.mark.parametrize("busy", [1.0, 5.0])
def test_ends_of_large_inputs_are_no_slower_than_small_ones_say(busy: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of more than 3 ms are disturbed; work is as the square of the side."""
    spaces = [elastic_space(resolution=side) for side in (64, 48, 32)]
    monkeypatch.setattr(instance, "work", lambda spec: spec.height * spec.width)
    areas = [
        [sum(one.height * one.width for _, one in instance.extreme(s, pick).ops) for s in spaces] for pick in (min, max)
    ]
    quiet = [[2.0 * area / of_pick[-1] for area in of_pick] for of_pick in areas]

    def measured(instances: Sequence[SearchSpace], device: Device, *, progress: Progress) -> list[tuple[float, float]]:
        low, high = ([value * (busy if value > 3.0 else 1.0) for value in end] for end in quiet)
        return list(zip(low, high, strict=True))

    monkeypatch.setattr(instance, "measured_ranges", measured)
    found = instance.undisturbed_ranges(spaces, DEVICE, progress=Silent())
    for place in range(2):
        most = 1.0 if busy == 1.0 else 1.25
        slow = [value * (most if value > 3.0 else 1.0) for value in quiet[place]]
        assert [one[place] for one in found] == pytest.approx(slow)


class OfWork:
    """The made-up machine takes time by the multiply-adds."""

    def __call__(
        self, networks: Mapping[str, Network], device: Device, *, progress: Progress, label: str
    ) -> dict[str, float]:
        return {name: macs(network.graph) / 1e6 for name, network in networks.items()}


def test_a_budget_chooses_among_sizes_and_twice_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "floor_ms", OfWork())
    monkeypatch.setattr(instance_choice, "space_rungs", lambda _: ((WIDTH, 0),))
    monkeypatch.setattr(instance_choice, "LADDER", (64, 48, 32))
    monkeypatch.setattr(instance_choice, "_SMALL_IMAGES", 32)
    monkeypatch.setattr(input_size, "_SCORED", 8)
    whole_ms = macs(instance.extreme(elastic_space(resolution=64), max).graph) / 1e6
    config = a_config(Path("none"), init=NAME, space=NAME, width=0.0, resolution=0, budget=f"{0.8 * whole_ms:.6f}")

    def found(**changes: Any) -> ChosenInstance:
        asked = config.changed(**changes)
        return instance_choice.chosen_instance(
            asked,
            [(DEVICE, asked.budgets)],
            (3, Size(64, 64), CLASSES),
            constrain,
            Silent(),
            strategy=strategy("replace"),
            train_images=lambda: 60,
            accelerator=torch.device("cpu"),
            parent=made_up(),
            dataset=photos(64),
        )

    one = found()
    assert [each["input"] for each in one.sizes] == [[64, 64], [48, 48]]  # of which the whole parent is fast enough
    assert list(one.space.input_shape[1:]) in [each["input"] for each in one.sizes]
    assert found() == one
    assert found(space={"resolution": 64}).sizes == ()
    assert found(target={"budget": f"{0.8 * whole_ms:.6f},{2 * whole_ms:.6f}"}).sizes == ()


def test_a_parent_needs_fewer_passes_and_no_steps_of_search(monkeypatch: pytest.MonkeyPatch) -> None:
    spaces = {side: elastic_space(resolution=side) for side in (64, 32)}
    network = [instance.extreme(spaces[64], pick).graph for pick in (min, max)]
    image_work = sum(macs(one) + 20 * written(one) for one in network) / 2
    config = a_config(Path("none"), init=NAME, space=NAME, budget="20", minutes=1.0, baseline=False)
    left_s = 0.75 * 60 * 0.5 / 0.72
    for passes, side in ((0.35, 64), (0.3, 32)):  # a third of an epoch is a thousand images of a head
        unit_s = left_s / (passes * 1000 * image_work)
        monkeypatch.setattr("hwnas.run.affordable._seconds_of_work", lambda *_, unit_s=unit_s: unit_s)
        training = Training(config, strategy("replace"), lambda: 1000, torch.device("cpu"))
        taken, why = affordable(
            ChosenInstance(spaces[64], WIDTH, 0, ""),
            [(WIDTH, 0)],
            [Size.square(64), Size.square(32)],
            lambda width, depth, size: spaces[size.short],
            training,
        )
        assert taken.size.short == side
        assert bool(why) == (side == 32)
        other = replace(training, config=a_config(Path("none"), budget="20", minutes=1.0, baseline=False))
        assert (
            affordable(
                ChosenInstance(spaces[64], WIDTH, 0, ""),
                [(WIDTH, 0)],
                [Size.square(64), Size.square(32)],
                lambda width, depth, size: spaces[size.short],
                other,
            )[0].size.short
            == 32
        )


def a_trial(side: int, *losses: float, halved: float = 0.0) -> Trial:
    return Trial(Size.square(side), (1.0, 4.0), (0,), 1.9, held_out(*losses, halved=halved))


@pytest.mark.parametrize(
    ("found", "side", "why"),
    [
        ([a_trial(80, 1.0, 1.2, 1.1), a_trial(64, 0.5, 0.7, 0.6)], 64, ""),
        ([a_trial(80, 1.0, 0.2, 1.1), a_trial(64, 0.5, 0.9, 0.6)], 64, ""),
        ([a_trial(80, 0.5, 0.6), a_trial(64, 0.6, 0.7)], 80, ""),  # by the same on each image: that is no chance
        ([a_trial(80, 0.5, 0.6), a_trial(64, 0.7, 0.5)], 64, "; 64 is as good as 80 within one standard error"),
        (
            [a_trial(80, 9.0, 1.0, 1.0), a_trial(64, 1.7, 1.8, 1.8)],  # 3.7 nats are no worse than chance
            64,
            "; at 80 it is no better than chance, 1.792, and says nothing",
        ),
        (
            [a_trial(80, 9.0, 1.0, 1.0), a_trial(64, 1.9, 1.8, 1.8)],
            80,
            "; at 80, 64 it is no better than chance, 1.792, and says nothing",
        ),
        ([a_trial(80, 1.2, 1.0, 1.0), a_trial(64, 9.0, 0.0, 0.1)], 80, "; at 64 it is no better than chance, 1.792"),
    ],
)
def test_the_smallest_of_the_least_losses_below_chance_takes_the_input(found: list[Trial], side: int, why: str) -> None:
    taken, said = preferred(found, float(np.log(6)))
    assert taken.size == Size.square(side)
    assert said.startswith("before any training, are ")
    assert why in said
    assert (";" in said) is bool(why)


def test_a_trial_is_told_as_json() -> None:
    best = Trial(Size(128, 224), (2.0, 5.0), (0, 0), 1.8, held_out(0.5, 0.5))
    trial = Trial(Size(96, 160), (1.0, 4.0), (0, 2), 1.9, held_out(0.5, 1.0), 300, 0.8)
    assert trial.to_json(best) == {
        "input": [96, 160],
        "range_ms": [1.0, 4.0],
        "choices": [0, 2],
        "estimated_ms": 1.9,
        "validation_loss": 0.75,
        "validation_accuracy": 0.5,
        "head_images": 300,
        "expected_loss": pytest.approx(0.6),
        "worse_by": pytest.approx(0.1),
        "worse_by_error": pytest.approx(0.2 / 2**0.5),
    }
