"""Few-shot tasks of `bench_meta.py`: one alphabet held out to validate on, one to test on, and a row for each start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from meta_parts import Split, mean_and_error, ordinary, with_classes

from hwnas.arch.network import Network
from hwnas.backends.torch import network_module
from hwnas.cli import console
from hwnas.errors import InputError
from hwnas.files import write_json
from hwnas.meta.inner_loop import Inner, Params
from hwnas.meta.learner import NORMS, Learner
from hwnas.meta.meta_settings import MetaSettings
from hwnas.meta.pools import ClassPool
from hwnas.meta.problem import problem_of
from hwnas.meta.tasks import Shape, Task, draw
from hwnas.meta.train import MetaTraining, Sources
from hwnas.schema import read_json
from hwnas.train import Recipe, train

CPU = torch.device("cpu")
META = ("reptile", "fomaml", "episodes")
TRAINED = ("protonet", "warm", *META)
ROWS = ("scratch", *TRAINED)
STILL = Inner(steps=1, lr=0.0)
"""An inner loop that changes nothing: with a head of prototypes, FOMAML is then a prototypical network."""


@dataclass(frozen=True)
class Scale:
    """How much is done; `dataclasses.asdict` of it is JSON.

    Attributes:
        ways: classes of a task.
        epochs: of the ordinary training that `warm` starts from.
        steps: outer steps of each meta-training.
        protonet_steps: episodes of the prototypical network.
        tasks: test tasks for each seed.
        validation_tasks: with five query images of each class.
    """

    ways: int = 20
    epochs: int = 6
    steps: int = 150
    protonet_steps: int = 400
    tasks: int = 20
    validation_tasks: int = 8


@dataclass(frozen=True)
class Adaptation:
    """What is done with the support set: a head, and some steps of Adam from there."""

    head: str
    steps: int
    lr: float

    @property
    def inner(self) -> Inner:
        return Inner(rule="adam", steps=self.steps, lr=self.lr) if self.steps else STILL

    def __str__(self) -> str:
        return f"{self.head} head, {self.steps} steps" + (f" at {self.lr:g}" if self.steps else "")


_STILL = Adaptation("prototypes", 0, 0.0)
_MOVED = (_STILL, Adaptation("prototypes", 5, 1e-3), Adaptation("prototypes", 20, 1e-3))
_LEARNED = Adaptation("learned", 30, 3e-3)
ADAPTATIONS = {
    "scratch": (_STILL, _LEARNED),
    "protonet": (_STILL,),
    "warm": (*_MOVED, _LEARNED),
    "reptile": _MOVED,
    "fomaml": _MOVED,
    "episodes": _MOVED,
}
"""What each row may do with a support set; the best on validation tasks is taken."""


class Bench:
    """The rows of one seed; what is in `folder` is not done again."""

    def __init__(
        self, parts: Mapping[str, Split], networks: Mapping[str, Network], scale: Scale, seed: int, folder: Path
    ) -> None:
        """Prepare a seed.

        Args:
            parts, networks: by `chain` and `conv4`, each at its own resolution.
        """
        self.parts, self.networks, self.scale, self.seed, self.folder = parts, networks, scale, seed, folder
        self.shape = Shape(scale.ways, 1, 5, within=True)

    def rows(self, names: Sequence[str] = ROWS) -> Iterator[dict[str, Any]]:
        """One after the other, as they are done."""
        for name in names:
            kept = self.folder / f"{name}.json"
            if not kept.exists():
                write_json(kept, self._row(name))
            row = read_json(kept)
            if row["scale"] != asdict(self.scale):
                raise InputError(f"{kept} is of another scale", hint="choose another --runs")
            yield row

    def _row(self, name: str) -> dict[str, Any]:
        kind = "conv4" if name == "protonet" else "chain"
        network, part = self.networks[kind], self.parts[kind]
        learner = self._learner(network, 0)
        state, facts = self._trained(name) if name in TRAINED else ({}, {"images": 0, "history": []})
        choices = ADAPTATIONS[name]
        valid = [self._task(part.valid, self.shape, (3, index)) for index in range(self.scale.validation_tasks)]
        tried = {choice: self._errors(network, learner, state, valid, choice) for choice in choices}
        best = min(choices, key=lambda choice: float(np.mean(tried[choice]["transductive"])))
        one = replace(self.shape, queries=1)
        tested = [self._task(part.test, one, (4, index)) for index in range(self.scale.tasks)]
        return {
            "row": name,
            "seed": self.seed,
            "scale": asdict(self.scale),
            "test": sorted({name.rpartition("/")[0] for name in part.test.classes}),
            "validation": {str(choice): float(np.mean(found["transductive"])) for choice, found in tried.items()},
            "adaptation": str(best),
            "errors": self._errors(network, learner, state, tested, best),
            "network": kind,
        } | facts

    def _trained(self, name: str) -> tuple[Params, dict[str, Any]]:
        """Weights, and what they took."""
        scale, part = self.scale, self.parts["chain"]
        if name == "warm":
            data = ordinary(part.train)
            classes = len(data.classes)
            torch.manual_seed(self.seed)
            module = network_module(with_classes(self.networks["chain"], classes))
            recipe = Recipe(epochs=scale.epochs, warmup_epochs=1.0, weight_decay=0.02)
            kept = self.folder / "warm.safetensors"
            progress = console.progress(quiet=False)
            train(module, data, recipe, seed=self.seed, device=CPU, checkpoint=kept, progress=progress, label=name)
            state = {key: value for key, value in module.state_dict().items() if not key.startswith("classifier.")}
            return state, {"images": scale.epochs * len(data.train), "history": []}
        start, before = ({}, 0) if name in ("protonet", "episodes") else self._after_warm()
        kind = "conv4" if name == "protonet" else "chain"
        settings = settings_of(name, scale)
        part = self.parts[kind]
        training = MetaTraining(
            self.networks[kind],
            Sources((part.train,), (part.valid,)),
            settings,
            seed=self.seed,
            device=CPU,
            start=start,
        )
        training.run(checkpoint=self.folder / f"{name}.safetensors", progress=console.progress(quiet=False))
        images = images_of(settings)
        history = [[before + step * images, accuracy, error] for step, accuracy, error in training.history]
        return training.weights(), {"images": before + settings.steps * images, "history": history}

    def _after_warm(self) -> tuple[Params, int]:
        state, facts = self._trained("warm")
        return state, int(facts["images"])

    def _errors(
        self, network: Network, learner: Learner, state: Params, tasks: Sequence[Task], choice: Adaptation
    ) -> dict[str, list[float]]:
        """Of each task, by where batch norms take their statistics from; without a state every task starts anew."""
        settings = MetaSettings(inner=choice.inner, head=choice.head)
        found: dict[str, list[float]] = {norm: [] for norm in NORMS[:2]}
        for index, task in enumerate(tasks):
            fresh = learner if state else self._learner(network, index)
            init = {name: state.get(name, value) for name, value in fresh.fresh().items()}
            rng = np.random.default_rng([self.seed, 5, index])
            params = problem_of(learner, task, settings, rng, {}).adapted(init, choice.inner)
            for norm, errors in found.items():
                with torch.no_grad():
                    statistics = learner.query_statistics(norm, params, task.support[0], {})  # type: ignore[arg-type]
                    logits = learner.logits(params, task.query[0], statistics=statistics)
                errors.append(float((logits.argmax(1) != task.query[1]).double().mean()))
        return found

    def _learner(self, network: Network, index: int) -> Learner:
        torch.manual_seed(1000 * self.seed + index)
        return Learner(network_module(network))

    def _task(self, pool: ClassPool, shape: Shape, key: tuple[int, int]) -> Task:
        return draw(pool, shape, np.random.default_rng([self.seed, *key]), CPU)


def settings_of(name: str, scale: Scale) -> MetaSettings:
    """Of the meta-training of a row."""
    method = "reptile" if name == "reptile" else "fomaml"
    shape = Shape(
        scale.ways, 2 if method == "reptile" else 1, 1 if method == "reptile" else 4, within=True, rotate=True
    )
    inner = Inner(rule="adam", steps=5 if method == "reptile" else 2, lr=1e-3)
    return MetaSettings(
        method,
        shape,
        Shape(scale.ways, 1, 5, within=True),
        STILL if name in ("protonet", "episodes") else inner,
        batch_size=20 if method == "reptile" else 0,
        outer_lr=0.5 if method == "reptile" else 1e-3,
        weights_only=1.0,
        head="prototypes",
        augment="strong",
        steps=scale.protonet_steps if name == "protonet" else scale.steps,
        validations=5,
        validation_tasks=scale.validation_tasks,
    )


def images_of(settings: MetaSettings) -> int:
    """Images of an outer step: those of the head, of the inner steps and of the query set."""
    shape = settings.shape
    support = shape.ways * shape.shots
    steps = (settings.batch_size or support) * settings.inner.steps if settings.inner.lr else 0
    return support + steps + (shape.ways * shape.queries if settings.method != "reptile" else 0)


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean error of each row over all test tasks of all seeds, with its standard error; and *meta*, the best method.

    Which method is best is decided for each seed by the error on validation tasks.
    """
    chosen = list(rows)
    for seed in sorted({row["seed"] for row in rows}):
        learned = [row for row in rows if row["seed"] == seed and row["row"] in META]
        if len(learned) > 1:
            chosen.append({**min(learned, key=lambda row: min(row["validation"].values())), "row": "meta"})
    found = []
    for name in (*ROWS, "meta"):
        group = [row for row in chosen if row["row"] == name]
        if group:
            one: dict[str, Any] = {"row": name, "network": group[0]["network"], "seeds": len(group)}
            one |= {"images": group[0]["images"], "adaptations": sorted({row["adaptation"] for row in group})}
            for norm in NORMS[:2]:
                errors = [error for row in group for error in row["errors"][norm]]
                one[norm] = mean_and_error(errors)
                one["tasks"] = len(errors)
            off = _less(group, [row for row in rows if row["row"] == "protonet"])
            one["less_protonet"] = mean_and_error(off) if len(off) > 1 and name != "protonet" else None
            found.append(one)
    return found


def _less(group: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> list[float]:
    """Differences of errors on the same tasks: those of a seed are the same for every row."""
    errors = {row["seed"]: row["errors"]["transductive"] for row in others}
    pairs = [(row["errors"]["transductive"], errors[row["seed"]]) for row in group if row["seed"] in errors]
    return [one - other for own, theirs in pairs for one, other in zip(own, theirs, strict=True)]
