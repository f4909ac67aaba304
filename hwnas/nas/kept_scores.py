"""Scores of candidates, kept in a file as they come: a search that was interrupted goes on from them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hwnas.arch.space import Architecture
from hwnas.data import Dataset
from hwnas.errors import InputError
from hwnas.files import write_json
from hwnas.nas.comparison import OneShotEvaluator
from hwnas.nas.select import Scored
from hwnas.schema import checked, read_json_as
from hwnas.train import checkpoint as store

_HINT = "delete that file, and the candidates are scored again"


@dataclass(frozen=True)
class _Score:
    """Of one candidate, all but its losses, which are a tensor."""

    choices: tuple[int, ...]
    accuracy: float
    score: float
    seconds: float


@dataclass(frozen=True)
class _Info:
    """What the file says beside its tensors.

    Attributes:
        seal: of the weights that scores were made with, and the images.
    """

    seal: str
    scores: tuple[_Score, ...]


@dataclass(frozen=True)
class _Noted:
    """Architectures whose scores were known."""

    choices: tuple[tuple[int, ...], ...]


class KeptScores:
    """An evaluator that asks a supernet only for scores that its file does not have."""

    at_once = OneShotEvaluator.at_once

    def __init__(self, evaluator: OneShotEvaluator, path: Path) -> None:
        """Read what is kept.

        Raises:
            InputError: the file is damaged, or of other weights or images.
        """
        self._evaluator, self._path = evaluator, path
        self._seal = _seal(evaluator)
        self._known = {one.architecture.choices: one for one in self._read()} if path.exists() else {}

    def __call__(self, batch: Sequence[tuple[int, ...]]) -> Iterator[Scored]:
        """The scores of architectures, in their order; a new one is kept before it is told.

        Raises:
            StorageError: it cannot be written.
        """
        for choices in batch:
            if choices not in self._known:
                began = time.monotonic()
                (found,) = self._evaluator([choices])
                self._known[choices] = replace(found, seconds=time.monotonic() - began)
                self._write()
            yield self._known[choices]

    def noted(self, path: Path) -> list[Scored]:
        """What was known when this was first asked, which `path` notes: a search that goes on begins with the same.

        Raises:
            InputError: the file is damaged.
            StorageError: it cannot be written.
        """
        if not path.exists():
            write_json(path, {"choices": [list(map(int, choices)) for choices in self._known]})
        noted = read_json_as(path, _Noted, extra="forbid", hint="delete that file").choices
        return [self._known[choices] for choices in noted if choices in self._known]

    def _write(self) -> None:
        tensors = {_name(choices): torch.from_numpy(one.losses) for choices, one in self._known.items()}
        scores = [
            {"choices": list(map(int, choices)), "accuracy": one.accuracy, "score": one.score, "seconds": one.seconds}
            for choices, one in self._known.items()
        ]
        store.save(self._path, tensors, {"seal": self._seal, "scores": scores})

    def _read(self) -> Iterator[Scored]:
        tensors, content = store.load(self._path, hint=_HINT)
        info = checked(content, _Info, self._path, extra="forbid", hint=_HINT)
        if info.seal != self._seal:
            raise InputError(f"{self._path} has scores of other weights or images than this search", hint=_HINT)
        name = self._evaluator.supernet.space.name
        for one in info.scores:
            losses = tensors.get(_name(one.choices))
            if losses is None or losses.dtype != torch.float64 or losses.ndim != 1:
                raise InputError(f"{self._path}: the losses of {list(one.choices)} must be numbers", hint=_HINT)
            yield Scored(Architecture(name, one.choices), one.accuracy, one.score, losses.numpy(), one.seconds)


def _name(choices: Sequence[int]) -> str:
    return "-".join(map(str, choices))


def _seal(evaluator: OneShotEvaluator) -> str:
    """Changes with whatever a score depends on."""
    data: Dataset = evaluator.dataset
    images: list[Any] = [data.name, data.classes, data.train.shape, data.val.shape, data.mean, data.std]
    told = [images, evaluator.metric, evaluator.most_images, evaluator.supernet.settled]
    state = {name: value.detach().cpu().contiguous() for name, value in evaluator.supernet.state_dict().items()}
    return store.digest(state, json.dumps(told))
