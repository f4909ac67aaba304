from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from hwnas.errors import InputError
from hwnas.train import deterministic, resolve


@pytest.fixture
def restored() -> Iterator[None]:
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert resolve("auto").type == expected
    for name in ("cuda", "mps"):
        with pytest.raises(InputError, match="finds none on this machine"):
            resolve(name)
    with pytest.raises(InputError, match="'tpu'"):
        resolve("tpu")


@pytest.mark.usefixtures("restored")
def test_deterministic() -> None:
    deterministic(5, 1)
    first = torch.rand(3)
    deterministic(5, 1)
    assert torch.equal(torch.rand(3), first)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    with pytest.raises(InputError, match="it is 0"):
        deterministic(5, 0)
