"""The ranks beside the first one: they follow it in the trainings of a run, and wait in all else that it does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import torch
from torch import nn

from hwnas.arch.network import Network
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import space_instance
from hwnas.backends.torch import network_module
from hwnas.config import Configuration
from hwnas.data import Dataset, resized
from hwnas.errors import DivergedError, InputError
from hwnas.image_size import Size
from hwnas.nas.make_loop import following_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategy
from hwnas.run.context import RunContext
from hwnas.run.images import images_of
from hwnas.run.plan import Plan
from hwnas.schema import checked
from hwnas.train import Recipe, mixed_precision, training_session
from hwnas.train.ranks import Ranks
from hwnas.train.training import follow


def tell_run(ranks: Ranks, plan: Plan, dataset: Dataset) -> None:
    """Tell the other ranks what a run is about: its options as they were settled, the space, and the images."""
    if ranks.count == 1:
        return
    _, *size = plan.space.input_shape
    ranks.tell(
        {
            "config": plan.config.to_json(),
            "size": size,
            "channels": dataset.channels,
            "classes": len(dataset.classes),
            "options": plan.constrained.kept,
            "mean": dataset.mean,
            "std": dataset.std,
            "images": dataset.digest(),
        }
    )


def tell_training(run: RunContext, choices: tuple[int, ...], recipe: Recipe, teacher: nn.Module | None) -> None:
    """Tell the other ranks that a network is trained next, and give them its teacher."""
    parent = run.plan.parent
    taught = None if teacher is None or parent is None else parent.network_for(run.plan.space).to_json()
    network = run.network(choices).to_json()
    run.ranks.tell({"job": "train", "network": network, "recipe": asdict(recipe), "teacher": taught})
    if teacher is not None:
        run.ranks.give(teacher.state_dict())


def followed(ranks: Ranks, device: torch.device, dataset: Dataset | None) -> dict[str, Any]:
    """Take part in the trainings of a run until it ends; its result, as the first rank has it.

    Args:
        dataset: takes the place of what the configuration names.

    Raises:
        InputError: this rank has other images than the first one.
        LostRankError: a rank is gone, or the first one ended with an error, which it tells.
    """
    told = ranks.heard()
    if "result" not in told:
        run = _Followed.of(told, ranks, device, dataset)
        compute = run.config.compute
        with training_session(compute.seed, compute.threads), mixed_precision(device, on=compute.mixed_precision):
            while "result" not in (told := ranks.heard()):
                with suppress(DivergedError):  # of which the first rank tells
                    run.search(told) if told["job"] == "search" else run.train(told)
    result: dict[str, Any] = told["result"]
    return result


@dataclass(frozen=True)
class _Followed:
    """What a rank knows of the run that it takes part in."""

    config: Configuration
    space: SearchSpace
    dataset: Dataset
    device: torch.device
    ranks: Ranks

    @classmethod
    def of(cls, told: Mapping[str, Any], ranks: Ranks, device: torch.device, dataset: Dataset | None) -> Self:
        config, size = Configuration.model_validate(told["config"]), Size(*told["size"])
        space = space_instance(
            config.space.name,
            width=config.space.width,
            depth=config.space.depth,
            resolution=size,
            channels=told["channels"],
            classes=told["classes"],
        ).restricted([tuple(options) for options in told["options"]])
        images = resized(images_of(config, size) if dataset is None else dataset, size)
        if images.digest() != told["images"]:
            raise InputError(
                f"every process must have the same images, but those of process {ranks.index} differ from the first's",
                hint="give all machines the same files at the same path",
            )
        return cls(config, space, replace(images, mean=tuple(told["mean"]), std=tuple(told["std"])), device, ranks)

    def search(self, told: Mapping[str, Any]) -> None:
        """Train the supernet."""
        following_loop(
            self.space,
            strategy(self.config.search.strategy),
            self.dataset,
            checked(told["settings"], SearchSettings, "what the first rank tells"),
            budgets=told["budgets"],
            seed=self.config.compute.seed,
            device=self.device,
            ranks=self.ranks,
        ).follow()

    def train(self, told: Mapping[str, Any]) -> None:
        """Train a network."""
        teacher = None
        if told["teacher"] is not None:
            teacher = network_module(Network.from_json(told["teacher"]))
            teacher.load_state_dict(self.ranks.taken())
        follow(
            network_module(Network.from_json(told["network"])),
            self.dataset,
            Recipe(**told["recipe"]),
            seed=self.config.compute.seed,
            device=self.device,
            ranks=self.ranks,
            teacher=teacher,
        )
