"""Four questions come to a command, and shells complete the commands that there are."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hwnas
from hwnas.cli import app
from hwnas.cli.init_command import init
from hwnas.errors import InputError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with photos by class, a folder that is none, and a file of a device."""
    for name in ("photos/cat/1.jpg", "photos/dog/2.PNG", "split/train/cat/1.jpg", "split/train/dog/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    for name in ("one class/cat/1.jpg", ".hidden/cat/1.jpg", ".hidden/dog/1.jpg", "texts/a/1.txt", "texts/b/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "linked").symlink_to(tmp_path / "photos")
    board = 'id = "board"\ndescription = "mine"\ntransport = "ssh"\nruntime = "onnxruntime"\nthreads = 1\n'
    (tmp_path / "board.toml").write_text(f'{board}precision = "fp32"\n[ssh]\nhost = "board"\n')
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_here_is_found(here: Path) -> None:
    found = hwnas.suggest_search()
    assert found.found_data == ("photos", "split", "digits", "shapes", "mnist", "cifar10", "omniglot")
    assert found.found_devices[0] == "host"
    assert found.found_devices[-1] == "board.toml"
    assert found.command == "hwnas search --data photos --device host --budget-ms 50% --minutes 10"
    assert hwnas.suggest_search("photos").data == "photos"
    assert hwnas.suggest_search("texts").data == "digits"


def test_answers_are_checked_and_quoted(here: Path) -> None:
    (here / "my photos; rm -rf").mkdir()
    found = hwnas.suggest_search(data="my photos; rm -rf", device="board.toml", budget_ms="5, 10ms", minutes=2.5)
    words = shlex.split(found.command)
    assert words[2:] == [
        *("--data", "my photos; rm -rf", "--device", "board.toml", "--budgets-ms", "5,10", "--minutes", "2.5")
    ]
    for wrong in ({"data": "nowhere"}, {"device": "nothing"}, {"budget_ms": "fast"}, {"minutes": 0.0}):
        with pytest.raises(InputError):
            hwnas.suggest_search(**wrong)  # type: ignore[arg-type]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a terminal in the place of stdin, at which somebody types these lines."""
    pty = pytest.importorskip("pty")
    terminal, stdin = pty.openpty()

    def type_(text: str) -> None:
        os.write(terminal, text.encode())
        monkeypatch.setattr("sys.stdin", os.fdopen(stdin))

    return type_


def test_questions_at_a_terminal_come_to_a_command(
    here: Path, typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong answer is told and asked for again; Enter takes what is in brackets; stdout holds the command alone."""
    typed("\nnothing\nboard.toml\nvery fast\n20\n5\n")
    init()
    said = capsys.readouterr()
    assert said.out == "hwnas search --data photos --device board.toml --budget-ms 20 --minutes 5\n"
    assert said.err.count("Device to run on:") == said.err.count("Budget:") == 2
    assert "there is no device 'nothing'" in said.err
    assert "[photos] " in said.err


def test_without_anybody_to_ask_the_options_are_named(here: Path) -> None:
    done = CliRunner().invoke(app, ["init", "--json"], input="\n\n\n\n")
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert told["error"] == "hwnas init asks questions, and stdin is no terminal"
    assert all(flag in told["hint"] for flag in ("--data", "--device", "--budget-ms", "--minutes"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_completes_commands_is_printed(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell is the process that started this one; here it is none."""
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    done = CliRunner().invoke(app, ["--show-completion"], prog_name="hwnas")
    assert done.exit_code == 0
    assert f"_HWNAS_COMPLETE=complete_{shell}" in done.stdout


def test_commands_are_completed() -> None:
    asked = {"_HWNAS_COMPLETE": "complete_bash", "COMP_WORDS": "hwnas runs l", "COMP_CWORD": "2"}
    done = CliRunner().invoke(app, [], env=asked, prog_name="hwnas")
    assert done.stdout.split() == ["list"]
