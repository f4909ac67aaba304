"""Inputs that are no squares: maps by closed forms, and squares as they were."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.arch import mobilenet_v2, space_instance
from hwnas.arch.spaces import instance_options, parse_constants, parse_instance, space_names
from hwnas.backends.model_format import format_of
from hwnas.devices.device import IMPORTED
from hwnas.errors import InputError
from hwnas.image_size import Size
from hwnas.latency.table_files import load_table

TABLES = Path(__file__).parents[2] / "latency_tables"


def ceil(value: int, *, halvings: int) -> int:
    return -(-value // 2**halvings)


@pytest.mark.parametrize(
    ("name", "size", "halvings"),
    [
        ("toy", (49, 10), 1),
        ("toy", (4, 100), 1),
        ("mobile", (49, 10), 1),  # 25 x 5 is kept: half of 5 is less than 4
        ("mobile", (10, 49), 1),
        ("mobile", (96, 160), 4),
        ("mobile", (40, 24), 2),
        ("mobile", (4, 2048), 1),
        ("fbnet", (96, 160), 5),
        ("fbnet", (49, 10), 2),  # 10, 5, 3
        ("nasbench201", (49, 10), 2),
        ("nasbench201", (4, 33), 2),
        ("macro", (49, 10), 2),
        ("macro", (96, 160), 3),  # the stem halves until the shorter side has 64 pixels
        ("macro", (4, 33), 2),
        ("darts", (49, 10), 2),
        ("darts", (96, 160), 5),  # the stem of ImageNet divides by 8
        ("darts", (60, 500), 2),
        ("darts", (4, 33), 2),
    ],
)
def test_every_map_is_the_input_halved(name: str, size: tuple[int, int], halvings: int) -> None:
    """Both sides are halved together, and how often the shorter one says."""
    space = space_instance(name, width=0.25, resolution=Size(*size), channels=2, classes=5)
    assert (space.input_shape, space.name) == ((2, *size), f"{name}@w0.25-r{size[0]}x{size[1]}")
    possible = {tuple(ceil(side, halvings=k) for side in size) for k in range(halvings + 1)}
    network = space.network(space.drawn(random.Random(0).randrange))
    assert {(spec.height, spec.width) for spec in space.ops} | {n.output_size for _, n in network.ops[:-1]} == possible
    last = network.ops[-1][1]
    assert (last.height, last.width) == tuple(ceil(side, halvings=halvings) for side in size)
    assert network.ops[-1][1].output_shape == (5, 1, 1)


@settings(max_examples=15)
@given(st.integers(4, 70), st.integers(4, 70), st.integers(0, 99))
def test_chains_of_any_shape(height: int, width: int, seed: int) -> None:
    space = space_instance("chain", width=0.125, depth=6, resolution=Size(height, width), channels=1, classes=3)
    network = space.network(space.drawn(random.Random(seed).randrange))
    assert network.input_shape == (1, height, width)
    connected = [spec for _, spec in network.ops if spec.kind == "dense"]
    assert all(spec.height * spec.width <= 64 for spec in connected)
    assert all(spec.kernel <= min(spec.height, spec.width) for _, spec in network.ops)


@pytest.mark.parametrize("name", [name for name in space_names() if name != "chain"])
def test_a_turned_input_has_the_turned_space(name: str) -> None:
    spaces = [space_instance(name, width=0.25, resolution=size, channels=3, classes=10) for size in ("24x40", "40x24")]
    turned = [[(spec.kind, spec.cin, spec.cout, spec.kernel, spec.stride) for spec in one.ops] for one in spaces]
    sizes = [[(spec.height, spec.width) for spec in one.ops] for one in spaces]
    assert turned[0] == turned[1]
    assert sizes[0] == [size[::-1] for size in sizes[1]]


def test_mobilenet_v2_of_a_rectangle() -> None:
    for small in (False, True):
        ops = mobilenet_v2(0.25, "96x160", classes=10, small=small).ops
        assert ops[0][1].input_shape == (3, 96, 160)
        height, width = (3, 5) if not small else (6, 10)
        assert (ops[-1][1].height, ops[-1][1].width) == (height, width)


@settings(max_examples=15)
@given(st.sampled_from([name for name in space_names() if name != "chain"]), st.integers(4, 64), st.integers(4, 64))
def test_the_name_of_an_instance_parses_back_to_it(name: str, height: int, width: int) -> None:
    size = Size(height, width)
    text = f"{name}@w0.25-r{size}"
    assert parse_constants(text) == (name, 0.25, 0, size)
    space = parse_instance(text, channels=2, classes=4)
    assert (space.name, space.input_shape) == (text, (2, height, width))
    assert f"--resolution {size} --channels 2" in instance_options(space)


@pytest.mark.parametrize("resolution", ["3x40", Size(40, 3), "40x2049", 3, 0, True, "40x", None])
def test_sides_have_their_limits(resolution: object) -> None:
    with pytest.raises(InputError, match="2048"):
        space_instance("toy", width=1.0, resolution=resolution, channels=1, classes=2)  # type: ignore[arg-type]


def test_the_keys_of_squares_are_those_of_the_tables() -> None:
    """Signatures in the tables that come with hwnas name an instance, and the table has its ops by key and content."""
    for folder in sorted(path.parent for path in TABLES.rglob("meta.toml") if path.parent.name != IMPORTED):
        table = load_table(folder)
        fingerprint = format_of(table.under.runtime, table.under.precision).fingerprint
        assert table.calibrations
        for signature in table.calibrations:
            name, channels, classes = signature.rsplit("-", 2)
            space = parse_instance(name, channels=int(channels[1:]), classes=int(classes[1:]))
            assert space.signature == signature
            assert {spec.key for spec in space.ops} <= set(table.rows), f"{folder} lacks ops of {signature}"
            for spec in (space.ops[0], space.ops[-1]):
                assert table.rows[spec.key].fingerprint == fingerprint(spec)
