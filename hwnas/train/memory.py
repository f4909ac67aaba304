"""Memory of this process: keep what a step frees for the next one, and say how much there is, and was at most."""

from __future__ import annotations

import contextlib
import ctypes
import math
import re
import sys
from pathlib import Path

import torch

from hwnas.torchrun import launch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of glibc's parameters, see malloc.h
_LARGEST_BLOCK = 1 << 30
_DEFAULT_THRESHOLD = 128 << 10  # of both, see `man mallopt`

_CONTAINERS = (  # of a control group of either version: its limit, what it uses, and what of that are idle files
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


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
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _DEFAULT_THRESHOLD)
    mallopt(_TRIM_THRESHOLD, _DEFAULT_THRESHOLD)
    _trim()


def _trim() -> None:
    """Hand free pages of glibc's heaps to the system."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def free_bytes(device: torch.device) -> float:
    """Bytes that this process could still take: of a GPU of CUDA its own, else of this machine or its container.

    Infinite where nobody tells.
    """
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    found = [_first_number(Path("/proc/meminfo"), r"^MemAvailable:\s*(\d+) kB") * 1024]
    for folder, most, used, idle in _CONTAINERS:
        limit = _first_number(folder / most, r"^(\d+)$")
        if limit < math.inf:
            idle_bytes = _first_number(folder / "memory.stat", rf"^{idle} (\d+)$")
            taken = _first_number(folder / used, r"^(\d+)$")
            found.append(limit - (taken if taken < math.inf else 0.0) + (idle_bytes if idle_bytes < math.inf else 0.0))
    return max(0.0, min(found))


def taken_bytes(device: torch.device) -> float:
    """Bytes that are taken already: by tensors on a GPU of CUDA, else by this process, without files that it maps."""
    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device))
    found = _first_number(Path("/proc/self/status"), r"^RssAnon:\s*(\d+) kB") * 1024
    return found if found < math.inf else 0.0


def step_limit_bytes(memory_gb: float, device: torch.device) -> float:
    """Bytes that a step may take: what the process leaves of `memory_gb` GiB; with 0, half of what is free.

    What the process has freed is given back first: it is there for the step. Processes that torchrun started on this
    machine share its memory; each has a GPU of its own.
    """
    _trim()
    share = 1 if device.type == "cuda" else launch().local_count
    return memory_gb * 2**30 / share - taken_bytes(device) if memory_gb else free_bytes(device) / 2 / share


def _first_number(path: Path, pattern: str) -> float:
    """The number in the first line of a file that has the pattern; infinite where there is none."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return math.inf
    found = re.search(pattern, text, re.MULTILINE)
    return float(found[1]) if found else math.inf


def peak_memory_mib(device: torch.device) -> float:
    """Most memory in MiB so far: of tensors on `device` where that is a GPU of CUDA, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    # `getrusage` counts what a parent process had before this one took its place.
    peak_kib = _first_number(Path("/proc/self/status"), r"^VmHWM:\s*(\d+) kB")
    if peak_kib < math.inf:
        return peak_kib / 1024
    import resource  # there is none on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
