from __future__ import annotations

from collections.abc import Iterator

import pytest
from networks import SPECS, folded, space

from hwnas.arch import OpSpec, op
from hwnas.arch.op import _graph, _kinds
from hwnas.arch.primitives import Builder, Value
from hwnas.backends import onnx as backend
from hwnas.backends.onnx import fingerprint, micro_model


@pytest.fixture(autouse=True)
def _none_is_kept() -> Iterator[None]:
    """Of what is changed in a test."""
    yield
    fingerprint.cache_clear()


@pytest.fixture
def kind_under_change() -> Iterator[None]:
    """The kind `changing` may be registered again and again, and is gone afterwards."""
    yield
    _kinds.pop("changing", None)
    _graph.cache_clear()


def test_different_ops_have_different_fingerprints() -> None:
    specs = {*SPECS, *space().ops}
    assert len({fingerprint(spec) for spec in specs}) == len({folded(spec.graph) for spec in specs}) > 200


def test_the_weights_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [fingerprint(spec) for spec in SPECS]
    contents = [micro_model(spec) for spec in SPECS if spec.kind == "conv"]
    monkeypatch.setattr(backend, "micro_model", lambda spec: micro_model(spec, seed=7))
    fingerprint.cache_clear()
    assert [fingerprint(spec) for spec in SPECS] == before
    assert contents != [backend.micro_model(spec) for spec in SPECS if spec.kind == "conv"]


@pytest.mark.usefixtures("kind_under_change")
def test_another_lowering_is_another_fingerprint() -> None:
    def lowered(kernel: int, act: str) -> str:
        _kinds.pop("changing", None)
        _graph.cache_clear()
        fingerprint.cache_clear()

        @op("changing", "stride")
        def changing(b: Builder, spec: OpSpec, x: Value) -> Value:
            return b.conv(x, "conv", spec.cout, kernel=kernel, stride=spec.stride, act=act)

        return fingerprint(OpSpec("changing", 4, 4, 8, 8))

    variants = [(1, "relu"), (3, "relu"), (3, "relu6"), (3, "none")]
    assert len({lowered(*variant) for variant in variants}) == len(variants)
    assert lowered(1, "relu") == lowered(1, "relu")


def test_another_writer_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = OpSpec("conv", 4, 4, 8, 8, act="relu")
    before = fingerprint(spec)
    monkeypatch.setattr(backend, "OUTPUT", "other")
    fingerprint.cache_clear()
    assert fingerprint(spec) != before
