from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hwnas.errors import InputError, StorageError
from hwnas.train.checkpoint import load, pack_optimizer, save, unpack_optimizer

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda name: name != "__metadata__")


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))) * 100
    values = values.to(draw(st.sampled_from(DTYPES)))
    return values.transpose(0, -1) if values.ndim and draw(st.booleans()) else values


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, tensors(), max_size=4), st.dictionaries(st.text(), JSON, max_size=3))
def test_what_is_saved_is_loaded(tmp_path: Path, content: dict[str, Tensor], info: dict[str, Any]) -> None:
    save(tmp_path / "a.safetensors", content, info)
    found, found_info = load(tmp_path / "a.safetensors")
    assert found_info == info
    assert found.keys() == content.keys()
    for name, tensor in content.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_layouts_and_sharing_survive_by_value(tmp_path: Path) -> None:
    base = torch.randn(2, 3, 4, 5)
    content = {"last": base.contiguous(memory_format=torch.channels_last), "part": base[:, 1], "same": base}
    save(tmp_path / "a", content, {})
    assert all(torch.equal(load(tmp_path / "a")[0][name], value) for name, value in content.items())


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    a, b = torch.ones(3), torch.zeros(2, 2)
    save(tmp_path / "1", {"a": a, "b": b}, {"x": 1, "y": 2})
    save(tmp_path / "2", {"b": b, "a": a}, {"y": 2, "x": 1})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    """Cut the file anywhere, or change any bit: it is refused, or means the same (white space in the header)."""
    path = tmp_path / "a"
    save(path, {"w": torch.arange(6.0)}, {"epoch": 3})
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        damaged = whole[:at] + bytes([whole[at] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[at + 1 :]
    path.write_bytes(damaged)
    try:
        found, info = load(path)
    except InputError:
        return
    assert torch.equal(found["w"], torch.arange(6.0))
    assert info == {"epoch": 3}


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    import safetensors.torch

    with pytest.raises(InputError, match="No such file"):
        load(tmp_path / "none")
    safetensors.torch.save_file({"w": torch.ones(1)}, tmp_path / "foreign")
    header = b'{"__metadata__":null}   '
    (tmp_path / "null").write_bytes(len(header).to_bytes(8, "little") + header)
    for name in ("foreign", "null"):
        with pytest.raises(InputError, match="not a checkpoint"):
            load(tmp_path / name)
    with pytest.raises(StorageError):
        save(tmp_path / "foreign" / "below", {}, {})


class Branches(nn.Module):
    """Only one branch is used in a step, so that the other has no gradient, hence no optimizer state."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(2, 2, 3, padding=1) for _ in range(3))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, active: int) -> Tensor:
        return self.branches[active](x)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "plain sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.0, 0.999), amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1),
    "fused adamw": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_exactly(tmp_path: Path, name: str) -> None:
    def steps(model: Branches, optimizer: torch.optim.Optimizer, actives: list[int]) -> None:
        for active in actives:
            optimizer.zero_grad()
            x = torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(active))
            model(x, active).square().mean().backward()
            optimizer.step()

    torch.manual_seed(0)
    model = Branches()
    optimizer = OPTIMIZERS[name](model.parameters())
    steps(model, optimizer, [0, 1, 0])
    save(tmp_path / "o", pack_optimizer(optimizer, "opt."), {})
    twin = copy.deepcopy(model)
    restored = OPTIMIZERS[name](twin.parameters())
    steps(copy.deepcopy(twin), restored, [2])  # whatever the optimizer held before is replaced
    stored = load(tmp_path / "o")[0]
    unpack_optimizer(restored, stored | {"other.0.x": torch.ones(1)}, "opt.")
    assert restored.state_dict()["state"].keys() == optimizer.state_dict()["state"].keys()
    before = {key: value.clone() for key, value in stored.items()}
    for m, o in ((model, optimizer), (twin, restored)):
        steps(m, o, [0, 1, 2, 1])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert all(torch.equal(stored[key], value) for key, value in before.items())


@pytest.mark.parametrize("name", ["o.9.exp_avg", "o.-1.exp_avg", "o.x.exp_avg", "o.0", "o.0.exp_avg"])
def test_state_of_another_network_is_refused(name: str) -> None:
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(3))])
    with pytest.raises(InputError, match="fits none"):
        unpack_optimizer(optimizer, {name: torch.ones(4)}, "o.")
