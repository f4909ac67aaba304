"""How well sums of replacement scores rank whole networks, with and without their correction by whole networks.

    python tools/bench_additivity.py ../shared/data/clothing --resolution 96 --share 0.5 --out additivity.json

Options of a parent's elastic space learn for a few steps, and their scores are taken on photos of the validation part.
Then networks are drawn within a share of the parent's multiply-adds: half of them at random, half by the sums under
noise, none of which the correction was made from. What they lose is known from photos of the test part: the divergence
of the head's predictions from the parent's, accuracy as they are, and of some accuracy after a short training. Printed
are Spearman's rank correlations with 95 % intervals, of bootstrap samples of the networks. The same command goes on
where it was stopped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from scipy.stats import rankdata
from torch import Tensor

from hwnas.arch.costs import macs
from hwnas.arch.space import Architecture
from hwnas.arch.spaces import space_instance
from hwnas.cli import console
from hwnas.data import Dataset, Images, batches, load_dataset
from hwnas.files import write_json
from hwnas.latency.space_latency import latency_model
from hwnas.metrics import stratified_choice
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.feasible_set import FeasibleSet, feasible_set
from hwnas.nas.select import candidates
from hwnas.nas.sums import Choices, Sums, judged_candidates, preferences
from hwnas.nas.supernet import Supernet
from hwnas.parents import find_parent, inherit, inherited_start, weights_of
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.distil import DistilSettings, distil
from hwnas.parents.frozen import features, head, trunk
from hwnas.parents.replacement import head_loss, network_losses, replacement_scores
from hwnas.schema import read_json
from hwnas.train import Recipe, evaluate, train, training_session

_CPU = torch.device("cpu")
_RATE, _BATCH = 8e-4, 32
_RESAMPLED = 2000
_PREDICTORS = {"sum": "the sum", "corrected": "the corrected sum", "scored": "itself, on the validation photos"}
_TRUTHS = {"divergence": "divergence", "error": "error, not trained", "trained_error": "error, trained"}


@dataclass(frozen=True)
class Bench:
    """A parent's options that have learned, and the head that judges them."""

    dataset: Dataset
    supernet: Supernet
    blocks: ParentBlocks
    classifier: dict[str, Tensor]

    def losses(self, images: Images, networks: Sequence[Choices], label: str) -> list[float]:
        """Divergences from the parent's predictions."""
        progress = console.progress(quiet=False)
        progress.say(f"{label}: {len(networks)} networks on {len(images)} photos")
        loss = head_loss(self.classifier)
        return list(network_losses(self.blocks, images, self.dataset, loss, networks, batch_size=16, progress=progress))

    def error(self, images: Images, choices: Choices) -> float:
        """Share of the photos that a network without training gets wrong."""
        wrong = 0
        with torch.inference_mode():
            for x, y in batches(images, self.dataset, batch_size=32, device=_CPU, generator=None, augment=False):
                found = self.blocks.of_network(choices, x)
                logits = found @ self.classifier["weight"].T + self.classifier["bias"]
                wrong += int((logits.argmax(1) != y).sum())
        return wrong / len(images)

    def trained_error(self, images: Images, choices: Choices, steps: int, checkpoint: Path) -> float:
        """The same after a short training."""
        module = self.supernet.extract(Architecture(self.supernet.space.name, choices))
        epochs = math.ceil(steps * _BATCH / len(self.dataset.train))
        recipe = Recipe(epochs, _BATCH, lr=_RATE, epoch_steps=math.ceil(steps / epochs), keep_statistics=True)
        recipe = replace(recipe, warmup_epochs=0.1)
        progress = console.progress(quiet=False)
        train(module, self.dataset, recipe, seed=0, device=_CPU, checkpoint=checkpoint, progress=progress)
        return 1.0 - evaluate(module, images, self.dataset, device=_CPU).accuracy


def bench(data: str, parent: str, resolution: int, photos: int, steps: int, folder: Path) -> Bench:
    """Head and options on some of the train photos."""
    weights = weights_of(find_parent(parent))
    dataset = weights.parent.prepared(load_dataset(data, resolution=resolution, seed=0))
    dataset = replace(dataset, train=some(dataset.train, photos))
    classes = len(dataset.classes)
    space = space_instance(parent, width=1.0, resolution=resolution, channels=dataset.channels, classes=classes)
    network = weights.parent.network(resolution=resolution, channels=dataset.channels, classes=weights.classes)
    progress = console.progress(quiet=False)
    found = features(trunk(network, inherit(weights, network)), dataset.train, dataset, progress=progress)
    classifier = head(found, torch.from_numpy(dataset.train.labels), dataset)
    torch.manual_seed(0)
    supernet = Supernet(space)
    inherited_start(weights, space).apply(supernet, [])
    blocks = ParentBlocks(supernet, weights)
    settings = DistilSettings(steps=steps, batch_size=16)
    distil(blocks, dataset, seed=0, settings=settings, checkpoint=folder / "distil.safetensors", progress=progress)
    with torch.no_grad():
        linear = supernet.get_submodule(space.slots[-1].name).get_submodule("0.linear")
        for name, value in linear.named_parameters():
            value.copy_(classifier[name])
    return Bench(dataset, supernet, blocks, classifier)


def some(images: Images, count: int) -> Images:
    """A fixed choice with the shares of the classes."""
    return images.subset(stratified_choice(images.labels, count, 1))


def drawn(sums: Sums, feasible: FeasibleSet, known: set[Choices], count: int) -> list[Choices]:
    """Networks that are not known: half at random, half by the sums under noise."""
    rng = np.random.default_rng(1)
    noisy = (each for each in candidates(preferences(sums.table), feasible, count=4 * count, seed=1))
    found: dict[Choices, None] = {}
    for each in noisy:
        if each not in known and len(found) < count // 2:
            found[each] = None
    while len(found) < count:
        found[feasible.sample(rng)] = None
    return list(found)


def spearman(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, float]:
    """Rank correlation and the ends of its 95 % interval, by bootstrap over the pairs."""
    both = np.array([one, other], dtype=np.float64)
    picks = np.random.default_rng(0).integers(both.shape[1], size=(_RESAMPLED, both.shape[1]))
    picks[0] = np.arange(both.shape[1])
    a, b = (each - each.mean(axis=1, keepdims=True) for each in rankdata(both[:, picks], axis=2))
    norms = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    samples = (a * b).sum(axis=1)[norms > 0] / norms[norms > 0]
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(samples[0]), float(low), float(high)


def table(networks: Sequence[dict[str, Any]]) -> str:
    """Every predictor against every truth."""
    lines = [f"{'ranked by':36}" + "".join(f"{name:>28}" for name in _TRUTHS.values())]
    for predictor, said in _PREDICTORS.items():
        line = f"{said:36}"
        for truth in _TRUTHS:
            known = [one for one in networks if truth in one]
            if len(known) < 4:
                line += f"{'':>28}"
                continue
            value, low, high = spearman([one[predictor] for one in known], [one[truth] for one in known])
            line += f"{value:>8.3f} [{low:.2f}, {high:.2f}] n={len(known):<4}"
        lines.append(line)
    return "\n".join(lines)


def main(
    data: str,
    parent: str = "efficientnet-lite0",
    resolution: int = 96,
    share: Annotated[float, typer.Option(help="Of the parent's multiply-adds, at most.")] = 0.5,
    photos: Annotated[int, typer.Option(help="Train photos.")] = 600,
    scored: Annotated[int, typer.Option(help="Validation photos that scores are of.")] = 96,
    judged: Annotated[int, typer.Option(help="Test photos that networks are judged on.")] = 200,
    steps: Annotated[int, typer.Option(help="Steps of distillation, of 16 photos.")] = 60,
    count: Annotated[int, typer.Option(help="Networks that are ranked.")] = 50,
    corrections: Annotated[int, typer.Option(help="Networks that the correction is made from.")] = 24,
    fine_tune: Annotated[int, typer.Option(help="How many of the networks are trained.")] = 12,
    fine_tune_steps: Annotated[int, typer.Option(help="Steps of each of these trainings, of 32 photos.")] = 30,
    threads: int = 1,
    runs: Path = Path("runs/additivity"),
    out: Path = Path("additivity.json"),
) -> None:
    """Score, correct, draw, judge, and print the ranks."""
    runs.mkdir(parents=True, exist_ok=True)
    with training_session(0, threads):
        made = bench(data, parent, resolution, photos, steps, runs)
        space, val, test = made.supernet.space, some(made.dataset.val, scored), some(made.dataset.test, judged)
        if not out.exists():
            progress, loss = console.progress(quiet=False), head_loss(made.classifier)
            scores = replacement_scores(made.blocks, val, made.dataset, loss, batch_size=16, progress=progress)
            model = latency_model(space, lambda spec: macs(spec.graph) / 1e6)
            feasible = feasible_set(latency_constraint(model, share * model.largest_ms))
            sums, seen = judged_candidates(
                scores, [feasible], lambda some: made.losses(val, some, "correcting"), count=corrections, seed=0
            )
            networks = drawn(sums, feasible, set(seen), count)
            found = [
                {
                    "choices": each,
                    "mega_macs": model.predict_ms(each),
                    "sum": Sums(scores).loss(each),
                    "corrected": sums.loss(each),
                    "scored": by_itself,
                    "divergence": divergence,
                    "error": made.error(test, each),
                }
                for each, by_itself, divergence in zip(
                    networks,
                    made.losses(val, networks, "scoring"),
                    made.losses(test, networks, "judging"),
                    strict=True,
                )
            ]
            pairs = sum(map(bool, sums.pairs.values()))
            write_json(out, {"networks": found, "scores": scores, "corrected_by": len(seen), "pairs": pairs})
        kept = read_json(out)
        networks = kept["networks"]
        places = np.linspace(0, len(networks) - 1, min(fine_tune, len(networks))).round().astype(int)
        for place in sorted(set(places.tolist())):
            if "trained_error" not in networks[place]:
                choices, checkpoint = tuple(networks[place]["choices"]), runs / f"{place}.safetensors"
                error = made.trained_error(test, choices, fine_tune_steps, checkpoint)
                networks[place]["trained_error"] = error
                write_json(out, kept)
    print(f"{kept['corrected_by']} networks corrected the sums, with {kept['pairs']} pairs")
    print(table(networks))
    print("of these, the networks that were drawn by the sums")
    print(table(networks[: len(networks) // 2]))


if __name__ == "__main__":
    typer.run(main)
