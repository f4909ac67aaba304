"""The benchmark of meta-learned initialisations: its parts, its sums, and that it goes on from its runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import bench_meta
import meta_devices
import meta_tasks
import meta_transfer
from bench_meta import main
from meta_devices import halves, shortened, sliced, to_reach
from meta_parts import chained, conv4, network_facts, ordinary, split, with_classes
from meta_report import page
from meta_tasks import Adaptation, Scale, images_of, settings_of, summary

from hwnas.arch.spaces.toy import toy
from hwnas.backends.torch import network_module
from hwnas.data import Dataset, Images
from hwnas.errors import InputError
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.meta.earlier import from_search
from hwnas.meta.meta_settings import MetaSettings
from hwnas.meta.pools import ClassPool
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.search_settings import SearchSettings
from hwnas.train import Recipe

ALPHABETS = ("Greek", "Korean", "Latin", "Tifinagh")


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four alphabets of three letters with eight images each."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "letters.npz"
    classes = [f"{name}/character0{k}" for name in ALPHABETS for k in range(3)]
    shapes = rng.random((12, 1, 6, 6)) < 0.4
    x = np.repeat(shapes, 8, axis=1) ^ (rng.random((12, 8, 6, 6)) < 0.05)
    np.savez(path, x=x.reshape(-1, 6, 6), y=np.arange(96) // 8, classes=np.array(classes))
    return path


def a_pool(images: int = 2) -> ClassPool:
    pixels = np.random.default_rng(0).integers(0, 256, (12 * images, 1, 6, 6)).astype(np.uint8)
    names = tuple(f"{name}/{k}" for name in ALPHABETS for k in range(3))
    return ClassPool("letters", names, Images(pixels, np.repeat(np.arange(12), images)), (0.5,), (0.2,))


def groups(pool: ClassPool) -> set[str]:
    return set(pool.groups)


def test_alphabets_take_turns_and_never_meet() -> None:
    tested = []
    for seed in range(4):
        one = split(a_pool(), None, seed, ways=3)
        parts = [groups(one.train), groups(one.valid), groups(one.test)]
        assert set.union(*parts) == set(ALPHABETS)
        assert sum(map(len, parts)) == 4
        assert (one.train.mean, one.train.std) == (one.valid.mean, one.valid.std) == (one.test.mean, one.test.std)
        tested += parts[2]
    assert set(tested) == set(ALPHABETS)
    other = split(a_pool(), a_pool(), 0, ways=3)
    assert groups(other.test) == set(ALPHABETS)
    assert len(groups(other.train)) == 3
    with pytest.raises(InputError, match="0 groups of 4 classes"):
        split(a_pool(), None, 0, ways=4)


def test_conv4_is_four_convolutions_and_pools() -> None:
    """9 c_in c_out multiply-adds per pixel of 28, 14, 7 and 4; one feature per channel remains."""
    network = conv4(28, 20)
    pixels = (28**2, 14**2, 7**2, 4**2)
    macs = 9 * 64 * pixels[0] + 9 * 64 * 64 * sum(pixels[1:]) + 64 * 20
    assert network_facts(network)["mmacs"] == pytest.approx(macs / 1e6)
    assert network_module(with_classes(network, 7))(torch.zeros(2, 1, 28, 28)).shape == (2, 7)


def test_a_chain_is_made_of_the_layers_that_are_named() -> None:
    network = chained(["conv3_32", "pool2_2", "conv1_64"], 0.5, 28, 20)
    assert network_facts(network)["mmacs"] == pytest.approx((9 * 32 * 28**2 + 32 * 64 * 14**2 + 64 * 20) / 1e6)
    with pytest.raises(InputError, match="no layer conv9_9"):
        chained(["conv9_9"], 0.5, 28, 20)


def test_every_class_is_four_by_its_turns() -> None:
    pool = a_pool()
    data = ordinary(pool)
    assert len(data.classes) == 48
    assert np.bincount(data.train.labels).tolist() == [2] * 48
    for label, place in ((0, 0), (5, 10), (11, 23)):
        for k in range(4):
            turned = data.train.pixels[np.flatnonzero(data.train.labels == 12 * k + label)]
            assert any(np.array_equal(np.rot90(pool.images.pixels[place, 0], k), one[0]) for one in turned)


def test_images_of_an_outer_step() -> None:
    scale = Scale(ways=20)
    assert images_of(settings_of("protonet", scale)) == images_of(settings_of("episodes", scale)) == 20 + 80
    assert images_of(settings_of("fomaml", scale)) == 20 + 2 * 20 + 80
    assert images_of(settings_of("reptile", scale)) == 40 + 5 * 20


def row(name: str, seed: int, validation: float, *errors: float) -> dict[str, Any]:
    found = {"row": name, "seed": seed, "network": "chain", "images": 10, "adaptation": "some", "test": ["Greek"]}
    return found | {"validation": {"some": validation}, "errors": {"transductive": errors, "support": errors}}


def test_the_better_method_is_chosen_by_validation_and_not_by_test() -> None:
    rows = [row("reptile", 0, 0.3, 0.1, 0.1), row("fomaml", 0, 0.2, 0.5, 0.7)]
    rows += [row("reptile", 1, 0.1, 0.2, 0.2), row("fomaml", 1, 0.2, 0.0, 0.0)]
    found = {one["row"]: one for one in summary(rows)}
    assert set(found) == {"reptile", "fomaml", "meta"}
    mean, error = found["meta"]["transductive"]
    assert mean == pytest.approx(0.4)
    assert error == pytest.approx(np.std([0.5, 0.7, 0.2, 0.2], ddof=1) / 2)
    assert found["meta"]["tasks"] == 4


def a_dataset(size: int = 4) -> Dataset:
    rng = np.random.default_rng(0)

    def part(each: int) -> Images:
        labels = np.repeat(np.arange(6), each)
        pixels = np.broadcast_to(labels[:, None, None, None], (6 * each, 3, size, size)) * 10 + rng.integers(0, 9)
        return Images(pixels.astype(np.uint8), labels)

    return Dataset("six", tuple("abcdef"), part(9), part(5), part(7), (0.5,) * 3, (0.2,) * 3, flip=True)


def test_slices_hold_their_classes_alone() -> None:
    learned, new = halves("abcdef", 3)
    assert sorted(learned + new) == list(range(6))
    assert len(learned) == 3
    one = sliced(a_dataset(), new, images=4, seed=0)
    assert one.classes == tuple("abcdef"[label] for label in new)
    for images, each in ((one.train, 4), (one.val, 2), (one.test, 7)):
        assert np.bincount(images.labels).tolist() == [each] * 3
        for pixels, label in zip(images.pixels, images.labels, strict=True):
            assert pixels[0, 0, 0] // 10 == new[label]


def test_a_share_of_the_epochs_is_never_none() -> None:
    settings = shortened(SearchSettings(warmup_epochs=10, epochs=20), 0.25)
    assert (settings.warmup_epochs, settings.epochs) == (2, 5)
    settings = shortened(settings, 0.01)
    assert (settings.warmup_epochs, settings.epochs) == (1, 1)


def test_the_least_cost_at_which_a_row_is_as_good_as_scratch() -> None:
    accuracies = {"scratch": (0.2, 0.4, 0.6), "warm": (0.5, 0.6, 0.7), "meta": (0.1, 0.2, 0.5)}
    rows = [
        {"row": name, "level": level, "accuracy": accuracy + gap, "images": 100 * level, "seconds": level}
        | {"device": str(gap), "seed": 0}
        for name, values in accuracies.items()
        for level, accuracy in zip((0.25, 0.5, 1.0), values, strict=True)
        for gap in (-0.1, 0.1)  # two devices
    ]
    scratch, warm, meta = to_reach(rows)
    assert (scratch["images_to_equal"], scratch["images_factor"]) == (100.0, 1.0)
    assert (warm["images_to_equal"], warm["images_factor"]) == (50.0, 2.0)
    assert meta["images_to_equal"] is meta["seconds_factor"] is None
    assert warm["curve"][0]["error"] == pytest.approx(0.1)
    assert meta["curve"][0]["against"] == pytest.approx([-0.4, 0.0])
    part = {"scale": {"images": 1, "learned": 9, "steps": 1}, "data": "six", "devices": ["x"], "seeds": 2}
    part |= {"learning_s": {"warm": 3.0, "pooled": 40.0}}
    text = page({"devices": part | {"rows": [scratch, warm, meta]}})
    assert "| plain warm start | 50 (2.0 × less) |" in text
    assert "took 3 and 40 s of the processor" in text


def test_tasks_go_on_from_their_runs(letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_meta, "floor_ms", lambda networks, device, progress: dict.fromkeys(networks, 1.5))
    monkeypatch.setattr(bench_meta, "RESOLUTIONS", {"chain": 16, "conv4": 16})
    monkeypatch.setattr(meta_tasks, "Scale", lambda **given: Scale(ways=3, validation_tasks=2, **given))
    few_steps = (Adaptation("prototypes", 0, 0.0), Adaptation("learned", 2, 1e-3))
    monkeypatch.setattr(meta_tasks, "ADAPTATIONS", dict.fromkeys(meta_tasks.ROWS, few_steps))
    out = tmp_path / "meta.json"

    def bench(tasks: int) -> None:
        few = {"seeds": 1, "tasks_": tasks, "epochs": 1, "steps": 2, "protonet_steps": 2}
        few |= {"layers": "conv3_32 pool2_2 conv1_32"}
        main("tasks", letters.parent, letters, runs=tmp_path / "runs", out=out, **few)  # type: ignore[arg-type]

    bench(3)
    found = json.loads(out.read_text())["tasks"]
    assert [one["row"] for one in found["rows"]] == [*meta_tasks.ROWS, "meta"]
    assert all(one["tasks"] == 3 and 0.0 <= one["transductive"][0] <= 1.0 for one in found["rows"])
    assert found["tested"] == ["Greek"]
    assert "| from scratch |" in out.with_suffix(".md").read_text()
    assert out.with_suffix(".svg").stat().st_size > 1000
    before = out.read_bytes()

    monkeypatch.setattr(meta_tasks.Bench, "_row", None)  # nothing is done again
    bench(3)
    assert out.read_bytes() == before
    with pytest.raises(InputError, match="is of another scale"):
        bench(4)


@pytest.mark.dear
def test_learned_rows_search_no_more_and_go_on_from_their_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the toy space, with made-up devices: every row at every level once, within the budget."""
    space = toy(resolution=8, channels=3, classes=3)
    rng = np.random.default_rng(0)
    devices = {
        name: AdditiveLatency(tuple(tuple(rng.uniform(0.1, 1.0, count)) for count in space.options), 0.1)
        for name in ("a/1", "b/1", "new/1")
    }
    known = {name: devices[name] for name in ("a/1", "b/1")}
    scale = meta_devices.Scale(images=4, learned=9, scratch=(0.1,), levels=(0.01, 0.02), steps=1)
    monkeypatch.setattr(SearchSettings, "for_images", lambda _: SearchSettings(2, 2, batch_size=8, candidates=2))
    monkeypatch.setattr(meta_devices.Recipe, "for_images", lambda _: Recipe(epochs=100, batch_size=4))
    few = MetaSettings.of("fomaml", ways=3, shots=2, queries=2)
    monkeypatch.setattr(MetaSettings, "of", lambda *_, **__: few)

    def rows() -> list[dict[str, Any]]:
        data = a_dataset(8)
        return list(meta_devices.Bench(space, known, {"new/1": devices["new/1"]}, data, scale, 0, tmp_path).rows())

    found = rows()
    assert [(one["row"], one["level"]) for one in found] == [
        ("scratch", 0.1),
        *((name, level) for name in ("warm", "pooled", "meta") for level in (0.02, 0.01)),
    ]
    images = {(one["row"], one["level"]): one["images"] for one in found}
    assert images["warm", 0.01] == images["meta", 0.01] == 12
    assert images["scratch", 0.1] == 10 * 12 + 12 * (1 + 1 + 1 / 2)
    model, budget_ms = devices["new/1"], np.mean([devices["new/1"].smallest_ms, devices["new/1"].largest_ms])
    assert all(model.predict_ms(one["choices"]) <= budget_ms for one in found)
    monkeypatch.setattr(meta_devices.Bench, "_row", None)  # nothing is done again
    assert rows() == found


@pytest.mark.dear
def test_architectures_are_transferred_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row keeps to the budget, and with 0 % of a search the architecture is what the other task's α prefers."""
    space = toy(resolution=8, channels=3, classes=6)
    rng = np.random.default_rng(0)
    model = AdditiveLatency(tuple(tuple(rng.uniform(0.1, 1.0, count)) for count in space.options), 0.1)
    task = meta_transfer.Task(a_dataset(8), space, model)
    monkeypatch.setattr(SearchSettings, "for_images", lambda _: SearchSettings(2, 2, batch_size=8, candidates=2))
    monkeypatch.setattr(meta_transfer.Recipe, "for_images", lambda _: Recipe(epochs=1, batch_size=8))

    def rows() -> list[dict[str, Any]]:
        return list(meta_transfer.Bench(task, task, 4, 0, tmp_path).rows())

    found = rows()
    assert tuple(one["row"] for one in found) == meta_transfer.ROWS
    assert all(0.0 < one["ms"] <= one["budget_ms"] for one in found)
    alpha = from_search(tmp_path / "source.safetensors").alpha
    assert alpha is not None
    limits = AdditiveSet(latency_constraint(model, model.target_ms(found[0]["budget_ms"])))
    best = limits.decode([row[: len(one.options)] for row, one in zip(alpha.tolist(), space.decisions, strict=True)])
    assert best is not None
    (transferred,) = [one for one in found if one["row"].startswith("transferred, 0%")]
    assert transferred["ms"] == pytest.approx(model.predict_ms(best))
    monkeypatch.setattr(meta_transfer.Bench, "_row", None)  # nothing is done again
    assert rows() == found


def test_transfer_is_told_against_scratch_of_the_same_seed() -> None:
    def one(name: str, seed: int, accuracy: float) -> dict[str, Any]:
        facts = {"source": "a", "target": "b", "search_s": 2.0, "ms": 1.0, "budget_ms": 2.0}
        return facts | {"row": name, "seed": seed, "accuracy": accuracy}

    rows = [one("scratch", 0, 0.5), one("scratch", 1, 0.7), one("random", 0, 0.4), one("random", 1, 0.5)]
    random, scratch = meta_transfer.summary(rows)
    assert (random["row"], random["seeds"], random["use"]) == ("random", 2, 0.5)
    assert random["accuracy"] == pytest.approx([0.45, 0.05])
    assert random["against_scratch"] == pytest.approx([-0.15, 0.05])
    assert scratch["against_scratch"] == [0.0, 0.0]
    text = page({"transfer": {"images": 4, "device": "x", "rows": [random, scratch]}})
    assert "| a → b | random | 2 | 45.0 ± 5.0 | -15.0 ± 5.0 | 2.0 | 50% |" in text
    single = meta_transfer.summary(rows[:1])
    assert "| 50.0 |" in page({"transfer": {"images": 4, "device": "x", "rows": single}})


def test_a_device_without_a_table_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_meta, "load_dataset", lambda *_, **__: a_dataset())
    with pytest.raises(Exception, match="no table of phone/fast holds all options"):
        bench_meta.devices(["phone/fast"], 1, meta_devices.Scale(), tmp_path, None, lambda: True)
