"""Settings of the whole process that a training needs: taken for its time, then as they were."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import torch

from hwnas.train.accelerator import WORKSPACE, deterministic
from hwnas.train.memory import give_back_freed_memory, keep_freed_memory

_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def training_session(seed: int, threads: int) -> Iterator[None]:
    """Seeded generators of torch, `threads` CPU threads, deterministic kernels, and memory that is kept when freed.

    On leaving, torch's generators, threads and choice of kernels and the environment are as on entering, and glibc's
    allocator has its defaults. The settings are those of the process, so a session in another thread waits.

    Raises:
        InputError: the number of threads is not positive.
    """
    with _ONE_AT_A_TIME, _settings(seed, threads):
        yield


@contextlib.contextmanager
def _settings(seed: int, threads: int) -> Iterator[None]:
    threads_before, kernels = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warns, workspace = torch.is_deterministic_algorithms_warn_only_enabled(), os.environ.get(WORKSPACE)
    try:
        with torch.random.fork_rng():
            deterministic(seed, threads)
            keep_freed_memory()
            yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(kernels, warn_only=warns)
        give_back_freed_memory()
        if workspace is None:
            os.environ.pop(WORKSPACE, None)
