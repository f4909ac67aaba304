from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, torch
from hwnas.train import keep_freed_memory, peak_memory_mib
before_mib = peak_memory_mib(torch.device("cpu"))
held = torch.ones(300 << 18)
del held
grown_mib = peak_memory_mib(torch.device("cpu")) - before_mib
def step():
    maps = [torch.ones(1 << 20) for _ in range(8)]
def faults():
    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given_back = faults()
keep_freed_memory()
print(json.dumps({"grown_mib": grown_mib, "given_back": given_back, "kept": faults()}))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, float]:
    """Of a process that holds 300 MiB once, and then takes and frees 32 MiB at a time."""
    # A fixed threshold: by default glibc moves it, and what lies on top of its heap may keep the pages by chance.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(128 << 10)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_pages_that_a_step_frees_are_not_cleared_again_for_the_next(told: dict[str, float]) -> None:
    pages = 20 * 8 * (4 << 20) // (4 << 10)
    assert told["given_back"] > 0.5 * pages
    assert told["kept"] < 0.01 * pages


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwnas.train import memory

    for error in (OSError, TypeError, AttributeError):

        def missing(name: None, error: type[Exception] = error) -> None:
            raise error

        monkeypatch.setattr(memory.ctypes, "CDLL", missing)
        memory.keep_freed_memory()


def test_the_peak_is_that_of_this_process_and_stays(told: dict[str, float]) -> None:
    assert 250 < told["grown_mib"] < 350
