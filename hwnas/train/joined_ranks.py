"""The processes of torchrun, joined by torch.distributed."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn

from hwnas.errors import LostRankError
from hwnas.torchrun import launch
from hwnas.train.checkpoint import plain
from hwnas.train.joint_norms import joined_norms
from hwnas.train.ranks import ALONE, Ranks

STEP_S = 45
"""Seconds that a rank waits for the others within a step; the first step of an epoch reads images as well."""
_START, _WAIT = timedelta(minutes=10), timedelta(days=14)  # until all are there; for the first rank to tell something
_BUCKET_BYTES = 25 << 20  # that are added up at once, as in torch's DistributedDataParallel
_HINT = "what was done is kept: the same command with --resume goes on, with any number of processes"


class JoinedRanks(Ranks):
    """Several processes, each with a part of every batch."""

    def __init__(
        self, index: int, count: int, control: dist.ProcessGroup, groups: Mapping[str, dist.ProcessGroup]
    ) -> None:
        """Stand for this rank.

        Args:
            control: what the first rank tells the others goes through it; it may be silent for long.
            groups: by type of the device, what tensors there go through within steps.
        """
        self.index, self.count, self._control, self._groups = index, count, control, groups

    def total(self, value: Tensor) -> Tensor:
        summed = value.detach().clone(memory_format=torch.contiguous_format)
        with _lost_told():
            dist.all_reduce(summed, group=self._groups[value.device.type])
        return summed

    def totals(self, values: Sequence[Tensor]) -> list[Tensor]:
        found: list[Tensor] = []
        for bucket in _buckets(values):
            flat = self.total(torch.cat([one.detach().reshape(-1) for one in bucket]))
            parts = torch.split(flat, [one.numel() for one in bucket])
            found += [part.view(one.shape) for part, one in zip(parts, bucket, strict=True)]
        return found

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        gradients = [one.grad for one in parameters if one.grad is not None]
        for gradient, summed in zip(gradients, self.totals(gradients), strict=True):
            gradient.copy_(summed)

    def least(self, number: int) -> int:
        found = torch.tensor(number)
        with _lost_told():
            dist.all_reduce(found, dist.ReduceOp.MIN, group=self._groups["cpu"])
        return int(found)

    def agreed(self, value: Tensor) -> Tensor:
        found = value.detach().clone(memory_format=torch.contiguous_format)
        with _lost_told():
            dist.broadcast(found, 0, group=self._groups[value.device.type])
        return found

    def joint_norms(self, *modules: nn.Module) -> contextlib.AbstractContextManager[None]:
        return joined_norms(modules, self._gathered)

    def _gathered(self, value: Tensor) -> Tensor:
        parts = [torch.empty_like(value) for _ in range(self.count)]
        with _lost_told():
            dist.all_gather(parts, value, group=self._groups[value.device.type])
        return torch.stack(parts)

    def tell(self, message: Mapping[str, Any]) -> None:
        self._send(json.dumps(message).encode())

    def heard(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._received())
        return told

    def give(self, tensors: Mapping[str, Tensor]) -> None:
        self._send(safetensors.torch.save(plain(tensors)))

    def taken(self) -> dict[str, Tensor]:
        return safetensors.torch.load(self._received())

    def _send(self, content: bytes) -> None:
        with _lost_told():
            dist.broadcast(torch.tensor(len(content)), 0, group=self._control)
            dist.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0, group=self._control)

    def _received(self) -> bytes:
        length = torch.tensor(0)
        with _lost_told():
            dist.broadcast(length, 0, group=self._control)
            content = torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(content, 0, group=self._control)
        return content.numpy().tobytes()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The processes that torchrun started, of which this is one; without torchrun, this process alone.

    Between CPUs, and for what is told, they talk by gloo, between GPUs by NCCL. A process that is lost ends the others:
    those that wait for it notice, and torchrun ends the rest.

    Args:
        device: that this rank computes on.

    Raises:
        LostRankError: in the first rank, torchrun ended it, as another process was lost or as it was told to.
    """
    found = launch()
    if found.count == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("gloo", timeout=_START)
    try:
        control, step = dist.new_group(backend="gloo", timeout=_WAIT), timedelta(seconds=STEP_S)
        groups = {"cpu": dist.new_group(backend="gloo", timeout=step)}
        if device.type == "cuda":
            groups["cuda"] = dist.new_group(backend="nccl", timeout=step)
        with _end_told() if found.rank == 0 else contextlib.nullcontext():
            yield JoinedRanks(found.rank, found.count, control, groups)
    finally:
        dist.destroy_process_group()


def _buckets(values: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive tensors of one type, together no larger than a bucket; one that is larger is alone."""
    bucket: list[Tensor] = []
    size = 0
    for one in values:
        if bucket and (one.dtype != bucket[0].dtype or size + one.nbytes > _BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(one)
        size += one.nbytes
    if bucket:
        yield bucket


@contextlib.contextmanager
def _lost_told() -> Iterator[None]:
    """Errors of torch.distributed in our words."""
    try:
        yield
    except RuntimeError as error:
        raise LostRankError(
            f"every process of this run must live until its end, but one is gone, or did not answer for {STEP_S} s",
            hint=_HINT,
        ) from error


@contextlib.contextmanager
def _end_told() -> Iterator[None]:
    """Whatever torchrun ends this process for becomes an error."""

    def end(*_: object) -> NoReturn:
        raise LostRankError(
            "torchrun ended this run: another of its processes is gone, or torchrun itself was told to end", hint=_HINT
        )

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
