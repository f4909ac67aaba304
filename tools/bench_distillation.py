"""Does distillation from the supernet help the final training, at equal epochs and at equal time?

    python tools/bench_distillation.py --data cifar10 --images 20000 --width 0.15 --seeds 2,3,4 --out distillation.json

For each seed one search, then the final recipe from the inherited weights of the network that it prefers within the
budget:

    plain    hard labels alone
    teacher  in every step, soft labels of the largest path of the same supernet for the augmented images
    cached   the same soft labels, computed once, for the images as they are
    longer   hard labels alone, with as many more epochs as the teacher takes in time

Soft labels are the teacher's softmax at temperature 1. Latency is counted in multiply-adds, so no device is measured;
times are those of the processor. The same command goes on where it was stopped.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hwnas.arch.costs import macs
from hwnas.arch.space import Architecture
from hwnas.arch.spaces import space_instance
from hwnas.cli import console
from hwnas.data import Dataset, Images, batches, load_dataset, native_shape
from hwnas.files import write_json
from hwnas.latency.space_latency import latency_model
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.feasible_set import feasible_set
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategy
from hwnas.nas.strategies.base import log_probabilities
from hwnas.run.instance_choice import default_resolution
from hwnas.schema import read_json
from hwnas.train import Recipe, deterministic, evaluate, keep_freed_memory, recalibrate
from hwnas.train.training import Training

_CPU = torch.device("cpu")
_PAIRS = (("teacher", "plain"), ("cached", "plain"), ("teacher", "longer"), ("cached", "longer"), ("longer", "plain"))


class Distilled(Training):
    """A training whose loss is (1 - w) · hard + w · cross entropy with the teacher's softmax (Hinton et al., 2015)."""

    def __init__(self, *known: Any, teacher: nn.Module, weight: float, cached: bool) -> None:
        super().__init__(*known)
        self.told_by, self.weight = teacher, weight
        train = self.dataset.train
        # What comes as labels are the places of the images, by which both kinds of label are looked up.
        self.labels = torch.from_numpy(train.labels)
        self.soft = torch.cat(list(self._soft_labels(train))) if cached else None
        self.dataset = replace(self.dataset, train=Images(train.pixels, np.arange(len(train))))

    def loss(self, logits: Tensor, x: Tensor, y: Tensor) -> Tensor:
        labels = self.labels[y]
        with torch.no_grad():
            soft = self.told_by(x).softmax(1) if self.soft is None else self.soft[y]
        share = self.class_weights[labels]
        distilled = (cross_entropy(logits, soft, reduction="none") * share).sum() / share.sum()
        return (1 - self.weight) * super().loss(logits, x, labels) + self.weight * distilled

    @torch.no_grad()
    def _soft_labels(self, images: Images) -> Any:
        for x, _ in batches(images, self.dataset, batch_size=128, device=_CPU, generator=None, augment=False):
            yield self.told_by(x).softmax(1)


def trained(run: Training, dataset: Dataset, started_s: float) -> dict[str, float]:
    """Train to the end, as `hwnas.train.train` does."""
    for epoch in range(run.recipe.epochs):
        for _ in run.epoch(epoch):
            pass
    seconds = time.process_time() - started_s
    with torch.no_grad():
        for name, value in run.model.state_dict().items():
            value.copy_(run.average.values[name])
    result = evaluate(run.model, dataset.test, dataset, device=_CPU)
    return {"accuracy": result.accuracy, "loss": result.loss, "epochs": run.recipe.epochs, "cpu_s": seconds}


def one_seed(
    dataset: Dataset,
    width: float,
    recipe: Recipe,
    settings: SearchSettings,
    *,
    share: float,
    weight: float,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Search, then every kind of training; no candidates are scored."""
    deterministic(seed, 1)
    resolution, classes = dataset.resolution, len(dataset.classes)
    space = space_instance("mobile", width=width, resolution=resolution, channels=dataset.channels, classes=classes)
    model = latency_model(space, lambda spec: macs(spec.graph) / 1e6)
    feasible = feasible_set(
        latency_constraint(model, model.smallest_ms + share * (model.largest_ms - model.smallest_ms))
    )
    progress = console.progress(quiet=False)
    loop = make_loop(space, [feasible], strategy("gumbel"), dataset, settings, seed=seed, device=_CPU)
    loop.run(checkpoint=folder / f"search-{seed}.safetensors", progress=progress, log=lambda event: None)
    choices = feasible.decode(log_probabilities(loop.unbudgeted))
    assert choices is not None
    largest = tuple(int(np.argmax(row)) for row in model.costs.table)

    def inherited(choices: tuple[int, ...]) -> nn.Module:
        return loop.supernet.extract(Architecture(space.name, choices))

    teacher = inherited(largest)
    recalibrate(teacher, dataset.train, dataset, device=_CPU)
    teacher.eval()
    row: dict[str, Any] = {
        "seed": seed,
        "space": space.name,
        "found": choices,
        "mmacs": model.predict_ms(choices),
        "teacher_mmacs": model.largest_ms,
        "teacher_accuracy": evaluate(teacher, dataset.test, dataset, device=_CPU).accuracy,
    }

    def run(name: str, recipe: Recipe, cached: bool | None = None) -> None:
        started_s, network = time.process_time(), inherited(choices)
        known = (network, dataset, recipe, seed, _CPU)
        training = (
            Training(*known) if cached is None else Distilled(*known, teacher=teacher, weight=weight, cached=cached)
        )
        row[name] = trained(training, dataset, started_s)
        print(seed, name, row[name], flush=True)

    run("plain", recipe)
    run("cached", recipe, True)
    run("teacher", recipe, False)
    run("longer", replace(recipe, epochs=round(recipe.epochs * row["teacher"]["cpu_s"] / row["plain"]["cpu_s"])))
    return row


def main(
    data: Annotated[str, typer.Option(help="As for hwnas search.")] = "cifar10",
    images: Annotated[int, typer.Option(help="Of the train images, so many by chance; 0 takes all.")] = 0,
    width: float = 0.15,
    share: Annotated[float, typer.Option(help="Budget as a share of the range.")] = 0.6,
    epochs: Annotated[int, typer.Option(min=1, help="Of the final training.")] = 4,
    weight: Annotated[float, typer.Option(help="Of the soft labels.")] = 0.3,
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "2,3,4",
    out: Path = Path("runs/distillation.json"),
) -> None:
    """Run every seed and print what was measured."""
    keep_freed_memory()
    rows: list[dict[str, Any]] = read_json(out)["rows"] if out.exists() else []
    for seed in map(int, seeds.split(",")):
        if any(row["seed"] == seed for row in rows):
            continue
        dataset = load_dataset(data, resolution=default_resolution(native_shape(data)[1]), seed=seed)
        count = images or len(dataset.train)
        drawn = np.random.default_rng(seed).permutation(len(dataset.train))[:count]
        dataset = replace(dataset, train=dataset.train.subset(drawn))
        recipe = replace(Recipe.for_images(count), epochs=epochs)
        settings = SearchSettings.for_images(count)
        rows.append(
            one_seed(dataset, width, recipe, settings, share=share, weight=weight, seed=seed, folder=out.parent)
        )
        write_json(out, {"images": count, "weight": weight, "share": share, "rows": rows})
    for one, other in _PAIRS:
        gains = [row[one]["accuracy"] - row[other]["accuracy"] for row in rows]
        error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
        times = statistics.mean(row[one]["cpu_s"] / row[other]["cpu_s"] for row in rows)
        print(f"{one} less {other}, n = {len(gains)}: {statistics.mean(gains):+.4f} ± {error:.4f}, time {times:.2f}")


if __name__ == "__main__":
    typer.run(main)
