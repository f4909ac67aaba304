"""Augmentations against each other at equal time: the same network, trained by each for equally many seconds.

    python tools/bench_recipe.py --data cifar10 --images 10000 --resolution 32 --out runs/recipe-cifar10.json
    python tools/bench_recipe.py --data photos --resolution 64 --out runs/recipe-photos.json

First the steps of all augmentations are timed in turns, in CPU seconds of one thread, so that other programs slow all
alike; then each trains for as many of its steps as take --seconds. So no training is cut short by another program. The
network is the one of k3e6 blocks (MobileNetV2) of the mobile space. Accuracies are of images that no training sees;
differences from the old one are taken seed by seed, as a seed has one start and one order of images. Trainings in
--out are not run again.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import nn

from hwnas.arch import Architecture, space_instance
from hwnas.backends.torch import network_module
from hwnas.data import Dataset, Images, load_dataset
from hwnas.files import write_json
from hwnas.schema import read_json
from hwnas.train import Recipe, evaluate, keep_freed_memory, train
from hwnas.train.training import Training

_CPU = torch.device("cpu")
_BLOCK = "k3e6"
_MORE: dict[str, dict[str, Any]] = {
    "colour .4": {"color_jitter": 0.4},
    "trivial": {"trivial_augment": True},
    "erasing .25": {"random_erasing": 0.25},
    "mixup .2": {"mixup": 0.2},
    "cutmix 1": {"cutmix": 1.0},
}
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "old": {},
    "none": {"augment": False},
    "crop .25": {"crop_scale": 0.25},
    "crop .5": {"crop_scale": 0.5},
    "crop .7": {"crop_scale": 0.7},
    **_MORE,
    **{f"crop .5, {name}": {"crop_scale": 0.5} | more for name, more in _MORE.items()},
}


def network(dataset: Dataset, width: float, seed: int) -> nn.Module:
    """The fixed network, with the random weights of a seed."""
    torch.manual_seed(seed)
    channels, side = dataset.channels, dataset.resolution
    space = space_instance("mobile", width=width, resolution=side, channels=channels, classes=len(dataset.classes))
    choices = tuple(one.options.index(_BLOCK) for one in space.decisions)
    return network_module(space.network(Architecture(space.name, choices)))


def of_steps(recipe: Recipe, steps: int, train_images: int) -> Recipe:
    """The recipe with epochs that make about so many steps, all epochs alike."""
    epochs = max(1, math.ceil(steps * recipe.batch_size / train_images))
    return replace(recipe, epochs=epochs, epoch_steps=max(1, round(steps / epochs)))


def step_times_s(dataset: Dataset, width: float, recipes: Sequence[Recipe], rounds: int) -> list[float]:
    """Median CPU seconds of a step by each recipe, one of each in turn."""
    streams = [_endless(Training(network(dataset, width, 0), dataset, one, 0, _CPU)) for one in recipes]
    times: list[list[float]] = [[] for _ in recipes]
    for number in range(rounds + 2):
        for stream, taken in zip(streams, times, strict=True):
            began = time.process_time()
            next(stream)
            if number >= 2:
                taken.append(time.process_time() - began)
    return [statistics.median(taken) for taken in times]


def _endless(run: Training) -> Iterator[float]:
    return itertools.chain.from_iterable(run.epoch(0) for _ in itertools.count())


def unseen(dataset: Dataset, most: int) -> Images:
    """Validation and test images, up to so many of each."""
    parts = [
        part.subset(np.random.default_rng(0).permutation(len(part))[:most]) for part in (dataset.val, dataset.test)
    ]
    return Images(np.concatenate([one.pixels for one in parts]), np.concatenate([one.labels for one in parts]))


def table(found: dict[str, Any]) -> str:
    """Markdown: accuracy by augmentation, and its difference from the old one with a standard error."""
    lines = ["| augmentation | ms a step | steps | accuracy | less old | n |", "|---|---|---|---|---|---|"]
    for name, step_s in found["step_s"].items():
        rows = {row["seed"]: row for row in found["rows"] if row["augmentation"] == name}
        old = {row["seed"]: row["accuracy"] for row in found["rows"] if row["augmentation"] == "old"}
        if not rows:
            continue
        gains = [row["accuracy"] - old[seed] for seed, row in rows.items() if seed in old]
        gain = f"{statistics.mean(gains):+.3f}" if gains and name != "old" else ""
        if gain and len(gains) > 1:
            gain += f" ± {statistics.stdev(gains) / math.sqrt(len(gains)):.3f}"
        accuracy = statistics.mean(row["accuracy"] for row in rows.values())
        steps = next(iter(rows.values()))["steps"]
        lines.append(f"| {name} | {1e3 * step_s:.0f} | {steps} | {accuracy:.3f} | {gain} | {len(rows)} |")
    return "\n".join(lines)


def main(
    data: Annotated[str, typer.Option(help="cifar10, a folder or an .npz file.")] = "cifar10",
    images: Annotated[int, typer.Option(help="Of the train images, so many by chance; 0 takes all.")] = 0,
    resolution: int = 32,
    width: float = 0.25,
    seconds: Annotated[float, typer.Option(help="Of one training, by the step times found.")] = 60.0,
    augmentations: Annotated[str, typer.Option(help="Names, with semicolons between; empty for all.")] = "",
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0,1,2",
    rounds: Annotated[int, typer.Option(help="Of timed steps.")] = 12,
    limit_minutes: Annotated[float, typer.Option(help="No training begins later than that.")] = math.inf,
    out: Path = Path("runs/recipe.json"),
) -> None:
    """Time, train what is missing, and print the table."""
    began = time.monotonic()
    keep_freed_memory()
    torch.set_num_threads(1)
    dataset = load_dataset(data, resolution=resolution, seed=0)
    drawn = np.random.default_rng(0).permutation(len(dataset.train))[: images or None]
    dataset = replace(dataset, train=dataset.train.subset(drawn))
    count, names = len(dataset.train), augmentations.split(";") if augmentations else list(AUGMENTATIONS)
    usual = Recipe.for_images(count)
    recipes = {name: replace(usual, **AUGMENTATIONS[name]) for name in names}
    settings = {"data": data, "images": count, "resolution": resolution, "width": width, "seconds": seconds}
    found: dict[str, Any] = read_json(out) if out.exists() else settings | {"step_s": {}, "rows": []}
    if {key: found[key] for key in settings} != settings:
        raise SystemExit(f"{out} is of other settings: {found}")
    new = ["old", *(name for name in names if name not in found["step_s"] and name != "old")]
    if len(new) > 1:
        timed = step_times_s(dataset, width, [replace(usual, **AUGMENTATIONS[name]) for name in new], rounds)
        base_s = found["step_s"].get("old", timed[0])
        found["step_s"] |= {name: base_s * one / timed[0] for name, one in zip(new, timed, strict=True)}
        write_json(out, found)
    judged = unseen(dataset, 4000)
    for seed, (name, recipe) in itertools.product(map(int, seeds.split(",")), recipes.items()):
        if any((row["seed"], row["augmentation"]) == (seed, name) for row in found["rows"]):
            continue
        if time.monotonic() - began > 60 * limit_minutes:
            break
        recipe = of_steps(recipe, round(seconds / found["step_s"][name]), count)
        model, started = network(dataset, width, seed), time.process_time()
        train(model, dataset, recipe, seed=seed, device=_CPU)
        row = {"augmentation": name, "seed": seed, "steps": recipe.epochs * recipe.epoch_steps}
        row["cpu_s"] = time.process_time() - started
        row["accuracy"] = evaluate(model, judged, dataset, device=_CPU).accuracy
        found["rows"].append(row)
        write_json(out, found)
        print(row, flush=True)
    print(table(found))


if __name__ == "__main__":
    typer.run(main)
