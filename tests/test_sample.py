"""Which tests run without `--all`, and that all do with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import types
import pytest

SPECS = [types.SimpleNamespace(kind=kind, size=size) for kind in "ab" for size in range(5)]

@pytest.mark.sample("spec.kind", "runtime")
@pytest.mark.parametrize("runtime", ["x", "y"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.kind}{spec.size}")
def test_specs(spec, runtime): ...

class TestSeeds:
    @pytest.mark.sample
    @pytest.mark.parametrize("seed", range(3))
    def test_seeds(self, seed): ...

@pytest.mark.parametrize("seed", range(3))
def test_unmarked(seed): ...

def test_alone(): ...

@pytest.mark.dear
def test_dear(): ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_some.py").write_text(TESTS)
    return tmp_path


def collected(folder: Path, *words: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "--collect-only", "-q", *words]
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.dear
def test_one_parameter_set_of_each_sort_and_everything_that_is_not_marked(folder: Path) -> None:
    every, sample = collected(folder, "--all"), collected(folder)
    assert len(every) == 2 * 5 * 2 + 3 + 3 + 1 + 1
    assert sample == [name for name in every if name in sample], "the order stays"
    specs = [name.partition("[")[2] for name in sample if "test_specs" in name]
    assert sorted((name[0], name[-2]) for name in specs) == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    assert sum("test_seeds" in name for name in sample) == 1
    assert [name for name in sample if "test_unmarked" in name] == [name for name in every if "test_unmarked" in name]
    assert sample[-1].endswith("test_alone")
    assert collected(folder, "test_some.py::test_dear") == [name for name in every if "test_dear" in name]
    left_out = next(name for name in every if "test_seeds" in name and name not in sample)
    assert collected(folder, left_out) == [left_out], "a test that is chosen by its own name runs"
