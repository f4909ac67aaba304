from __future__ import annotations

import contextlib
import string
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwnas.arch import Network, OpSpec, costs, op
from hwnas.arch.op import _kinds, kinds
from hwnas.arch.primitives import ACTIVATIONS, PADDINGS, Builder, Value
from hwnas.backends.onnx import fingerprint, onnx_model
from hwnas.backends.parity import compare, random_inputs, trained_like
from hwnas.backends.torch import export_weights, network_module
from hwnas.errors import InputError

BUILT_IN = (
    "add",
    "avgpool",
    "classifier",
    "concat",
    "conv",
    "dense",
    "dilconv",
    "first",
    "flatclassifier",
    "fused",
    "hidden",
    "irf",
    "maxpool",
    "mbconv",
    "none",
    "normclassifier",
    "normhidden",
    "reduce",
    "relu",
    "reluconv",
    "resblock",
    "separable",
    "sepconv",
    "shrink",
    "skip",
    "tilepool",
    "uib",
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "kernel": st.sampled_from([1, 3, 5, 7]),
    "stride": st.integers(1, 3),
    "expand": st.integers(1, 8),
    "groups": st.integers(1, 8),
    "dilation": st.integers(1, 4),
    "se": st.integers(0, 16),
    "act": st.sampled_from(ACTIVATIONS),
    "inputs": st.integers(2, 5),
    "pad": st.sampled_from(PADDINGS),
    "mid": st.just(0) | st.integers(1, 999),
    "start": st.sampled_from([1, 3, 5]),
}


@st.composite
def specs(draw: st.DrawFn) -> OpSpec:
    """Any valid spec of a built-in kind."""
    kind = draw(st.sampled_from(BUILT_IN))
    chosen = {name: draw(values) for name, values in VALUES.items() if name in _kinds[kind].uses}
    cin, cout = (draw(st.integers(1, 512)) * chosen.get("groups", 1) for _ in range(2))
    if chosen.get("mid"):
        chosen |= {"expand": 1, "mid": chosen["mid"] if chosen["mid"] % cin else 0}
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    return OpSpec(kind, cin, cin if kind == "skip" else cout, height, width, **chosen)


@pytest.fixture
def taken_back() -> Iterator[None]:
    """Kinds that a test registers are removed after it."""
    before = dict(_kinds)
    yield
    _kinds.clear()
    _kinds.update(before)


def test_the_kinds_under_test_are_all_kinds() -> None:
    assert kinds() == BUILT_IN


@given(specs())
def test_a_key_parses_back_to_its_spec(spec: OpSpec) -> None:
    assert OpSpec.parse(spec.key) == spec
    assert OpSpec.parse(spec.key).key == spec.key


@given(specs(), st.data())
def test_every_field_that_can_change_changes_the_key(spec: OpSpec, data: st.DataObject) -> None:
    for field in fields(OpSpec):
        value = getattr(spec, field.name)
        if field.name == "kind":
            other = data.draw(st.sampled_from(BUILT_IN))
        elif field.name == "act":
            other = data.draw(st.sampled_from(ACTIVATIONS))
        elif field.name == "pad":
            other = data.draw(st.sampled_from(PADDINGS))
        else:
            other = value + data.draw(st.sampled_from([-2, -1, 1, 2]))
        try:
            changed = replace(spec, **{field.name: other})
        except InputError:
            continue
        assert (changed.key == spec.key) == (other == value)


def test_a_key_reads_as_documented() -> None:
    spec = OpSpec("mbconv", 16, 24, 32, 32, 3, 2, 6, act="relu6")
    assert spec.key == "mbconv-i16-o24-h32-w32-k3-s2-e6-relu6"
    assert replace(spec, pad="same").key == "mbconv-i16-o24-h32-w32-k3-s2-e6-relu6-same"
    assert spec.with_inner(72).key == "mbconv-i16-o24-h32-w32-k3-s2-relu6-m72"
    assert OpSpec("uib", 16, 24, 32, 32, 3, 1, 2, start=5).key == "uib-i16-o24-h32-w32-k3-e2-a5"


@given(specs(), st.integers(1, 2000))
def test_any_number_of_channels_inside_has_one_key(spec: OpSpec, inner: int) -> None:
    if {"expand", "mid"} <= _kinds[spec.kind].uses:
        changed = spec.with_inner(inner)
        assert changed.inner == inner
        assert OpSpec.parse(changed.key) == changed
        assert changed.with_inner(spec.inner) == spec


HOSTILE = (
    "",
    "-",
    "conv",
    "conv-i1-o1-h1",
    "conv-i1-o1-h1-w1-",
    "conv--i1-o1-h1-w1",
    "conv-o1-i1-h1-w1",
    "conv-i01-o1-h1-w1",
    "conv-i1-o1-h1-w1-k1",
    "conv-i1-o1-h1-w1-none",
    "conv-i1-i1-o1-h1-w1",
    "conv-i1-o1-h1-w1-relu-relu6",
    "conv-i1-o1-h1-w1-se4",
    "conv-i1-o1-h1-w1-x4",
    "conv-i1-o1-h1-w1-k2",
    "conv-i1-o1-h1-w0",
    "conv-i1-o1-h1-w-1",
    "conv-i1-o1-h1-w1\n",
    "CONV-i1-o1-h1-w1",
    "conv-i1-o1-h1-w9999999",
    "conv-i1-o1-h1-w99999999999999999999999999",
    "conv-i1-o1-h1-w١",
    "mbconv-i1-o1-h1-w1-g1",
    "mbconv-i1-o1-h1-w1-a3",
    "mbconv-i8-o8-h1-w1-m16",
    "mbconv-i8-o8-h1-w1-e2-m20",
    "mbconv-i8-o8-h1-w1-m0",
    "uib-i8-o8-h1-w1-a2",
    "uib-i8-o8-h1-w1-a1",
    "gelu-i1-o1-h1-w1",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_malformed_and_non_canonical_keys_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        OpSpec.parse(text)


@given(specs(), st.data())
def test_a_damaged_key_is_refused_or_the_key_of_another_op(spec: OpSpec, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(spec.key))] * 2)))
    text = spec.key[:start] + data.draw(st.text(max_size=3) | st.text("-iohwksegd019", max_size=3)) + spec.key[end:]
    with contextlib.suppress(InputError):
        assert OpSpec.parse(text).key == text


@pytest.mark.parametrize("kind", BUILT_IN)
def test_a_field_that_the_kind_does_not_use_cannot_be_set(kind: str) -> None:
    values = {"kernel": 3, "stride": 2, "expand": 2, "groups": 2, "dilation": 2, "se": 4, "act": "relu", "mid": 20}
    for field, value in (values | {"start": 3}).items():
        if field not in _kinds[kind].uses:
            with pytest.raises(InputError, match=f"does not use {field}"):
                OpSpec(kind, 8, 8, 8, 8, **{field: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "nothing"},
        {"cin": 0},
        {"cout": -1},
        {"height": 2.0},
        {"width": "8"},
        {"kernel": 2},
        {"kernel": True},
        {"stride": 0},
        {"se": -1},
        {"act": "gelu"},
        {"act": None},
        {"cin": 1 << 21},
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    valid: dict[str, Any] = {"kind": "mbconv", "cin": 8, "cout": 8, "height": 8, "width": 8}
    with pytest.raises(InputError):
        OpSpec(**valid | changes)


def test_groups_divide_both_channel_counts() -> None:
    with pytest.raises(InputError, match="groups must divide"):
        OpSpec("conv", 8, 6, 8, 8, groups=4)


def test_an_op_refuses_a_map_of_another_shape() -> None:
    builder = Builder((8, 8, 8))
    with pytest.raises(InputError, match="reads a"):
        OpSpec("skip", 4, 4, 8, 8).lower(builder, builder.input())


def test_a_skip_keeps_its_channels() -> None:
    with pytest.raises(InputError, match="keeps its channels"):
        _ = OpSpec("skip", 4, 8, 8, 8).graph


@pytest.mark.parametrize("name", ["conv", "Conv", "my-op", "", "3d", "a b", "é"])
def test_taken_and_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"registered already|name of an op"):
        op(name)


def test_a_kind_cannot_use_a_field_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="colour"):
        op("painted", "kernel colour")


@pytest.mark.usefixtures("taken_back")
def test_a_users_kind_works_in_every_backend() -> None:
    @op("twin", "kernel act")
    def twin(b: Builder, spec: OpSpec, x: Value) -> Value:
        left = b.conv(x, "left", spec.cout, kernel=spec.kernel, act=spec.act)
        right = b.conv(x, "right", spec.cout, kernel=1)
        return b.add(left, right)

    spec = OpSpec("twin", 4, 6, 5, 5, kernel=3, act="hswish")
    assert OpSpec.parse(spec.key) == spec
    assert costs(spec.graph).macs == 25 * 6 * 4 * (9 + 1)
    assert costs(spec.graph).params == 6 * 4 * (9 + 1) + 2 * 2 * 6
    assert set(fingerprint(spec)) <= set(string.hexdigits)

    network = Network((("twin", spec), ("classifier", OpSpec("classifier", 6, 3, 5, 5))))
    module = network_module(network)
    trained_like(module, network, 0)
    weights = export_weights(module)
    inputs = random_inputs(network, 3, 0)
    assert compare(network, weights, onnx_model(network, weights), inputs).ok

    part = module.get_submodule("twin")
    with torch.no_grad():
        x = torch.from_numpy(inputs)
        left, right = part.get_submodule("left"), part.get_submodule("right")
        by_hand = torch.nn.functional.hardswish(left(x)) + right(x)
        np.testing.assert_allclose(part(x).numpy(), by_hand.numpy(), rtol=0, atol=0)
