from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from hwnas.train import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def step():
    maps = [torch.ones(1 << 20) for _ in range(8)]
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_pages_that_a_step_frees_are_not_cleared_again_for_the_next() -> None:
    # A fixed threshold: by default glibc moves it, and what lies on top of its heap may keep the pages by chance.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}

    def faults(how: str) -> int:
        command = [sys.executable, "-c", PROGRAM, how]
        return int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)

    pages = 20 * 8 * (4 << 20) // (4 << 10)
    assert faults("given back") > 0.5 * pages
    assert faults("kept") < 0.01 * pages


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwnas.train import memory

    for error in (OSError, TypeError, AttributeError):

        def missing(name: None, error: type[Exception] = error) -> None:
            raise error

        monkeypatch.setattr(memory.ctypes, "CDLL", missing)
        memory.keep_freed_memory()


PEAK = """
import torch
from hwnas.train import peak_memory_mib
before = peak_memory_mib(torch.device("cpu"))
held = torch.ones(300 << 18)
del held
print(peak_memory_mib(torch.device("cpu")) - before)
"""


def test_the_peak_is_that_of_this_process_and_stays() -> None:
    grown_mib = float(subprocess.run([sys.executable, "-c", PEAK], capture_output=True, check=True).stdout)
    assert 250 < grown_mib < 350
