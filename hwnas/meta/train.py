"""Meta-training: one outer step after the other on drawn tasks; stopped anywhere, it ends with the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwnas.arch.network import Network
from hwnas.arch.space import SearchSpace
from hwnas.backends.torch import network_module
from hwnas.errors import DivergedError, InputError
from hwnas.files import sha256
from hwnas.latency.model import LatencyModel
from hwnas.meta.inner_loop import ALPHA, Params
from hwnas.meta.learner import Learner
from hwnas.meta.meta_settings import MetaSettings
from hwnas.meta.outer import outer_gradient
from hwnas.meta.pools import ClassPool
from hwnas.meta.problem import adapted_accuracy, problem_of
from hwnas.meta.tasks import Task, augmented, check, draw, with_device
from hwnas.nas.supernet import Supernet
from hwnas.progress import Progress
from hwnas.schema import checked
from hwnas.train import checkpoint as store

_BUFFERS_EVERY, _BUFFER_RATE = 10, 0.3  # outer steps, and how far the running statistics go: all options compute


@dataclass(frozen=True)
class Sources:
    """What tasks are drawn from.

    Attributes:
        train, held_out: pools of images of disjoint classes; each task is of one pool.
        models: costs on known devices, of which devices are made up; none for tasks without a budget.
    """

    train: tuple[ClassPool, ...]
    held_out: tuple[ClassPool, ...]
    models: tuple[LatencyModel, ...] = ()


@dataclass(frozen=True)
class _Kept:
    """What a checkpoint says besides its tensors."""

    steps_done: int
    history: list[tuple[int, float, float]]


class MetaTraining:
    """The state of one meta-training: the initialisation, its optimiser, and how well held-out classes did."""

    def __init__(
        self,
        space: SearchSpace | Network,
        sources: Sources,
        settings: MetaSettings,
        *,
        seed: int,
        device: torch.device,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Start at random, or where `start` says.

        Args:
            space: whose supernet learns; or a network, which learns weights and has no α.
            start: weights and statistics to begin with, by their names, as many as there are.

        Raises:
            InputError: tasks of the asked shape cannot be drawn.
        """
        for pools, shape in ((sources.train, settings.shape), (sources.held_out, settings.validation)):
            for pool in pools:
                check(pool, shape)
        torch.manual_seed(seed)
        self.space, self.sources, self.settings = space, sources, settings
        self.seed, self.device = seed, device
        options = () if isinstance(space, Network) else space.options
        module = network_module(space) if isinstance(space, Network) else Supernet(space)
        with torch.no_grad():
            for name, value in module.state_dict().items():
                value.copy_((start or {}).get(name, value))
        self.learner = Learner(module.to(device), options)
        self.phi = {name: value.requires_grad_() for name, value in self.learner.fresh().items()}
        self.began = sha256(b"".join(value.detach().numpy(force=True).tobytes() for value in self.phi.values()))
        self.running = {name: value.clone() for name, value in self.learner.buffers.items()}
        weights = [value for name, value in self.phi.items() if name != ALPHA]
        groups = [
            {"params": weights, "lr": settings.outer_lr, "largest": settings.outer_lr},
        ]
        if ALPHA in self.phi:
            largest = settings.outer_alpha_lr
            groups.append({"params": [self.phi[ALPHA]], "lr": largest, "largest": largest})
        make = torch.optim.SGD if settings.method == "reptile" else torch.optim.Adam
        self.optimizer: torch.optim.Optimizer = make(groups)
        self.history: list[list[float]] = []

    def run(self, *, checkpoint: Path, progress: Progress) -> None:
        """Train to the end, from `checkpoint` if it is there.

        Raises:
            DivergedError: an outer gradient is not finite.
            InputError: the checkpoint is damaged or belongs to another meta-training.
            StorageError: the checkpoint cannot be written.
        """
        settings = self.settings
        done = self.restore(checkpoint) if checkpoint.exists() else 0
        with progress.track("meta-train", settings.steps, done=done) as advance:
            if not done:
                self.validate(0)
                self.save(checkpoint, 0)
            for step in range(done, settings.steps):
                self.step(step)
                if settings.validates_after(step + 1):
                    self.validate(step + 1)
                    self.save(checkpoint, step + 1)
                _, accuracy, error = self.history[-1]
                advance(1, f"meta-validation accuracy {accuracy:.3f} ± {error:.3f}")

    def step(self, step: int) -> None:
        """One outer step, counted from 0. All chance in it comes from (seed, step)."""
        settings = self.settings
        init = self.initial(step)
        total = {name: torch.zeros_like(value) for name, value in init.items()}
        for turn in range(settings.tasks_per_step):
            rng = np.random.default_rng([self.seed, 1, step, turn])
            task = self.task(self.sources.train, rng, training=True)
            task = augmented(task, rng, settings.augment)
            problem = problem_of(self.learner, task, settings, rng, self.running)
            gradient = outer_gradient(settings.method)(init, problem, settings.inner)
            for name, value in gradient.items():
                total[name] += value / settings.tasks_per_step
        self._check(total, step)
        for name, value in self.phi.items():
            value.grad = total.get(name)
        for group in self.optimizer.param_groups:
            group["lr"] = group["largest"] * settings.anneal(step)
        self.optimizer.step()
        if step % _BUFFERS_EVERY == 0:
            now = self.learner.statistics(self.initial(step), task.support[0])
            for name, buffer in self.running.items():
                buffer.lerp_(now[name], _BUFFER_RATE)

    def validate(self, step: int) -> None:
        """Adapt to tasks of held-out classes, the same every time; mean accuracy and its standard error."""
        init, found = self.initial(step), []
        for index in range(self.settings.validation_tasks):
            rng = np.random.default_rng([self.seed, 2, index])
            task = self.task(self.sources.held_out, rng, training=False)
            found.append(adapted_accuracy(self.learner, init, task, self.settings, rng, self.running))
        self.history.append([step, float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(len(found)))])

    def task(self, pools: Sequence[ClassPool], rng: np.random.Generator, *, training: bool) -> Task:
        """A task of one of the pools, on a made-up device if there are any to make it up from."""
        shape = self.settings.shape if training else self.settings.validation
        task = draw(pools[int(rng.integers(len(pools)))], shape, rng, self.device)
        return with_device(task, self.sources.models, rng)

    def initial(self, step: int) -> Params:
        """The parameters that tasks adapt in an outer step: without α as long as only weights are learned."""
        left_out = {ALPHA} if step < self.settings.first_alpha_step else set()
        return {name: value.detach() for name, value in self.phi.items() if name not in left_out}

    def weights(self) -> Params:
        """What was learned, by the names of the supernet's state."""
        learned = {name: value.detach() for name, value in self.phi.items() if name != ALPHA}
        return learned | self.running

    def save(self, path: Path, steps_done: int) -> None:
        tensors = self._tensors() | store.pack_optimizer(self.optimizer, "optimizer.")
        store.save(path, tensors, {"run": self.digest(), "steps_done": steps_done, "history": self.history})

    def restore(self, path: Path) -> int:
        """Take the state from `path`; the number of steps that it has behind it."""
        stored, info = store.load(path)
        if info.get("run") != self.digest():
            raise InputError(
                f"{path} belongs to a meta-training with other settings, images, devices or seed",
                hint="give the same options as before, another --out, or --force to start again",
            )
        kept = checked(info, _Kept, path)
        store.copy_into(self._tensors(), stored, path)
        store.unpack_optimizer(self.optimizer, stored, "optimizer.")
        self.history = [list(entry) for entry in kept.history]
        return kept.steps_done

    def digest(self) -> str:
        """Names this meta-training: what was asked for, and what it draws from."""
        pools = [[pool.name, pool.classes, _pixels(pool)] for pool in self.sources.train + self.sources.held_out]
        identity: dict[str, Any] = {
            "space": self.space.to_json() if isinstance(self.space, Network) else self.space.signature,
            "start": self.began,
            "settings": asdict(self.settings),
            "seed": self.seed,
            "pools": pools,
            "models": [model.to_json() for model in self.sources.models],
        }
        return sha256(json.dumps(identity).encode())

    def _tensors(self) -> Params:
        phi = {f"phi.{name}": value for name, value in self.phi.items()}
        return phi | {f"running.{name}": value for name, value in self.running.items()}

    def _check(self, gradient: Mapping[str, Tensor], step: int) -> None:
        norm = math.sqrt(sum(float(value.square().sum()) for value in gradient.values()))
        if not math.isfinite(norm):
            raise DivergedError(
                f"an outer gradient must be finite, but that of step {step + 1} of {self.settings.steps} has the "
                f"norm {norm}",
                hint="use a smaller --inner-lr, or fewer --inner-steps",
            )


def _pixels(pool: ClassPool) -> str:
    return sha256(pool.images.pixels.tobytes() + pool.images.labels.tobytes())
