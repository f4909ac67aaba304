"""No test touches the caches or data sets of whoever runs it; onnxruntime-web is installed for those that need it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from hwnas.backends import npm
from hwnas.errors import DeviceError

OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ENETUNREACH", "ETIMEDOUT")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Also for the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "HWNAS_CACHE", str(tmp_path_factory.mktemp("cache")))
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
