"""One file that carries what was learned, refuses what is none, and is found again by the names of options."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwnas.arch import SlotSpace, space_instance
from hwnas.arch.origin import Origin
from hwnas.errors import InputError
from hwnas.meta.initialisation import Initialisation, load_initialisation
from hwnas.meta.reuse import LARGEST_SPREAD, start_in
from hwnas.nas.strategies.base import uniform_logits
from hwnas.nas.supernet import Gate, Supernet, single_path
from hwnas.train import checkpoint


def toy(classes: int = 4, width: float = 0.5, resolution: int = 8) -> SlotSpace:
    return space_instance("toy", width=width, resolution=resolution, channels=1, classes=classes)


def an_initialisation(space: SlotSpace | None = None, **changes: Any) -> Initialisation:
    space = space or toy()
    torch.manual_seed(1)
    weights = {name: torch.rand_like(value) for name, value in Supernet(space).state_dict().items()}
    alpha = torch.zeros(len(space.decisions), max(space.options))
    for row, count in zip(alpha, space.options, strict=True):
        row[:count] = torch.randn(count)
    return replace(Initialisation(Origin.of(space), weights, alpha), **changes)


def test_a_file_carries_everything_and_is_the_same_each_time(tmp_path: Path) -> None:
    states = {"metaqnn": {"q": [[0.5, 1.0]], "seen": {"a": 3, "b": None}}, "enas": {"lstm": [1e-3], "text": "ü"}}
    init = an_initialisation(
        strategies=states,
        method={"method": "reptile", "steps": 3},
        tasks={"sources": ["omniglot"]},
        devices=("a/b",),
        metrics={"accuracy": 0.5, "history": [[0, 0.2, 0.01]]},
    )
    init.save(tmp_path / "one")
    read = load_initialisation(tmp_path / "one")
    read.save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert replace(read, weights={}, alpha=None) == replace(init, weights={}, alpha=None)
    assert read.weights.keys() == init.weights.keys()
    assert all(torch.equal(read.weights[name], value) for name, value in init.weights.items())
    assert init.alpha is not None
    assert read.alpha is not None
    assert torch.equal(read.alpha, init.alpha)
    an_initialisation(alpha=None).save(tmp_path / "none")
    assert load_initialisation(tmp_path / "none").alpha is None


def written(path: Path, **changes: Any) -> Path:
    """A file whose header differs from a good one; its checksum is right."""
    an_initialisation(method={"a": 1}).save(path)
    tensors, info = checkpoint.load(path)
    for name, value in changes.items():
        if name == "tensors":
            tensors |= value
        elif name == "space":
            info["space"] |= value
        elif value is None:
            del info[name]
        else:
            info[name] = value
    checkpoint.save(path, tensors, info)
    return path


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": 2}, "version 2"),
        ({"version": None}, "version is missing"),
        ({"version": True}, "version must be 1, the version of an initialisation, not True"),
        ({"strategies": []}, r"strategies must be a table, not \[\]"),
        ({"strategies": {"enas": 3}}, "strategies.enas must be a table, not 3"),
        ({"metrics": None}, "metrics is missing"),
        ({"devices": [1]}, r"devices\[0\] must be a string, not 1"),
        ({"space": {"slots": [["stem", 9]]}}, "names a decision"),
        ({"space": {"classes": 0}}, "space is refused: its input_shape and classes must be at least 1"),
        ({"space": {"input_shape": [1, 8]}}, r"space.input_shape\[2\] is missing"),
        ({"space": {"more": 1}}, "space.more is an unknown key"),
        ({"tensors": {"alpha": torch.zeros(1, 3)}}, r"alpha must have shape \(4, 3\)"),
        ({"tensors": {"alpha": torch.full((4, 3), torch.inf)}}, "alpha must be finite"),
        ({"tensors": {"weights.stem.0.conv.weight": torch.zeros(2, dtype=torch.int64)}}, "must be finite"),
        ({"tensors": {"optimizer.0": torch.zeros(2)}}, "neither a weight nor alpha"),
    ],
)
def test_what_is_no_initialisation_is_refused(changes: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=complaint):
        load_initialisation(written(tmp_path / "file", **changes))


def test_damaged_and_absent_files_are_refused(tmp_path: Path) -> None:
    an_initialisation().save(tmp_path / "file")
    content = bytearray((tmp_path / "file").read_bytes())
    content[-5] ^= 1
    (tmp_path / "flipped").write_bytes(content)
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    (tmp_path / "text").write_text(json.dumps({"version": 1}))
    (tmp_path / "folder").mkdir()
    for name in ("flipped", "cut", "text", "folder", "absent"):
        with pytest.raises(InputError) as caught:
            load_initialisation(tmp_path / name)
        if (tmp_path / name).is_file():
            assert "file that hwnas meta-train wrote" in str(caught.value.hint)


def test_the_same_instance_starts_with_all_of_it() -> None:
    space, init = toy(), an_initialisation()
    start, reused = start_in(space, init, where="a file")
    net, logits = Supernet(space), uniform_logits(space.options)
    start.apply(net, [logits])
    assert (reused.share, reused.fresh, reused.decisions) == (1.0, (), 4)
    assert reused.tensors == reused.all_tensors == len(init.weights)
    for name, value in net.state_dict().items():
        assert torch.equal(value, init.weights[name])
    assert init.alpha is not None
    for row, given, count in zip(logits, init.alpha, space.options, strict=True):
        torch.testing.assert_close(torch.softmax(row[:count], 0), torch.softmax(given[:count], 0))
        assert torch.all(row[count:] == -torch.inf)


def test_other_classes_get_a_fresh_classifier() -> None:
    space, init = toy(classes=7), an_initialisation()
    start, reused = start_in(space, init, where="a file")
    assert reused.fresh == ("classifier",)
    assert reused.share == 1.0
    assert not [name for name in start.weights if name.startswith("classifier")]
    assert "fresh: classifier" in str(reused)


def test_fewer_options_are_found_by_their_names() -> None:
    """The options of a restricted space are counted anew; the network that they make is the same."""
    whole, init = toy(), an_initialisation()
    less = whole.restricted([[2], [1, 2], [0, 2], [0, 1]])
    small, large = Supernet(less), Supernet(whole)
    start_in(whole, init, where="a file")[0].apply(large, [])
    start, reused = start_in(less, init, where="a file")
    start.apply(small, [])
    assert reused.tensors == reused.all_tensors
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(
            small.eval()(x, single_path([0, 1, 1, 0])), large.eval()(x, [Gate((k,)) for k in (2, 2, 2, 0)])
        )
    assert start.alpha is not None
    assert init.alpha is not None
    torch.testing.assert_close(start.alpha[1, 1] - start.alpha[1, 0], init.alpha[1, 2] - init.alpha[1, 1])
    back, _ = start_in(whole, an_initialisation(less), where="a file")
    assert back.alpha is not None
    assert back.alpha[1, 0] == 0.0


def test_alpha_starts_so_that_a_search_can_turn_around() -> None:
    sharp = torch.tensor([[9.0, -9.0, 0.0]]).repeat(4, 1)
    start, _ = start_in(toy(), an_initialisation(alpha=sharp), where="a file")
    assert start.alpha is not None
    np.testing.assert_allclose(start.alpha[0], [LARGEST_SPREAD / 2, -LARGEST_SPREAD / 2, 0.0], atol=1e-6)
    assert start_in(toy(), an_initialisation(alpha=None), where="a file")[0].alpha is None


def test_what_does_not_fit_is_explained() -> None:
    with pytest.raises(InputError, match="a search of mobile cannot start from first, which was learned in toy"):
        start_in(
            space_instance("mobile", width=0.25, resolution=32, channels=1, classes=4),
            an_initialisation(),
            where="first",
        )
    with pytest.raises(InputError, match=r"only [0-9]+% of the weights") as caught:
        start_in(toy(width=1.0), an_initialisation(), where="first")
    assert "leave out --width" in caught.value.hint
    assert start_in(toy(resolution=16), an_initialisation(), where="first")[1].share == 1.0
