"""Choose where torch computes, and make it repeat itself."""

from __future__ import annotations

import os

import torch

from hwnas.errors import InputError

NAMES = ("auto", "cpu", "cuda", "mps")
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Environment variable that cuBLAS reads when it starts: deterministic kernels need it."""


def resolve(name: str) -> torch.device:
    """The device called `name`; `auto` takes cuda, else mps, else the CPU.

    Raises:
        InputError: there is no such name, or this machine or build of torch lacks it.
    """
    if name not in NAMES:
        raise InputError(f"the accelerator must be one of {', '.join(NAMES)}, but it is {name!r}", hint="use auto")
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(candidate for candidate, there in present.items() if there)
    if not present[name]:
        raise InputError(
            f"the accelerator {name!r} was asked for, but torch {torch.__version__} finds none on this machine",
            hint="use auto or cpu, or install the build of torch for it",
        )
    return torch.device(name)


def mixed_precision(device: torch.device, *, on: bool) -> torch.autocast:
    """A context in which convolutions and products of matrices are computed in bfloat16, if it is on.

    Weights, their gradients and losses stay in float32 (Micikevicius et al., ICLR 2018). Losses need no scale, as
    bfloat16 has the range of float32. Rounded weights are not cached, as the context stays open while weights change.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=on, cache_enabled=False)


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
