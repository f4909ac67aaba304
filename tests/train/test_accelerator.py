from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from hwnas.errors import InputError
from hwnas.train import deterministic, mixed_precision, resolve


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


def test_in_mixed_precision_a_step_sees_the_weights_that_the_one_before_made() -> None:
    """Within one context, as a whole search is; torch would keep the rounded weights of the first step to its end."""
    losses: dict[bool, list[float]] = {}
    for on in (False, True):
        torch.manual_seed(0)
        x, y = torch.randn(64, 3, 8, 8), torch.randint(4, (64,))
        layers = (torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 4))
        model = torch.nn.Sequential(*layers)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        losses[on] = []
        with mixed_precision(torch.device("cpu"), on=on):
            for _ in range(15):
                loss = torch.nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses[on].append(loss.item())
    assert losses[False][-1] < 0.2 * losses[False][0]
    assert losses[True] == pytest.approx(losses[False], rel=0.1, abs=0.05)
