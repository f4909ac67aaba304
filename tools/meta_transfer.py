"""Architectures across tasks, for `bench_meta.py`: decoded from the α of another task with 0, 10, 100 % of a search."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from meta_devices import middle, searched, sliced
from meta_parts import mean_and_error

from hwnas.arch.space import Architecture, SearchSpace
from hwnas.data import Dataset
from hwnas.files import write_json
from hwnas.latency.model import LatencyModel
from hwnas.meta.earlier import from_search
from hwnas.meta.reuse import start_in
from hwnas.nas.engine import SearchOutcome
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.start import Start
from hwnas.nas.supernet import Supernet
from hwnas.schema import read_json
from hwnas.train import Recipe, evaluate, train

CPU = torch.device("cpu")
SHARES = (0.0, 0.1, 1.0)
ROWS = ("random", "scratch", *(f"transferred, {share:.0%} of a search" for share in SHARES))


@dataclass(frozen=True)
class Task:
    """Images, the space that fits them, and what it costs on a device."""

    dataset: Dataset
    space: SearchSpace
    model: LatencyModel


class Bench:
    """The rows of one seed and one direction; what is in `folder` is not done again.

    Every network is trained alike, with the usual epochs, from the weights of its own search, or from random ones where
    there was none; only α is transferred.
    """

    def __init__(self, source: Task, target: Task, images: int, seed: int, folder: Path) -> None:
        """Prepare a direction.

        Args:
            images: of each class; the classes of a task are all that it has.
        """
        self.seed, self.folder = seed, folder
        self.source, self.target = (
            replace(task, dataset=sliced(task.dataset, range(len(task.dataset.classes)), images, seed))
            for task in (source, target)
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        for name in ROWS:
            kept = self.folder / f"{name.replace(', ', '-').replace(' ', '-').replace('%', '')}.json"
            if not kept.exists():
                write_json(kept, self._row(name))
            yield read_json(kept)

    def _row(self, name: str) -> dict[str, Any]:
        images = len(self.target.dataset.train)
        usual = SearchSettings.for_images(images)
        start = self._alpha() if name.startswith("transferred") else None
        share = SHARES[ROWS.index(name) - 2] if start else float(name == "scratch")
        none = replace(usual, warmup_epochs=0, epochs=0, candidates=1)
        began = time.process_time()
        if name == "random":
            torch.manual_seed(self.seed)
            feasible = middle(self.target.model)
            supernet = Supernet(self.target.space)
            choices = Architecture(self.target.space.name, feasible.sample(np.random.default_rng([self.seed, 21])))
        else:
            kept = self.folder / "search.safetensors"
            found = _found(self.target, start, usual.shortened(share) if share else none, self.seed, kept)
            assert found.supernet is not None
            supernet, choices = found.supernet, found.best.architecture
        module = supernet.extract(choices)
        searched_s = time.process_time() - began
        train(module, self.target.dataset, Recipe.for_images(images), seed=self.seed, device=CPU)
        return {
            "row": name,
            "source": self.source.dataset.name.partition("/")[0],
            "target": self.target.dataset.name.partition("/")[0],
            "seed": self.seed,
            "accuracy": evaluate(module, self.target.dataset.test, self.target.dataset, device=CPU).accuracy,
            "search_s": searched_s,
            "ms": self.target.model.predict_ms(choices.choices),
            "budget_ms": (self.target.model.smallest_ms + self.target.model.largest_ms) / 2,
        }

    def _alpha(self) -> Start:
        """α alone, of a whole search on the source; made once."""
        kept = self.folder / "source.safetensors"
        if not kept.exists():
            began = self.folder / "source-part.safetensors"
            settings = SearchSettings.for_images(len(self.source.dataset.train))
            _found(self.source, None, settings, self.seed, began)
            began.rename(kept)
        return Start(alpha=start_in(self.target.space, from_search(kept), where="source")[0].alpha)


def _found(task: Task, start: Start | None, settings: SearchSettings, seed: int, checkpoint: Path) -> SearchOutcome:
    return searched(task.space, middle(task.model), task.dataset, start, settings, seed, checkpoint)


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean accuracy of each row in each direction, with its standard error over seeds and the difference to scratch."""
    found: list[dict[str, Any]] = []
    for source, target in sorted({(row["source"], row["target"]) for row in rows}):
        own = [row for row in rows if (row["source"], row["target"]) == (source, target)]
        scratch = {row["seed"]: row["accuracy"] for row in own if row["row"] == "scratch"}
        for name in ROWS:
            group = [row for row in own if row["row"] == name]
            if not group:
                continue
            off = [row["accuracy"] - scratch[row["seed"]] for row in group if row["seed"] in scratch]
            found.append(
                {
                    "row": name,
                    "source": source,
                    "target": target,
                    "seeds": len(group),
                    "accuracy": mean_and_error([row["accuracy"] for row in group]),
                    "against_scratch": mean_and_error(off),
                    "search_s": float(np.mean([row["search_s"] for row in group])),
                    "use": float(np.mean([row["ms"] / row["budget_ms"] for row in group])),
                }
            )
    return found
