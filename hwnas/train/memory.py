"""Have the C library keep the memory that a training step frees, for the next step."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of glibc's parameters, see malloc.h
_LARGEST_BLOCK = 1 << 30


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
