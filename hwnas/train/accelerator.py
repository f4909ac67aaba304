"""Choose where torch computes, and make it repeat itself."""

from __future__ import annotations

import os

import torch

from hwnas.errors import InputError
from hwnas.torchrun import launch

NAMES = ("auto", "cpu", "cuda", "mps")
_AMPERE = (8, 0)  # compute capability
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Environment variable that cuBLAS reads when it starts: deterministic kernels need it."""


def resolve(name: str) -> torch.device:
    """The device called `name`; `auto` takes cuda, else mps, else the CPU. Of several GPUs, `cuda:1` is the second.

    Each of several processes that torchrun starts takes the GPU of its number on the machine.

    Raises:
        InputError: there is no such name, this machine or build of torch lacks it, or processes cannot share it.
    """
    kind, _, number = name.partition(":")
    if kind not in NAMES or (name != kind and not (kind == "cuda" and number.isdecimal())):
        raise InputError(
            f"the accelerator must be one of {', '.join(NAMES)}, or cuda:N, but it is {name!r}", hint="use auto"
        )
    launched = launch()
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto":
        present["mps"] = present["mps"] and launched.count == 1
        kind = next(candidate for candidate, there in present.items() if there)
    if not present[kind]:
        raise InputError(
            f"the accelerator {name!r} was asked for, but torch {torch.__version__} finds none on this machine",
            hint="use auto or cpu, or install the build of torch for it",
        )
    if launched.count > 1 and (number or kind == "mps"):
        raise InputError(
            f"each process has a GPU of its own, but torchrun started {launched.count} and all were told to use {name}",
            hint="use cuda, of which each takes the one of its number, or cpu",
        )
    if launched.count > 1 and kind == "cuda":
        number = str(launched.local_rank)
    if number and int(number) >= (count := torch.cuda.device_count()):
        raise InputError(
            f"the accelerator cuda:{number} was asked for, but torch finds {count} here, counted from 0",
            hint="start no more processes than there are GPUs" if launched.count > 1 else f"use cuda:{count - 1}",
        )
    return torch.device(kind, int(number)) if number else torch.device(kind)


def mixed_precision(device: torch.device, *, on: bool | None) -> torch.autocast:
    """A context in which convolutions and products of matrices are computed in bfloat16, if it is on.

    Weights, their gradients and losses stay in float32 (Micikevicius et al., ICLR 2018). Losses need no scale, as
    bfloat16 has the range of float32. Rounded weights are not cached, as the context stays open while weights change.

    Args:
        on: None where the device decides: GPUs of CUDA that compute in bfloat16, from Ampere on, do; others do not.
    """
    on = _computes_in_bfloat16(device) if on is None else on
    return torch.autocast(device.type, torch.bfloat16, enabled=on, cache_enabled=False)


def _computes_in_bfloat16(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _AMPERE


def deterministic(seed: int, threads: int) -> None:
    """Seed torch's global generators, use `threads` CPU threads, and choose deterministic kernels where they exist.

    Raises:
        InputError: the number of threads is not positive.
    """
    if threads < 1:
        raise InputError(f"the number of threads must be at least 1, but it is {threads}", hint="for example 2")
    os.environ.setdefault(WORKSPACE, ":4096:8")
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
