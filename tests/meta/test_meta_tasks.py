"""Properties of drawn tasks, of what is held out, and of devices that are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from meta_data import a_pool

from hwnas.arch import space_instance
from hwnas.data import load_dataset, to_input
from hwnas.errors import DataError, InputError, TableError
from hwnas.latency.model import LatencyModel
from hwnas.latency.space_latency import latency_model
from hwnas.meta.devices import device_models
from hwnas.meta.pools import load_pool, pool_of
from hwnas.meta.tasks import Shape, augmented, check, draw, perturbed, with_device

CPU = torch.device("cpu")
POOL = a_pool(classes=11, images=7, groups=2)


@given(
    ways=st.integers(2, 5),
    shots=st.integers(1, 4),
    queries=st.integers(1, 3),
    within=st.booleans(),
    rotate=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_task_is_n_ways_k_shots_and_disjoint(
    ways: int, shots: int, queries: int, within: bool, rotate: bool, seed: int
) -> None:
    shape = Shape(ways, shots, queries, within, rotate)
    task = draw(POOL, shape, np.random.default_rng(seed), CPU)
    support, query = task.places
    assert len(set(support) | set(query)) == len(support) + len(query) == ways * (shots + queries)
    assert len(set(task.classes)) == ways
    for places, (x, y), each in ((support, task.support, shots), (query, task.query, queries)):
        assert x.shape == (ways * each, 1, 8, 8)
        assert torch.bincount(y).tolist() == [each] * ways
        for image, label, place in zip(x, y.tolist(), places, strict=True):
            assert POOL.classes[POOL.images.labels[place]] == task.classes[label]
            plain = to_input(torch.from_numpy(POOL.images.pixels[[place]]), POOL.mean, POOL.std)[0]
            turns = [torch.rot90(plain, k, (1, 2)) for k in (range(4) if rotate else range(1))]
            assert any(torch.equal(image, turned) for turned in turns)
    if within:
        assert len({name.split("/")[0] for name in task.classes}) == 1
    again = draw(POOL, shape, np.random.default_rng(seed), CPU)
    assert (again.places, again.classes) == (task.places, task.classes)
    assert torch.equal(again.query[0], task.query[0])


@pytest.mark.parametrize("how", ["small", "strong"])
def test_images_are_moved_and_keep_their_labels(how: str) -> None:
    task = draw(POOL, Shape(3, 2, 2), np.random.default_rng(0), CPU)
    assert augmented(task, np.random.default_rng(1), "none") is task
    one, again = (augmented(task, np.random.default_rng(1), how) for _ in range(2))
    for (x, y), (moved, labels), (same, _) in zip(
        (task.support, task.query), (one.support, one.query), (again.support, again.query), strict=True
    ):
        assert torch.equal(moved, same)
        assert torch.equal(labels, y)
        assert not torch.equal(moved, x)
        assert x.min() <= moved.min() <= moved.max() <= x.max()


@given(st.integers(0, 2**32), st.sets(st.integers(0, 10), min_size=2, max_size=8))
@settings(max_examples=40)
def test_held_out_classes_are_never_drawn(seed: int, chosen: set[int]) -> None:
    names = {POOL.classes[index] for index in chosen}
    train, held = POOL.hold_out(sorted(names))
    assert set(held.classes) == names
    assert set(train.classes) == set(POOL.classes) - names
    task = draw(train, Shape(ways=2, shots=2, queries=2), np.random.default_rng(seed), CPU)
    assert not names & set(task.classes)
    pixels = {image.tobytes() for image in held.images.pixels}
    assert not [place for part in task.places for place in part if train.images.pixels[place].tobytes() in pixels]
    assert (train.mean, train.std) == (held.mean, held.std)


def test_what_is_held_out_by_default() -> None:
    assert {name.split("/")[0] for name in POOL.hold_out()[1].classes} == {"letters1"}
    assert POOL.hold_out(["letters0"])[1].classes == POOL.hold_out()[0].classes
    assert a_pool(classes=10).hold_out()[1].classes == ("c8", "c9")
    assert len(a_pool(classes=40).hold_out()[1].classes) == 8
    assert len(a_pool(classes=10).hold_out(least=5)[1].classes) == 5
    with pytest.raises(InputError, match="no class or group of classes called 'greek'") as caught:
        POOL.hold_out(["greek"])
    assert "letters0, letters1" in caught.value.hint
    with pytest.raises(InputError, match="at least 2 classes to train on"):
        a_pool(classes=3).hold_out()


def test_tasks_that_cannot_be_drawn_say_why() -> None:
    with pytest.raises(InputError, match="has 11 to draw from"):
        check(POOL, Shape(ways=12, shots=1, queries=1))
    with pytest.raises(InputError, match="has 6 in one group to draw from"):
        check(POOL, Shape(ways=7, shots=1, queries=1, within=True))
    with pytest.raises(InputError, match="has 0 to draw from"):
        check(POOL, Shape(ways=2, shots=5, queries=5))
    with pytest.raises(InputError, match="ways of a task must be at least 2"):
        Shape(ways=1)


def test_a_pool_holds_all_images_of_a_data_set() -> None:
    dataset = load_dataset("digits", resolution=8, seed=0)
    pool = pool_of(dataset)
    assert len(pool.images) == len(dataset.train) + len(dataset.val) + len(dataset.test)
    assert np.bincount(pool.images.labels).tolist() == [len(each) for each in pool.members]


def test_omniglot_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWNAS_DATA", str(tmp_path))
    with pytest.raises(DataError, match="omniglot has to be on this machine"):
        load_pool("omniglot", resolution=8)
    x = np.zeros((12, 10, 10), bool)
    x[:6, 2:5] = True
    classes = np.array(["Greek/character01", "Greek/character02", "Latin/character01"])
    np.savez(tmp_path / "omniglot_small1.npz", x=x, y=np.arange(12) // 4, classes=classes)
    pool = load_pool("omniglot", resolution=8)
    assert pool.images.pixels.shape == (12, 1, 8, 8)
    assert set(pool.groups) == {"Greek", "Latin"}
    assert pool.images.pixels.max() == 255


TOY = space_instance("toy", width=1.0, resolution=8, channels=1, classes=10)


def models() -> list[LatencyModel]:
    return [latency_model(TOY, lambda spec, slow=slow: slow * (1.0 + spec.kernel)) for slow in (1.0, 3.0)]


@given(st.integers(0, 2**32))
@settings(max_examples=40)
def test_devices_that_are_made_up_are_like_known_ones(seed: int) -> None:
    """Within four times, and 4.5 deviations of its own noise, of what the options cost on the two."""
    cheap, dear = models()
    model = perturbed([cheap, dear], np.random.default_rng(seed))
    bound = 4.0 * np.exp(0.2 * 4.5)
    for row, least, most in zip(model.costs_ms, cheap.costs_ms, dear.costs_ms, strict=True):
        for cost, low, high in zip(row, least, most, strict=True):
            assert low / bound <= cost <= high * bound
            assert (cost == 0.0) == (low == 0.0)
    task = draw(POOL, Shape(2, 1, 1), np.random.default_rng(seed), CPU)
    task = with_device(task, [cheap], np.random.default_rng(seed))
    assert task.model is not None
    share = (task.budget_ms - task.model.smallest_ms) / (task.model.largest_ms - task.model.smallest_ms)
    assert 0.2 <= share <= 0.8
    assert with_device(task, [], np.random.default_rng(seed)) is task


def test_made_up_devices_differ_from_one_another_as_their_noise_says() -> None:
    base = models()[:1]
    logs = []
    for seed in range(400):
        model = perturbed(base, np.random.default_rng(seed))
        logs.append(
            np.log([model.costs_ms[0][1] / base[0].costs_ms[0][1], model.costs_ms[0][0] / base[0].costs_ms[0][0]])
        )
    apart = np.diff(np.array(logs)).ravel()  # the common factor drops out
    assert np.std(apart) == pytest.approx(0.2 * np.sqrt(2), rel=0.1)
    assert abs(np.mean(apart)) < 4 * np.std(apart) / 20


def test_costs_come_from_the_tables_that_hold_all_options() -> None:
    """The shipped tables have no row for the classifier of seven classes: it is not chosen, so it is left out."""
    seven, ten = (space_instance("mobile", width=0.25, resolution=32, channels=3, classes=n) for n in (7, 10))
    found = device_models(seven, ["all"], None)
    assert len({name.split("/")[0] for name in found}) >= 2
    one = device_models(ten, ["amd-epyc-f25m1"], None)
    assert set(one) == {name for name in found if name.startswith("amd-epyc-f25m1/")}
    for name, model in one.items():
        assert tuple(map(len, model.costs_ms)) == seven.options
        assert model.costs_ms == found[name].costs_ms
        assert model.fixed_ms > found[name].fixed_ms > 0
    with pytest.raises(TableError, match="no latency table of a-phone"):
        device_models(seven, ["a-phone"], None)
    with pytest.raises(TableError, match="no latency table of any device holds all options of toy"):
        device_models(TOY, ["all"], None)
