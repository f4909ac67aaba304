"""The benchmark of augmentations: its arithmetic, and one training of each on a few images."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import bench_recipe

from hwnas.schema import read_json
from hwnas.train import Recipe


@pytest.mark.parametrize(("steps", "epochs"), [(10, 1), (20, 2), (105, 7)])
def test_a_training_has_the_steps_that_it_is_given(steps: int, epochs: int) -> None:
    recipe = bench_recipe.of_steps(Recipe(batch_size=10), steps, train_images=160)
    assert recipe.epochs == epochs
    assert recipe.epochs * recipe.epoch_steps == pytest.approx(steps, abs=recipe.epochs / 2)


def test_gains_are_taken_seed_by_seed() -> None:
    accuracies = {"old": (0.5, 0.6, 0.8), "crop .5": (0.52, 0.65, 0.85)}
    rows = [
        {"augmentation": name, "seed": seed, "steps": 7, "accuracy": accuracy}
        for name, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]
    text = bench_recipe.table({"step_s": {"old": 0.01, "crop .5": 0.02, "none": 0.01}, "rows": rows})
    error = math.sqrt(sum((gain - 0.04) ** 2 for gain in (0.02, 0.05, 0.05)) / 2 / 3)
    assert text.splitlines()[2:] == [
        "| old | 10 | 7 | 0.633 |  | 3 |",
        f"| crop .5 | 20 | 7 | 0.673 | +0.040 ± {error:.3f} | 3 |",
    ]


@pytest.mark.dear
def test_what_is_there_is_not_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng, data, out = np.random.default_rng(0), tmp_path / "few.npz", tmp_path / "out.json"
    labels = np.arange(60) % 2
    np.savez(data, x=rng.integers(0, 256, (60, 24, 24, 3), dtype=np.uint8), y=labels)

    def run(names: str, seeds: str) -> list[dict[str, object]]:
        bench_recipe.main(
            data=str(data), images=0, resolution=24, width=0.1, seconds=0.1, augmentations=names, seeds=seeds, rounds=1,
            limit_minutes=math.inf, out=out,
        )  # fmt: skip
        return list(read_json(out)["rows"])

    first = run("old;crop .5, cutmix 1", "0")
    assert len(first) == 2
    more = run("old;crop .5, cutmix 1;none", "0,1")
    assert more[:2] == first
    assert {(row["augmentation"], row["seed"]) for row in more[2:]} == {
        ("none", 0), ("old", 1), ("crop .5, cutmix 1", 1), ("none", 1),
    }  # fmt: skip
    assert "crop .5, cutmix 1" in capsys.readouterr().out
