"""No test touches the caches or data sets of whoever runs it; onnxruntime-web is installed for those that need it.

Large parametrisations run by sample, unless pytest is given `--all`: a test marked `sample("spec.kind", "runtime")`
runs once for every pair of these two values of its parameters, and one marked `sample` runs once in all. Which of
several equal parameter sets it is depends on the name of the test alone, so that a sample is the same in every process,
and tests of the same specs see different ones. A test marked `dear`, which repeats with real processes and a real clock
what quicker tests show with made-up ones, runs with `--all` only, and so does a repeat for other parameters that takes
seconds. A test that is chosen by its own name always runs.
"""

from __future__ import annotations

import gc
import os
import shutil
import zlib
from collections.abc import Iterator
from functools import cache
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
import typer.testing

from hwnas.backends import npm
from hwnas.errors import DeviceError

OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ETIMEDOUT")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all", action="store_true", help="run the dear tests, and every parameter set of those by sample"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Examples of properties run by sample too, others each time; a busy machine is no failure."""
    examples = 300 if config.getoption("--all") else 40
    hypothesis.settings.register_profile("hwnas", deadline=None, max_examples=examples)
    hypothesis.settings.load_profile("hwnas")


def pytest_collection() -> None:
    """Thousands of tests come into being and none goes: the collector would look through all of them for nothing."""
    gc.disable()


def pytest_collection_finish() -> None:
    """It does not look at what was there before the first test."""
    gc.enable()
    gc.freeze()


@pytest.hookimpl(trylast=True)  # after the parameters of marks and fixtures
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parameter sets outside the sample become no tests: to make them and leave them out took longer than to run some.

    There is no public name for the parameter sets of a test.
    """
    mark = metafunc.definition.get_closest_marker("sample")
    name = metafunc.definition.name
    if mark is None or metafunc.config.getoption("--all") or any(f"{name}[" in word for word in metafunc.config.args):
        return
    chosen: dict[object, Any] = {}
    for one in sorted(metafunc._calls, key=lambda one: order(metafunc, one)):
        parameters = SimpleNamespace(**one.params)
        chosen.setdefault(tuple(str(attrgetter(name)(parameters)) for name in mark.args), one)
    kept = set(map(id, chosen.values()))
    metafunc._calls = [one for one in metafunc._calls if id(one) in kept]


def order(metafunc: pytest.Metafunc, one: Any) -> tuple[bool, int]:
    """As good as random, and the same in every process; the dear ones last."""
    nodeid = f"{metafunc.definition.nodeid}[{one.id}]"
    return any(mark.name == "dear" for mark in one.marks), zlib.crc32(nodeid.encode())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is dear and was not asked for."""
    if config.getoption("--all"):
        return
    named = {word.partition("::")[2].split("[")[0] for word in config.args if "::" in word}
    dear = {
        item
        for item in items
        if item.get_closest_marker("dear") and not named & {item.nodeid.partition("::")[2], item.name.split("[")[0]}
    }
    config.hook.pytest_deselected(items=list(dear))
    items[:] = [item for item in items if item not in dear]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Also for the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "HWNAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(os.environ, "XDG_DATA_HOME", str(tmp_path_factory.mktemp("user")))  # of latency tables
        patch.delenv("HWNAS_DATA", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_disks() -> Iterator[None]:
    """A run syncs 35 files, which took more of it than its training; no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Iterator[None]:
    """`CliRunner` makes every command of a program anew for each call, and there are thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session")
def ort_web(own_cache: None) -> None:
    """onnxruntime-web, installed by the real npm; without Node, npm or a network, its tests are skipped."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"there is no {program} on the PATH")
    try:
        npm.install()
    except DeviceError as error:
        if not any(code in str(error) for code in OFFLINE):
            raise
        pytest.skip(f"npm does not reach its registry: {error}")
