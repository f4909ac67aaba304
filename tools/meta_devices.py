"""New devices and new classes of `bench_meta.py`: what searches cost from scratch, and from what was learned."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwnas.arch.origin import Origin
from hwnas.arch.space import SearchSpace
from hwnas.cli import console
from hwnas.data import Dataset, Images
from hwnas.errors import InputError
from hwnas.files import write_json
from hwnas.latency.model import LatencyModel
from hwnas.meta.earlier import from_search
from hwnas.meta.initialisation import Initialisation
from hwnas.meta.inner_loop import ALPHA, Inner
from hwnas.meta.meta_settings import MetaSettings
from hwnas.meta.pools import pool_of
from hwnas.meta.reuse import start_in
from hwnas.meta.train import MetaTraining, Sources
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.engine import SearchOutcome, search
from hwnas.nas.feasible_set import FeasibleSet, feasible_set
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.start import Start
from hwnas.nas.strategies import strategy
from hwnas.schema import read_json
from hwnas.train import Recipe, evaluate, fine_tuning, train

CPU = torch.device("cpu")
ROWS = ("scratch", "warm", "pooled", "meta")
_BUDGET = 0.5  # of each device's range
_TESTED = 1000  # images of each class


@dataclass(frozen=True)
class Scale:
    """How much is done; `dataclasses.asdict` of it is JSON.

    Attributes:
        images: train images of each class of a slice; half as many to validate on.
        learned: train images of each class that is learned on, for *pooled* and *meta*.
        scratch: shares of the epochs that hwnas takes for so many images, of search and training, for *scratch*.
        levels: shares of the epochs of training for the other rows, which do not search.
        steps: outer steps of the meta-training.
    """

    images: int = 100
    learned: int = 4000
    scratch: tuple[float, ...] = (0.25, 0.5, 1.0)
    levels: tuple[float, ...] = tuple(epochs / 64 for epochs in (1, 2, 3, 4, 5, 6, 8, 12, 16))
    steps: int = 400

    def of(self, name: str) -> tuple[float, ...]:
        """The shares of a row, the largest first."""
        return tuple(sorted(self.scratch if name == "scratch" else self.levels, reverse=True))


def halves(names: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Classes that are learned on, and held-out ones: a half each, drawn."""
    drawn = np.random.default_rng([seed, 11]).permutation(len(names)).tolist()
    return sorted(drawn[: len(names) // 2]), sorted(drawn[len(names) // 2 :])


def sliced(dataset: Dataset, classes: Sequence[int], images: int, seed: int) -> Dataset:
    """Some classes with so many train images each, half as many to validate on, and up to 1,000 test images."""
    rng = np.random.default_rng([seed, 12])

    def part(whole: Images, count: int) -> Images:
        places = [rng.permutation(np.flatnonzero(whole.labels == label))[:count] for label in classes]
        labels = np.repeat(np.arange(len(classes)), [len(one) for one in places])
        return Images(whole.pixels[np.concatenate(places)], labels)

    names = tuple(dataset.classes[label] for label in classes)
    name = f"{dataset.name}/{'+'.join(names)}"
    parts = part(dataset.train, images), part(dataset.val, max(1, images // 2)), part(dataset.test, _TESTED)
    return Dataset(name, names, *parts, dataset.mean, dataset.std, dataset.flip)


def shortened(settings: SearchSettings, share: float) -> SearchSettings:
    """A share of the epochs: at least one of warm-up and one after it."""
    warmup, epochs = (max(1, round(share * count)) for count in (settings.warmup_epochs, settings.epochs))
    return replace(settings, warmup_epochs=warmup, epochs=epochs)


def middle(model: LatencyModel) -> FeasibleSet:
    """A budget in the middle of the range."""
    budget_ms = model.smallest_ms + _BUDGET * (model.largest_ms - model.smallest_ms)
    return feasible_set(latency_constraint(model, model.target_ms(budget_ms)))


def searched(
    space: SearchSpace,
    feasible: FeasibleSet,
    dataset: Dataset,
    start: Start | None,
    settings: SearchSettings,
    seed: int,
    checkpoint: Path,
) -> SearchOutcome:
    """What `gumbel` finds, from the beginning."""
    checkpoint.unlink(missing_ok=True)
    return search(
        space,
        [feasible],
        strategy("gumbel"),
        dataset,
        settings,
        seed=seed,
        device=CPU,
        checkpoint=checkpoint,
        progress=console.progress(quiet=True),
        log=lambda event: None,
        start=start,
    )[0]


class Bench:
    """The rows of one seed on devices that took no part in the learning; what is in `folder` is not done again."""

    def __init__(
        self,
        space: SearchSpace,
        known: Mapping[str, LatencyModel],
        new: Mapping[str, LatencyModel],
        dataset: Dataset,
        scale: Scale,
        seed: int,
        folder: Path,
    ) -> None:
        self.space, self.known, self.new, self.scale, self.seed, self.folder = space, known, new, scale, seed, folder
        learned, held_out = halves(dataset.classes, seed)
        self.first = sliced(dataset, learned, scale.images, seed)
        self.learned = sliced(dataset, learned, scale.learned, seed)
        self.held_out = sliced(dataset, held_out, scale.images, seed)
        self.recipe = Recipe.for_images(len(self.held_out.train))

    def rows(self) -> Iterator[dict[str, Any]]:
        """For every new device, first what scratch reaches with all of its cost, then what each row does with less."""
        for device in self.new:
            for name in ROWS:
                for level in self.scale.of(name):
                    kept = self.folder / f"{name}-{device.replace('/', '-')}-{level:g}.json"
                    if not kept.exists():
                        write_json(kept, self._row(name, device, level) | {"scale": _listed(self.scale)})
                    row = read_json(kept)
                    if row["scale"] != _listed(self.scale):
                        raise InputError(f"{kept} is of another scale", hint="choose another --runs")
                    yield row

    def _row(self, name: str, device: str, level: float) -> dict[str, Any]:
        scratch = name == "scratch"
        start = None if scratch else start_in(self.space, self._initialisation(name), where=name)[0]
        usual = SearchSettings.for_images(len(self.held_out.train))
        settings = shortened(usual, level) if scratch else replace(usual, warmup_epochs=0, epochs=0, candidates=1)
        epochs = max(1, round(level * self.recipe.epochs))
        gently = 1.0 if scratch else fine_tuning(level)
        recipe = replace(self.recipe, epochs=epochs, lr=self.recipe.lr * gently)
        began = time.process_time()
        found = self._found(self.held_out, self.new[device], start, settings, self.folder / "search.safetensors")
        module = found.supernet.extract(found.best.architecture)  # type: ignore[union-attr]
        train(module, self.held_out, recipe, seed=self.seed, device=CPU)
        searched = settings.images(len(self.held_out.train), relaxed=True) if scratch else 0.0
        return {
            "row": name,
            "device": device,
            "level": level,
            "seed": self.seed,
            "accuracy": evaluate(module, self.held_out.test, self.held_out, device=CPU).accuracy,
            "images": searched + epochs * len(self.held_out.train),
            "seconds": time.process_time() - began,
            "choices": list(found.best.architecture.choices),
        }

    def _found(
        self, dataset: Dataset, model: LatencyModel, start: Start | None, settings: SearchSettings, checkpoint: Path
    ) -> SearchOutcome:
        """What a search from the beginning finds."""
        return searched(self.space, middle(model), dataset, start, settings, self.seed, checkpoint)

    def _initialisation(self, name: str) -> Initialisation:
        """Of the search that is meant, made once; *meta* goes on from the weights of *pooled*."""
        if name == "meta":
            return self._meta(self._initialisation("pooled"))
        kept = self.folder / f"{name}.safetensors"
        if not kept.exists():
            dataset = self.first if name == "warm" else self.learned
            device = sorted(self.known)[self.seed % len(self.known)]
            began = self.folder / f"{name}-part.safetensors"
            started = time.process_time()
            settings = SearchSettings.for_images(len(dataset.train))
            self._found(dataset, self.known[device], None, settings, began)
            write_json(self.folder / f"{name}-cost.json", {"seconds": time.process_time() - started})
            began.rename(kept)
        return from_search(kept)

    def _meta(self, earlier: Initialisation) -> Initialisation:
        ways = len(self.learned.classes)
        settings = replace(
            MetaSettings.of("fomaml", ways=ways, shots=10, queries=15),
            inner=Inner(rule="adam", steps=2, lr=1e-3, alpha_lr=0.05),
            head="prototypes",
            augment="small",
            tasks_per_step=1,
            outer_lr=5e-4,
            outer_alpha_lr=1e-2,
            weights_only=0.3,
            steps=self.scale.steps,
            validations=1,
            validation_tasks=2,
        )
        pool = pool_of(self.learned)
        sources = Sources((pool,), (pool,), tuple(self.known.values()))  # nothing is decided by its validation
        training = MetaTraining(self.space, sources, settings, seed=self.seed, device=CPU, start=earlier.weights)
        training.run(checkpoint=self.folder / "meta.safetensors", progress=console.progress(quiet=False))
        alpha = training.learner.known(training.phi[ALPHA].detach())
        return Initialisation(Origin.of(self.space), training.weights(), alpha)


def _listed(scale: Scale) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(scale).items()}


def to_reach(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each row: mean accuracy and cost at each level, and the least cost at which it is as good as scratch.

    Means are over devices and seeds. As good is a mean accuracy of at least that of scratch at its largest level.
    `against` is the mean difference to *warm* at the same level, and its standard error over devices and seeds.
    """
    levels = sorted({row["level"] for row in rows})
    found: list[dict[str, Any]] = []
    for name in ROWS:
        curve = []
        for level in levels:
            group = [row for row in rows if (row["row"], row["level"]) == (name, level)]
            if group:
                means = {key: float(np.mean([row[key] for row in group])) for key in ("accuracy", "images", "seconds")}
                spread = float(np.std([row["accuracy"] for row in group])) / max(1, len(group) - 1) ** 0.5
                curve.append({"level": level, "runs": len(group), "error": spread} | means | _against_warm(group, rows))
        if curve:
            found.append({"row": name, "curve": curve})
    scratch = found[0]["curve"][-1]
    for one in found:
        reached = [point for point in one["curve"] if point["accuracy"] >= scratch["accuracy"]]
        for key in ("images", "seconds"):
            one[f"{key}_to_equal"] = min((point[key] for point in reached), default=None)
            least = one[f"{key}_to_equal"]
            one[f"{key}_factor"] = scratch[key] / least if least else None
    return found


def _against_warm(group: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How much more accurate than *warm* at the same level on the same device with the same seed; empty for others."""

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["device"], row["seed"], row["level"]

    warm = {key(row): row["accuracy"] for row in rows if row["row"] == "warm"}
    off = [row["accuracy"] - warm[key(row)] for row in group if key(row) in warm]
    if len(off) < 2 or group[0]["row"] in ("scratch", "warm"):
        return {}
    return {"against": [float(np.mean(off)), float(np.std(off, ddof=1) / len(off) ** 0.5)]}
