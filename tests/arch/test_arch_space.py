from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.arch import (
    Architecture,
    Decision,
    Network,
    OpSpec,
    Slot,
    SlotSpace,
    mobilenet_v2,
    parse_instance,
    space_instance,
    space_names,
)
from hwnas.arch.kinds import make_divisible
from hwnas.errors import InputError

TOY = space_instance("toy", width=1.0, resolution=8, channels=1, classes=10)
K3, K5 = (OpSpec("conv", 4, 4, 8, 8, kernel=kernel) for kernel in (3, 5))


@pytest.mark.parametrize("choices", [(), (0, 0, 0), (0, 0, 0, 0, 0), (3, 0, 0, 0), (0, -1, 0, 0)])
def test_choices_that_do_not_fit_are_refused(choices: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        TOY.architecture(choices)


def test_an_architecture_of_another_space_is_refused() -> None:
    with pytest.raises(InputError, match="does not belong"):
        TOY.network(Architecture("mobile@w1-r32", (0, 0, 0, 0)))


def test_enumerate_yields_every_architecture_once_and_each_builds() -> None:
    architectures = list(TOY.enumerate())
    assert len(set(architectures)) == len(architectures) == TOY.size == 81
    networks = {TOY.network(architecture) for architecture in architectures}
    assert len(networks) == 81
    assert all(network.output_shape == (10, 1, 1) for network in networks)


def test_a_shared_decision_fills_both_its_slots() -> None:
    slots = {slot.name: slot for slot in TOY.slots}
    for option, name in enumerate(TOY.decisions[1].options):
        architecture = TOY.architecture((0, option, 0, 0))
        ops = dict(TOY.network(architecture).ops)
        assert (ops["b"], ops["d"]) == (slots["b"].ops[option], slots["d"].ops[option])
        assert TOY.describe(architecture) == {"a": "k3", "bd": name, "c": "k1", "e": "e4"}


@pytest.mark.parametrize(
    ("slot", "message"),
    [
        (Slot("a", (K3,), 0), "offers 1 ops for 2 options"),
        (Slot("a", (K3, K5)), "offers 2 ops for 1 options"),
        (Slot("a", (K3, OpSpec("conv", 4, 4, 8, 8, stride=2)), 0), "write one shape"),
        (Slot("a", (K3, OpSpec("conv", 8, 4, 8, 8)), 0), "read one shape"),
    ],
)
def test_a_slot_whose_ops_do_not_fit_is_refused(slot: Slot, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SlotSpace("s", (Decision("a", ("k3", "k5")),), (slot,))


@pytest.mark.parametrize("width", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("resolution", [8, 16, 32, 96, 224])
def test_instances_of_mobile(width: float, resolution: int) -> None:
    space = space_instance("mobile", width=width, resolution=resolution, channels=3, classes=7)
    assert (space.input_shape, space.classes) == ((3, resolution, resolution), 7)
    for slot in space.slots:
        assert len({(spec.input_shape, spec.output_shape) for spec in slot.ops}) == 1
        assert len(set(slot.ops)) == len(slot.ops)
    assert len(set(space.ops)) == len(space.ops)
    assert all(spec.graph.nodes for spec in space.ops)
    last = [len(decision.options) - 1 for decision in space.decisions]
    for choices in ([0] * len(last), last):
        assert isinstance(space.network(space.architecture(choices)), Network)
    assert parse_instance(space.name, channels=3, classes=7) == space


@pytest.mark.parametrize(
    ("resolution", "maps"),
    [
        (8, [4, 4, 4, 4]),
        (16, [8, 8, 4, 4]),
        (28, [14, 14, 7, 7]),
        (32, [16, 8, 4, 4]),
        (64, [32, 16, 8, 4]),
        (224, [56, 28, 14, 7]),
    ],
)
def test_small_images_keep_their_maps_where_they_are_largest(resolution: int, maps: list[int]) -> None:
    space = space_instance("mobile", width=1.0, resolution=resolution, channels=3, classes=10)
    firsts = [slot.ops[0] for slot in space.slots if slot.name.endswith("b0")]
    assert [spec.output_shape[1] for spec in firsts] == maps
    rival = mobilenet_v2(0.5, resolution, small=True)
    sizes = {name[:2]: spec.output_shape[1] for name, spec in rival.ops if name.startswith("s") and name != "stem"}
    assert [sizes[stage] for stage in ("s1", "s2", "s3", "s5")] == maps


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_depth_is_part_of_the_name_and_parses_back(depth: int) -> None:
    space = space_instance("mobile", width=0.5, depth=depth, resolution=32, channels=3, classes=10)
    assert len(space.decisions) == 4 * (depth - 1)
    assert parse_instance(space.name, channels=3, classes=10) == space
    assert ("-d" in space.name) is (depth != 3)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(space_names()), st.integers(5, 800), st.integers(4, 2048))
def test_the_name_of_an_instance_parses_back_to_it(name: str, percent: int, resolution: int) -> None:
    space = space_instance(name, width=percent / 100, resolution=resolution, channels=3, classes=10)
    assert parse_instance(space.name, channels=3, classes=10) == space


@pytest.mark.parametrize("width", [1 / 15, math.nextafter(1.5, 0.0)])
def test_the_name_of_an_instance_of_any_width_parses_back_to_it(width: float) -> None:
    space = space_instance("mobile", width=width, resolution=32, channels=3, classes=10)
    assert parse_instance(space.name, channels=3, classes=10) == space


@given(st.text() | st.from_regex(r"(mobile|toy|\w*)@w[0-9.]*-r[0-9]*\n?", fullmatch=True))
def test_what_is_no_name_raises_input_error_and_nothing_else(text: str) -> None:
    try:
        space = parse_instance(text, channels=1, classes=2)
    except InputError:
        return
    assert parse_instance(space.name, channels=1, classes=2) == space


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mobile",
        "mobile@w1",
        "mobile@w1-r32 ",
        "mobile@w.-r32",
        "mobile@w1..5-r32",
        "mobile@w0-r32",
        "mobile@w9-r32",
        "mobile@w1-r3",
        "mobile@w1-r2049",
        "mobile@w-1-r32",
        "mobile@wnan-r32",
        "none@w1-r32",
        "mobile@w1-r٣٢",
    ],
)
def test_what_is_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_instance(text, channels=3, classes=10)


@pytest.mark.parametrize(
    "changes", [{"name": "none"}, {"width": float("nan")}, {"resolution": 3}, {"channels": 0}, {"classes": 1}]
)
def test_constants_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        space_instance(**{"name": "mobile", "width": 1.0, "resolution": 32, "channels": 3, "classes": 10} | changes)


@given(st.floats(0.1, 5000.0), st.integers(1, 32))
def test_channels_round_to_a_multiple_and_never_down_by_more_than_a_tenth(channels: float, divisor: int) -> None:
    rounded = make_divisible(channels, divisor)
    assert rounded % divisor == 0
    assert rounded >= max(divisor, 0.9 * channels)
    assert rounded <= max(channels + 1.5 * divisor, divisor)


def test_a_restricted_space_holds_the_networks_of_the_options_that_are_kept() -> None:
    whole = space_instance("toy", width=1.0, resolution=8, channels=1, classes=10)
    kept = [(0, 2), (2, 0), (1,), (0, 1, 2)]
    space = whole.restricted(kept)
    assert (space.name, space.signature, space.size) == (whole.name, whole.signature, 12)
    for architecture in space.enumerate():
        same = whole.architecture([row[choice] for row, choice in zip(kept, architecture.choices, strict=True)])
        assert space.network(architecture) == whole.network(same)
        assert space.describe(architecture) == whole.describe(same)
    assert whole.restricted([range(3)] * 4) == whole
    with pytest.raises(InputError, match="at least one option"):
        whole.restricted([(0,), (), (0,), (0,)])
