"""Memory of training: keep what a step frees for the next one, and say how much there was at most."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of glibc's parameters, see malloc.h
_LARGEST_BLOCK = 1 << 30
_DEFAULT_THRESHOLD = 128 << 10  # of both, see `man mallopt`


def keep_freed_memory() -> None:
    """Stop glibc from handing memory back to the system after every step.

    Every step of a training allocates the same large maps. By default glibc maps each anew and gives it back, so the
    system clears every page of it again: 40 % of the time of a step on one CPU thread (docs/decisions/0020). The
    process keeps its largest amount of memory instead. Where the C library is another, nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def give_back_freed_memory() -> None:
    """Undo `keep_freed_memory`: glibc's thresholds are its defaults again, and free pages go back to the system."""
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _DEFAULT_THRESHOLD)
    mallopt(_TRIM_THRESHOLD, _DEFAULT_THRESHOLD)
    trim(0)


def peak_memory_mib(device: torch.device) -> float:
    """Most memory in MiB so far: of tensors on `device` where that is a GPU of CUDA, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:  # `getrusage` counts what a parent process had before this one took its place
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
        return int(found[1]) / 1024
    import resource  # there is none on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
