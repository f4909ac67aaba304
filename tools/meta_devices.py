"""New devices and new classes of `bench_meta.py`: what searches cost from scratch, and from what was learned."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hwnas.arch.space import SearchSpace
from hwnas.cli import console
from hwnas.data import Dataset, Images
from hwnas.errors import InputError
from hwnas.files import read_json, write_json
from hwnas.latency.model import LatencyModel
from hwnas.meta.adapt import ALPHA
from hwnas.meta.earlier import from_search
from hwnas.meta.initialisation import Initialisation
from hwnas.meta.pools import pool_of
from hwnas.meta.settings import MetaSettings
from hwnas.meta.train import MetaTraining, Sources
from hwnas.meta.transfer import start_in
from hwnas.search.engine import search
from hwnas.search.limits import Limits, latency_limit
from hwnas.search.origin import Origin
from hwnas.search.settings import SearchSettings
from hwnas.search.start import Start
from hwnas.search.strategies import strategy
from hwnas.train import Recipe, evaluate, train

CPU = torch.device("cpu")
ROWS = ("scratch", "warm", "meta")
_BUDGET = 0.5  # of each device's range


@dataclass(frozen=True)
class Scale:
    """How much is done; `dataclasses.asdict` of it is JSON.

    Attributes:
        images: train images of each class; half as many to validate on.
        share: of the epochs that hwnas takes for so many images, which are what *scratch* takes.
        levels: shares of these in which each row tries to be as good.
        steps: outer steps of the meta-training.
    """

    images: int = 100
    share: float = 1.0
    levels: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0)
    steps: int = 200


def halves(names: Sequence[str], seed: int) -> tuple[list[int], list[int]]:
    """Classes that are learned on, and held-out ones: a half each, drawn."""
    drawn = np.random.default_rng([seed, 11]).permutation(len(names)).tolist()
    return sorted(drawn[: len(names) // 2]), sorted(drawn[len(names) // 2 :])


def sliced(dataset: Dataset, classes: Sequence[int], images: int, seed: int) -> Dataset:
    """Some classes with so many train images each, half as many to validate on, and up to 200 test images."""
    rng = np.random.default_rng([seed, 12])

    def part(whole: Images, count: int) -> Images:
        places = [rng.permutation(np.flatnonzero(whole.labels == label))[:count] for label in classes]
        labels = np.repeat(np.arange(len(classes)), [len(one) for one in places])
        return Images(whole.pixels[np.concatenate(places)], labels)

    names = tuple(dataset.classes[label] for label in classes)
    name = f"{dataset.name}/{'+'.join(names)}"
    parts = part(dataset.train, images), part(dataset.val, max(1, images // 2)), part(dataset.test, 200)
    return Dataset(name, names, *parts, dataset.mean, dataset.std, dataset.flip)


def shortened(settings: SearchSettings, share: float) -> SearchSettings:
    """A share of the epochs: at least one of warm-up and one after it."""
    warmup, epochs = (max(1, round(share * count)) for count in (settings.warmup_epochs, settings.epochs))
    return replace(settings, warmup_epochs=warmup, epochs=epochs)


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
        self.learned = sliced(dataset, learned, scale.images, seed)
        self.held_out = sliced(dataset, held_out, scale.images, seed)
        self.search_settings = SearchSettings.for_images(len(self.held_out.train))
        self.recipe = Recipe.for_images(len(self.held_out.train))

    def rows(self) -> Iterator[dict[str, Any]]:
        """For every new device, first what scratch reaches with all of its cost, then what each row does with less."""
        for device in self.new:
            for name in ROWS:
                for level in sorted(self.scale.levels, reverse=name == "scratch"):
                    kept = self.folder / f"{name}-{device.replace('/', '-')}-{level:g}.json"
                    if not kept.exists():
                        write_json(kept, self._row(name, device, level) | {"scale": asdict(self.scale)})
                    row = read_json(kept)
                    if row["scale"] != asdict(self.scale) | {"levels": list(self.scale.levels)}:
                        raise InputError(f"{kept} is of another scale", hint="choose another --runs")
                    yield row

    def _row(self, name: str, device: str, level: float) -> dict[str, Any]:
        start = None if name == "scratch" else start_in(self.space, self._initialisation(name), where=name)[0]
        share = level * self.scale.share
        began = time.process_time()
        kept = self.folder / "search.safetensors"
        kept.unlink(missing_ok=True)
        choices, images, accuracy = self._found(self.held_out, self.new[device], start, share, kept)
        return {
            "row": name,
            "device": device,
            "level": level,
            "seed": self.seed,
            "accuracy": accuracy,
            "images": images,
            "seconds": time.process_time() - began,
            "choices": list(choices),
        }

    def _found(
        self, dataset: Dataset, model: LatencyModel, start: Start | None, share: float, checkpoint: Path
    ) -> tuple[tuple[int, ...], float, float]:
        """Choices of a search with training, the images that both saw, and the accuracy on test images."""
        budget_ms = model.smallest_ms + _BUDGET * (model.largest_ms - model.smallest_ms)
        settings = shortened(self.search_settings, share)
        found = search(
            self.space,
            [Limits(latency_limit(model, model.target_ms(budget_ms)))],
            strategy("gumbel"),
            dataset,
            settings,
            seed=self.seed,
            device=CPU,
            checkpoint=checkpoint,
            progress=console.progress(quiet=True),
            log=lambda event: None,
            start=start,
        )[0]
        assert found.supernet is not None
        module = found.supernet.extract(found.best.architecture)
        recipe = replace(self.recipe, epochs=max(1, round(share * self.recipe.epochs)))
        train(module, dataset, recipe, seed=self.seed, device=CPU)
        images = settings.images(len(dataset.train), relaxed=True) + recipe.epochs * len(dataset.train)
        accuracy = evaluate(module, dataset.test, dataset, device=CPU).accuracy
        return found.best.architecture.choices, images, accuracy

    def _initialisation(self, name: str) -> Initialisation:
        """From a search on the classes and on one of the devices that are known; *meta* goes on from its weights."""
        first = self.folder / "first.safetensors"
        if not first.exists():
            device = sorted(self.known)[self.seed % len(self.known)]
            began = self.folder / "first-part.safetensors"
            self._found(self.learned, self.known[device], None, self.scale.share, began)
            began.rename(first)
        earlier = from_search(first)
        if name == "warm":
            return earlier
        pool = pool_of(self.learned)
        usual = MetaSettings.of("reptile", ways=len(self.learned.classes))
        settings = replace(usual, steps=self.scale.steps, validations=1, validation_tasks=2, weights_only=0.3)
        sources = Sources((pool,), (pool,), tuple(self.known.values()))  # nothing is decided by its validation
        training = MetaTraining(self.space, sources, settings, seed=self.seed, device=CPU, start=earlier.weights)
        training.run(checkpoint=self.folder / "meta.safetensors", progress=console.progress(quiet=False))
        alpha = training.learner.known(training.phi[ALPHA].detach())
        return Initialisation(Origin.of(self.space), training.weights(), alpha)


def to_reach(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each row: mean accuracy and cost at each level, and the least cost at which it is as good as scratch.

    Means are over devices and seeds. As good is a mean accuracy of at least that of scratch at its largest level.
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
                curve.append({"level": level, "runs": len(group), "error": spread} | means)
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
