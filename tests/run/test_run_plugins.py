"""Strategies that other packages bring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import run_fakes
from plugin_packages import documented, install, install_documented
from run_fakes import a_config, write_table
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.errors import InputError
from hwnas.nas.strategies import strategies, strategy
from hwnas.plugins import plugins
from hwnas.run.pipeline import run_search

GOOD = "from hwnas.nas.strategies import Strategy, strategy\nimport hwnas.nas.strategies.random as r\n"


def hwnas(site: Path, *words: str, program: tuple[str, ...] = ("-m", "hwnas")) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *program, *words], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Puts packages of one module on the path of this process."""
    made: list[str] = []

    def put(name: str, text: str, thing: str) -> None:
        module = f"plugin_{name}"
        install(tmp_path, f"hwnas-{name}", module, text, {name: f"{module}:{thing}"})
        monkeypatch.syspath_prepend(str(tmp_path))
        plugins.cache_clear()
        made.append(module)

    yield put
    for module in made:
        sys.modules.pop(module, None)
    plugins.cache_clear()


def test_the_documented_strategy_is_short() -> None:
    assert len(documented()[0].splitlines()) < 60


@pytest.mark.dear
def test_the_documented_strategy_searches(images: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install_documented(site)
    shown = hwnas(site, "strategies", "show", "local-search", "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["kind"] == "sampler"
    tables, out = write_table(tmp_path / "tables"), tmp_path / "run"
    words = f"search --budget-ms 60% --space toy --width 1 --resolution 8 --accelerator cpu --data {images} --no-train"
    arguments = [*words.split(), "--tables", str(tables), "--out", str(out), "--strategy", "local-search", "--quiet"]
    done = hwnas(site, *arguments, program=(run_fakes.__file__, "after", "none", "1"))
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "result.json").read_text())["strategy"] == "local-search"


def test_a_broken_plugin_is_named_and_only_where_strategies_are_looked_up(
    installed: Callable[[str, str, str], None],
) -> None:
    installed("broken", "raise RuntimeError('out of order')", "X")
    unaffected = CliRunner().invoke(app, ["--help"])
    assert (unaffected.exit_code, unaffected.stderr) == (0, "")
    listed = CliRunner().invoke(app, ["strategies", "list"])
    assert listed.exit_code == 2
    assert "plugin" not in listed.stdout
    assert "hwnas-broken" in listed.stderr
    assert "out of order" in listed.stderr
    assert "Traceback" not in listed.stderr


def test_one_entry_point_may_bring_several(installed: Callable[[str, str, str], None]) -> None:
    both = "BOTH = [Strategy('first', 's', sampler=r.Random), Strategy('second', 's', sampler=r.Random)]"
    installed("several", GOOD + both, "BOTH")
    assert [entry.name for entry in strategies()][-2:] == ["first", "second"]
    assert strategy("second").summary == "s"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import no_such_module_anywhere", ("could not be loaded", "no_such_module_anywhere")),
        ("", ("could not be loaded", "THING")),
        ("THING = 7", ("must add strategies", "7")),
        (GOOD + "THING = Strategy('random', 's', sampler=r.Random)", ("'random'",)),
        (GOOD + "THING = [Strategy('own', 's', sampler=r.Random)] * 2", ("'own'",)),
        (GOOD + "THING = Strategy('own', 's')", ("could not be loaded", "a relaxation or a sampler")),
        ("import sys; sys.exit('enough')", ("could not be loaded", "SystemExit: enough (plugin_wrong.py, line 1)")),
        ("from os import _exit; _exit(0)", ("could not be loaded", "os._exit(0) (plugin_wrong.py, line 1)")),
        ("class Own(BaseException): pass\nraise Own('own')", ("could not be loaded", "Own: own")),
    ],
    ids=["import", "attribute", "type", "clash", "clash-with-itself", "neither", "exit", "os._exit", "base"],
)
def test_what_is_wrong_with_a_plugin_is_one_error_that_names_it(
    text: str, words: tuple[str, ...], installed: Callable[[str, str, str], None]
) -> None:
    installed("wrong", text, "THING")
    for _ in range(2):
        with pytest.raises(InputError, match="hwnas-wrong") as caught:
            strategies()
        assert all(word in str(caught.value) for word in words)
        assert "hwnas-wrong" in caught.value.hint or "package" in caught.value.hint


@pytest.mark.parametrize("said", ["sys.exit(7)", "os._exit(0)", "raise KeyError('x')", "raise GeneratorExit"])
def test_a_strategy_that_ends_the_process_is_named(
    said: str,
    installed: Callable[[str, str, str], None],
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = f"class Own(r.Random):\n    def ask(self):\n        {said}\n"
    installed("ending", f"import os, sys\n{GOOD}{sampler}THING = Strategy('own', 's', sampler=Own)", "THING")
    run_fakes.install(monkeypatch.setattr)
    config, tables, leave = a_config(images, strategy="own", train=False), write_table(tmp_path / "tables"), os._exit
    for resume in (False, True):
        with pytest.raises(InputError, match=r"'own' of the plug-in 'ending' of the package hwnas-ending") as caught:
            run_search(config, tmp_path / "run", tables=tables, resume=resume)
        assert said.removeprefix("raise ").partition("(")[0].removeprefix("sys.").lower() in str(caught.value).lower()
        assert "(plugin_ending.py, line 6)" in str(caught.value)
    assert os._exit is leave
