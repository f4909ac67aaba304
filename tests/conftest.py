"""No test touches the caches or data sets of whoever runs it; onnxruntime-web is installed for those that need it.

Large parametrisations run by sample, unless pytest is given `--all`: a test marked `sample("spec.kind", "runtime")`
runs once for every pair of these two values of its parameters, and one marked `sample` runs once in all. Which of
several equal parameter sets it is depends on the name of the test alone, so that a sample is the same in every process,
and tests of the same specs see different ones. A test marked `dear`, which repeats with real processes and a real clock
what quicker tests show with made-up ones, runs with `--all` only. A test that is chosen by its own name always runs.
"""

from __future__ import annotations

import gc
import os
import shutil
import zlib
from collections.abc import Iterator
from operator import attrgetter
from types import SimpleNamespace

import hypothesis
import pytest

from hwnas.backends import npm
from hwnas.errors import DeviceError

OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ETIMEDOUT")


hypothesis.settings.register_profile("hwnas", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("hwnas")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all", action="store_true", help="run the dear tests, and every parameter set of those by sample"
    )


def pytest_collection() -> None:
    """Thousands of tests come into being and none goes: the collector would look through all of them for nothing."""
    gc.disable()


def pytest_collection_finish() -> None:
    """It does not look at what was there before the first test."""
    gc.enable()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not in the sample."""
    if config.getoption("--all"):
        return
    chosen: dict[object, pytest.Item] = {}
    named = {word.partition("::")[2].split("[")[0] for word in config.args if "::" in word}
    for item in items:
        if item.get_closest_marker("dear") and not named & {item.nodeid.partition("::")[2], item.name.split("[")[0]}:
            continue
        key = sample_key(item)
        if key not in chosen or order(item) < order(chosen[key]):
            chosen[key] = item
    kept = set(chosen.values())
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def sample_key(item: pytest.Item) -> object:
    """Equal for the parameter sets of a test of which one runs."""
    mark = item.get_closest_marker("sample")
    if mark is None:
        return item.nodeid
    parameters = SimpleNamespace(**item.callspec.params)  # type: ignore[attr-defined]
    return (item.nodeid.partition("[")[0], *(str(attrgetter(name)(parameters)) for name in mark.args))


def order(item: pytest.Item) -> int:
    """As good as random, and the same in every process."""
    return zlib.crc32(item.nodeid.encode())


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Also for the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "HWNAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(os.environ, "XDG_DATA_HOME", str(tmp_path_factory.mktemp("user")))  # of latency tables
        patch.delenv("HWNAS_DATA", raising=False)
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
