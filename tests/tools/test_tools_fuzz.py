"""The fuzzer of commands: it runs, it finds what is wrong, and the same seed does the same."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import fuzz_cases  # noqa: E402
import fuzz_commands  # noqa: E402
import fuzz_damage  # noqa: E402
from fuzz_lab import MOST_BYTES, Ended, fresh, wrong  # noqa: E402


def test_what_is_found_is_told_and_a_stopped_fuzzer_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    base: Any = object()
    fine, refused = Ended(0, "", "", 1.0, 1 << 20), Ended(2, "", "error: no such file", 1.0, 3 << 20)
    broken = Ended(1, "", "Traceback (most recent call last):\nKeyError", 2.0, 2 << 20)
    ends = {3: broken, 5: refused}
    tried: list[tuple[int, bool]] = []

    def attempt(index: int, name: str, seed: int, where: Any, *, real: bool) -> tuple[list[str], Ended]:
        assert (seed, where) == (7, base)
        tried.append((index, real))
        return ["verify", "a model.onnx"], ends.get(index, fine)

    monkeypatch.setattr(fuzz_commands, "attempt", attempt)

    def fuzz(known: dict[str, Any]) -> Any:
        return fuzz_commands.fuzz(13, 7, base, real=2, known=known)

    names, states = fuzz_commands.plan(13, 7), [json.dumps(one) for one in fuzz({})]
    assert set(names) == set(fuzz_cases.GROUPS), "every group has a command"
    assert [index for index, _ in tried] == list(range(len(names)))
    assert sum(real for _, real in tried) == 2
    found = json.loads(states[-1])
    assert found["done"] == found["planned"] == sum(one["commands"] for one in found["groups"].values()) == len(names)
    assert +Counter({name: one["refused"] for name, one in found["groups"].items()}) == Counter((names[3], names[5]))
    (told,) = found["findings"]
    assert (told["index"], told["group"], told["sort"], told["code"]) == (3, names[3], "traceback", 1)
    assert (told["command"], told["said"]) == ("verify 'a model.onnx'", broken.err)
    assert json.dumps(list(fuzz(json.loads(states[6])))[-1]) == states[-1], "it goes on where it was stopped"
    assert tried[len(names)] == (7, tried[7][1])
    assert list(fuzz(found)) == []


@pytest.mark.dear
def test_some_commands_end_as_commands_may(tmp_path: Path) -> None:
    words = ["--runs", "13", "--real", "0", "--out", "found.json", "--work", "work"]
    program = [sys.executable, str(TOOLS / "fuzz_commands.py"), *words]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["findings"] == []
    assert found["done"] == found["planned"] == sum(one["commands"] for one in found["groups"].values()) >= 11
    assert 0 < sum(one["refused"] for one in found["groups"].values()) < found["done"]
    assert not list((tmp_path / "work" / "cases").iterdir())
    base: Any = None
    assert list(fuzz_commands.fuzz(13, 0, base, real=0, known=found)) == [], "it goes on where it was stopped"


@pytest.mark.parametrize(
    ("words", "ended", "sort"),
    [
        ([], Ended(0, "", "", 1.0, 0), ""),
        ([], Ended(2, "", "error: no such file", 1.0, 0), ""),
        ([], Ended(2, "", "", 1.0, 0), "no message"),
        ([], Ended(1, "", "Traceback (most recent call last):\nKeyError", 1.0, 0), "traceback"),
        ([], Ended(1, "", "error: a defect", 1.0, 0), "exit code"),
        ([], Ended(-11, "", "", 1.0, 0), "signal"),
        ([], Ended(-9, "", "", 60.0, 0, timed_out=True), "hang"),
        ([], Ended(0, "", "", 1.0, MOST_BYTES + 1), "memory"),
        ([], Ended(1, "", "Traceback (most recent call last):\nMemoryError", 1.0, 0), "memory"),
        (["--json"], Ended(0, '{"a": 1}', "", 1.0, 0), ""),
        (["--json"], Ended(0, '{"a": NaN}', "", 1.0, 0), "json"),
        (["--json"], Ended(0, "a table", "", 1.0, 0), "json"),
    ],
)
def test_what_is_wrong(words: list[str], ended: Ended, sort: str) -> None:
    assert wrong(words, ended) == sort


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    """Starting takes longer than that."""
    (tmp_path / "tmp").mkdir()
    assert wrong([], fresh(["--version"], tmp_path, tmp_path, longest_s=0.01)) == "hang"


def test_the_same_seed_does_the_same_damage(tmp_path: Path) -> None:
    contents = []
    for copy in ("one", "two"):
        path = tmp_path / copy / "meta.toml"
        path.parent.mkdir()
        said = []
        for seed in range(60):
            fuzz_damage.remove(path)
            if path.exists():
                path.unlink()
            path.write_text('a = 1\nb = "x"\n[c]\nd = [1.5, 2]\n')
            how = fuzz_damage.damage(random.Random(seed), path)
            with suppress(OSError), path.open("rb") as file:
                said.append((how, file.read(5000)))
            if path.is_symlink():
                path.unlink()
        contents.append(said)
    assert contents[0] == contents[1]
    assert len({how for how, _ in contents[0]}) > 2
    assert fuzz_commands.plan(500, 3) == fuzz_commands.plan(500, 3) != fuzz_commands.plan(500, 4)
