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


def test_gpus_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three, of which each process that torchrun starts takes its own."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert resolve("cuda:2") == torch.device("cuda", 2)
    with pytest.raises(InputError, match="torch finds 3 here"):
        resolve("cuda:3")
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "RANK": "9", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve("auto") == resolve("cuda") == torch.device("cuda", 1)
    assert resolve("cpu") == torch.device("cpu")
    for name in ("cuda:0", "cuda:1"):
        with pytest.raises(InputError, match="a GPU of its own"):
            resolve(name)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(InputError, match="cuda:3"):
        resolve("auto")


@pytest.mark.parametrize(("capability", "on"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_is_for_gpus_that_have_it(
    capability: tuple[int, int], on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    contexts = []
    monkeypatch.setattr(torch, "autocast", lambda kind, type_, **options: contexts.append((kind, options["enabled"])))
    for device in ("cuda:1", "cpu"):
        mixed_precision(torch.device(device), on=None)
    assert contexts == [("cuda", on), ("cpu", False)]


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
