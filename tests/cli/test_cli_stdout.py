"""Stdout holds results alone, whatever native code prints; streams that are lost or lack letters end no run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwnas.cli import app, list_commands


def test_what_native_code_prints_goes_to_stderr() -> None:
    code = (
        "import os\n"
        "from hwnas.cli import console\n"
        "print('before')\n"
        "console.keep_stdout_for_results()\n"
        "os.write(1, b'noise\\n')\n"
        "console.print_json({'é': 1})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'before\n{\n  "\\u00e9": 1\n}\n'
    assert done.stderr == "noise\n"


LOST = """
import os, sys
from hwnas.cli import console
@console.verb
def verb(json_=False):
    console.err().print("α")
    console.out().print("α \\udcff [red] :cat:")
    console.print_json({"a": 1})
console.keep_stdout_for_results()
console.run(verb)
"""


def shell(redirection: str, encoding: str = "utf-8") -> tuple[int, str]:
    """Exit code and the output of the program, with its streams redirected by a shell."""
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = ["bash", "-c", f'"$0" -c "$1" {redirection}', sys.executable, LOST]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    text = (done.stdout + done.stderr).decode()
    assert "Traceback" not in text
    assert "Exception ignored" not in text
    return done.returncode, text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_stdout_that_is_full_is_one_message() -> None:
    code, text = shell("> /dev/full")
    assert code == 8
    assert text.count("error: cannot write the output: No space left on device") == 1
    assert shell("2> /dev/full") == (0, "α \\udcff [red] :cat:\n" + '{\n  "a": 1\n}\n')


def test_a_reader_that_is_gone_is_silence() -> None:
    code, text = shell("2> /dev/null | head -0; exit ${PIPESTATUS[0]}")
    assert code in (0, 141)  # 0 where head had not ended yet
    assert text == ""


def test_what_an_encoding_lacks_and_streams_that_are_closed() -> None:
    assert shell("", "ascii") == (0, "\\u03b1 \\udcff [red] :cat:\n" + '{\n  "a": 1\n}\n' + "\\u03b1\n")
    assert shell(">&-")[0] == 0
    assert shell(">&- 2>&-") == (0, "")


def test_cells_of_tables_are_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"": "[red]a[/]", "value": "q[/b] :cat:"}]
    shown = list_commands.print_rows
    monkeypatch.setattr(list_commands, "print_rows", lambda _: shown(rows))
    done = CliRunner().invoke(app, ["devices", "list"])
    assert done.stdout.splitlines()[1].split(None, 1) == ["[red]a[/]", "q[/b] :cat:"]
