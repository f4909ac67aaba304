"""No test touches the caches or data sets of whoever runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Also for the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "HWNAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("HWNAS_DATA", raising=False)
        yield
