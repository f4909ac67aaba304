"""Train one network on one data set; stopped at any point, it goes on and ends with the same bytes."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hwnas.data import Dataset, batches
from hwnas.errors import DivergedError, InputError
from hwnas.files import sha256
from hwnas.progress import Progress, Silent
from hwnas.train import checkpoint as store
from hwnas.train.ema import ModelEma
from hwnas.train.micro_batches import image_shares, micro_batches
from hwnas.train.mixing import Mixing
from hwnas.train.norms import train_with_kept_statistics
from hwnas.train.ranks import ALONE, Ranks
from hwnas.train.rates import rate_groups
from hwnas.train.recipe import Recipe
from hwnas.train.regularizers import Regularizers
from hwnas.train.teacher import Teacher

REPORT_EVERY = 50
_SILENT = Silent()

Shorten = Callable[[Recipe, int, float], Recipe]
"""The recipe to go on with, from that so far, the epochs behind it, and the seconds that one takes."""


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: Progress = _SILENT,
    label: str = "train",
    teacher: nn.Module | None = None,
    shorten: Shorten | None = None,
    ranks: Ranks = ALONE,
) -> Recipe:
    """Train `model` in place, on `device`; it stays there, in eval mode, with its averaged weights and buffers.

    AdamW on cross entropy with label smoothing and class weights, linear warm-up then cosine, clipped gradients. With
    `checkpoint` the state is stored there after every epoch, and a run that finds its file continues from it: with
    the same arguments, on the CPU with the same thread count, the result is the same to the bit. Progress counts
    batches.

    Args:
        teacher: whose predictions are learned as well, as far as the recipe weighs them (`distil_weight`).
        shorten: asked after every epoch from the second one of this process on, before its checkpoint is stored; what
            a first one takes, which fills caches, does not count.
        ranks: that train it together, of which this is the first; the others call `follow`.

    Returns:
        The recipe as it was followed.

    Raises:
        DivergedError: the loss or its gradient is not a finite number.
        InputError: the checkpoint is damaged or belongs to another run; the recipe asks for a teacher, or for rates by
            stage, and there is none, or no stages.
        StorageError: the checkpoint cannot be written.
    """
    run = Training(model, dataset, recipe, seed, device, teacher, ranks)
    done = run.restore(checkpoint) if checkpoint is not None and checkpoint.exists() else 0
    ranks.give(run.state())
    pace = _Pace(done)
    with progress.track(label, recipe.epochs * run.steps, done=done * run.steps) as advance:
        while (epoch := done) < run.recipe.epochs:
            ranks.tell({"epoch": epoch, "recipe": asdict(run.recipe)})
            total = 0.0
            for step, loss in enumerate(run.epoch(epoch), 1):
                total += loss
                note = f"epoch {epoch + 1} of {run.recipe.epochs}, loss {total / step:.3f}"
                if step % REPORT_EVERY == 0 and step < run.steps:
                    advance(REPORT_EVERY, note)
            done, left_out = epoch + 1, 0
            if shorten is not None and (epoch_s := pace.epoch_s(done)) and done < run.recipe.epochs:
                left_out = run.shorten(shorten(run.recipe, done, epoch_s))
            if checkpoint is not None:
                run.save(checkpoint, done)
            progress.record({"event": "trained", "label": label, "epoch": done, "loss": total / step})
            advance((run.steps - 1) % REPORT_EVERY + 1 + left_out * run.steps, note)
    ranks.tell({})
    run.regularizers.remove()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(run.average.values[name])
    model.eval()
    return run.recipe


def follow(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    ranks: Ranks,
    teacher: nn.Module | None = None,
) -> None:
    """Take part, as another rank, in the steps of the training that the first rank runs, with its weights.

    Raises:
        DivergedError: as in the first rank.
        LostRankError: a rank is gone.
    """
    run = Training(model, dataset, recipe, seed, device, teacher, ranks)
    run.take(ranks.taken())
    while "epoch" in (told := ranks.heard()):
        run.shorten(Recipe(**told["recipe"]))
        for _ in run.epoch(told["epoch"]):
            pass


class _Pace:
    """How long the epochs of this process take, without its first one."""

    def __init__(self, done: int) -> None:
        self._from, self._began = done + 1, 0.0

    def epoch_s(self, done: int) -> float:
        """Mean seconds of an epoch, now that so many are done; 0 where nobody knows yet."""
        if done <= self._from:
            self._began = time.monotonic()
            return 0.0
        return (time.monotonic() - self._began) / (done - self._from)


class Training:
    """The state of one training: the network, its optimizer and its average."""

    def __init__(
        self,
        model: nn.Module,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        teacher: nn.Module | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        if recipe.distil_weight and teacher is None:
            raise InputError("a recipe with distil_weight needs a teacher, but there is none", hint="set it to 0")
        model.to(device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model, self.dataset, self.recipe, self.seed, self.device = model, dataset, recipe, seed, device
        self.ranks = ranks
        full, rest = divmod(len(dataset.train), recipe.batch_size)
        whole = full + (rest > 1)
        self.steps = min(whole, recipe.epoch_steps or whole)
        self.class_weights = torch.tensor(dataset.class_weights(balanced=recipe.class_balanced), device=device)
        self.regularizers = Regularizers(model, recipe, len(dataset.classes), seed, device)
        self._teacher = Teacher(teacher, recipe, device) if teacher is not None and recipe.distil_weight else None
        self.parameters = [p for p in model.parameters() if p.requires_grad] + self.regularizers.parameters()
        groups = rate_groups(model, recipe, self.regularizers.parameters())
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr, fused=device.type != "mps")
        self.average = ModelEma(model, recipe.ema_decay)

    def epoch(self, epoch: int) -> Iterator[float]:
        """Train for one epoch; yield the loss of each batch. All chance in it comes from (seed, epoch)."""
        seed = int(sha256(f"{self.seed} {epoch}".encode())[:15], 16)
        generator = torch.Generator().manual_seed(seed)
        (train_with_kept_statistics if self.recipe.keep_statistics else nn.Module.train)(self.model)
        self.regularizers.at(epoch)
        stream = batches(
            self.dataset.train,
            self.dataset,
            batch_size=self.recipe.batch_size,
            device=self.device,
            generator=generator,
            augment=self.recipe.augment,
            cutout=self.recipe.cutout,
            how=self.recipe.augmentation,
            shard=self.ranks.shard,
        )
        mixing = Mixing(self.recipe.mixup, self.recipe.cutmix, len(self.dataset.classes), seed)
        with torch.random.fork_rng(devices=[]), self.ranks.joint_norms(self.model, *self.regularizers.modules()):
            torch.manual_seed(seed + self.ranks.index)  # what dropout draws from
            for step, (x, y) in enumerate(map(mixing, itertools.islice(stream, self.steps))):
                yield self._step(epoch, step, x, y)

    def shorten(self, recipe: Recipe) -> int:
        """Go on with this recipe; the number of epochs that are left out."""
        left_out = self.recipe.epochs - recipe.epochs
        self.recipe = self.regularizers.recipe = recipe
        return left_out

    def _step(self, epoch: int, step: int, x: torch.Tensor, y: torch.Tensor) -> float:
        # The first step has a rate above zero, the last one ends just above it.
        rate = self.recipe.learning_rate(epoch + (step + 0.5) / self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=self.device)
        parts = micro_batches(x, y, self.recipe.micro_batch, self.class_weights, ranks=self.ranks)
        for part_x, part_y, share in parts:
            part = share * self._part_loss(part_x, part_y)
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        loss = self.ranks.total(loss)
        self.ranks.add_gradients(self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        if not math.isfinite(loss.item()) or not math.isfinite(norm.item()):
            raise DivergedError(
                f"the loss and its gradient must be finite, but they are {loss.item():.4g} and {norm.item():.4g} "
                f"(L2 norm) in epoch {epoch + 1} of {self.recipe.epochs} at learning rate {rate:.4g}",
                hint=f"use a learning rate below {self.recipe.lr:.4g} or a longer warm-up",
            )
        self.optimizer.step()
        self.average.update(epoch * self.steps + step)
        return loss.item()

    def _part_loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        told = None if self._teacher is None else self._teacher.logits(x)  # before the student's maps take memory

        def loss(logits: torch.Tensor) -> torch.Tensor:
            labelled = self.loss(logits, x, y)
            if self._teacher is None or told is None:
                return labelled
            return self._teacher.mixed(labelled, logits, told, image_shares(y, self.class_weights))

        return loss(self.model(x)) + self.regularizers.loss(loss)

    def loss(self, logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The loss of labels (B,), or (B, K) mixed, of logits (B, K) for inputs (B, C, H, W); a scalar."""
        return cross_entropy(logits, y, weight=self.class_weights, label_smoothing=self.recipe.label_smoothing)

    def digest(self) -> str:
        """Names this run: what was asked for, the data, and the shapes of the network."""
        identity = {
            "recipe": self.recipe.identity(),
            "seed": self.seed,
            "dataset": [self.dataset.name, self.dataset.classes, self.dataset.train.shape],
            "tensors": [(name, list(value.shape)) for name, value in self.average.values.items()],
        }
        return sha256(json.dumps(identity).encode())

    def tensors(self) -> dict[str, torch.Tensor]:
        """The live tensors of the network, what is around it, and its average."""
        network = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        network |= self.regularizers.tensors()
        return network | {f"average.{name}": value for name, value in self.average.values.items()}

    def state(self) -> dict[str, torch.Tensor]:
        """All that the next epoch depends on."""
        return self.tensors() | store.pack_optimizer(self.optimizer, "optimizer.")

    def take(self, stored: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state."""
        with torch.no_grad():
            for name, value in self.tensors().items():
                value.copy_(stored[name])
        store.unpack_optimizer(self.optimizer, stored, "optimizer.")

    def save(self, path: Path, epochs_done: int) -> None:
        store.save(path, self.state(), {"run": self.digest(), "epochs_done": epochs_done})

    def restore(self, path: Path) -> int:
        """Take the state from `path`; returns the number of epochs that it has behind it."""
        stored, info = store.load(path)
        live = self.tensors()
        same_shapes = all(name in stored and stored[name].shape == value.shape for name, value in live.items())
        done = info.get("epochs_done", 0)
        if info.get("run") != self.digest() or not same_shapes or done not in range(1, self.recipe.epochs + 1):
            raise InputError(
                f"a checkpoint must come from the same recipe, seed, data and network, but {path} does not",
                hint="delete it to train from the start, or choose another folder",
            )
        self.take(stored)
        return int(done)
