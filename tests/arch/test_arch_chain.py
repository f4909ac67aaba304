"""MetaQNN's chains against the rules of the paper, written down once more; and the costs of one by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.arch import Architecture, OpSpec, costs
from hwnas.arch.spaces.chain import ChainSpace, chain
from hwnas.errors import InputError


def drawn(space: ChainSpace, seed: int) -> Architecture:
    """A chain that takes one of the allowed steps after the other."""
    rng = random.Random(seed)
    return space.architecture(space.drawn(rng.randrange).choices)


def fits(names: list[str], resolution: int, layers: int) -> bool:
    """Whether the paper's rules allow these layers, the end included where it comes before the last one."""
    names = names[: names.index("end") + 1] if "end" in names else names
    kinds = [name.rstrip("0123456789_") for name in names]
    size, units = resolution, 1 << 20
    if kinds[0] != "conv" or kinds.count("fc") > 2 or len(names) > layers:
        return False
    for before, kind, name in zip(["", *kinds], kinds, names, strict=False):
        first, *rest = [int(number) for number in name[len(kind) :].strip("_").split("_") if number] or [0]
        if kind == "conv" and (before == "fc" or first > size):
            return False
        if kind == "pool":
            if before in ("pool", "fc") or first > size:
                return False
            size = -(-size // rest[0])
        if kind == "fc":
            if size > 8 or (before == "fc" and first > units):
                return False
            size, units = 1, first
    return True


@given(st.sampled_from([4, 8, 12, 32]), st.integers(0, 10**9), st.data())
def test_the_rules_are_the_papers(resolution: int, seed: int, data: st.DataObject) -> None:
    """Allowed chains, one of whose layers is changed: allowed or not as the rules say."""
    space = chain(0.25, resolution, 3, 10, layers=8)
    choices = list(drawn(space, seed).choices)
    changed = data.draw(st.integers(0, 7))
    choices[changed] = data.draw(st.integers(0, len(space.names) - 1))
    names = [space.names[choice] for choice in choices]
    # Behind the end all choices are 0, so that a chain has one genotype.
    behind = names[names.index("end") :] if "end" in names else []
    allowed = fits(names, resolution, 8) and set(behind) <= {"end"}
    try:
        architecture = space.architecture(choices)
    except InputError:
        assert not allowed
        return
    assert allowed
    layers = space.network(architecture).ops
    assert [spec.kind for _, spec in layers[-1:]] == ["classifier"]
    assert {spec for _, spec in layers} <= set(space.ops)
    assert [*space.describe(architecture).values()] == [name for name in names if name != "end"]


@pytest.mark.parametrize("resolution", [8, 32])
def test_the_rows_are_the_ops_that_chains_have(resolution: int) -> None:
    space = chain(0.25, resolution, 1, 10)
    assert len(set(space.ops)) == len(space.ops)
    assert len(space.ops) < 350  # each takes about a second to measure
    assert {OpSpec.parse(spec.key) for spec in space.ops} == set(space.ops)
    seen = {spec for seed in range(400) for _, spec in space.network(drawn(space, seed)).ops}
    assert seen <= set(space.ops)
    assert len(seen) > 0.3 * len(space.ops)


def test_costs_of_a_chain_by_hand() -> None:
    space = chain(0.25, 8, 3, 10, layers=6)
    layers = ("conv3_16", "pool3_2", "conv1_32", "pool2_2", "fc_64")
    choices = [space.names.index(name) for name in layers]
    found = costs(space.network(space.architecture([*choices, 0])).graph)
    assert found.macs == 64 * 9 * 3 * 16 + 16 * 16 * 32 + 32 * 64 + 64 * 10
    assert found.params == (9 * 3 * 16 + 2 * 16) + (16 * 32 + 2 * 32) + (32 * 64 + 64) + (64 * 10 + 10)


def test_what_cannot_be_a_chain_is_refused() -> None:
    space = chain(0.25, 8, 3, 10, layers=3)
    for names, message in (
        (["pool2_2", "end", "end"], "layer 1 .* may be conv1_16"),
        (["end", "end", "end"], "layer 1"),
        (["conv1_16", "pool2_2", "pool2_2"], "layer 3"),
        (["conv1_16", "fc_32", "fc_64"], "layer 3"),
        (["conv1_16", "end", "conv1_16"], "layer 3 .* may be end$"),
        (["conv1_16", "end"], "3 layers, not 2"),
    ):
        with pytest.raises(InputError, match=message):
            space.architecture([space.names.index(name) for name in names])
    with pytest.raises(InputError, match="does not belong"):
        space.network(Architecture("chain@w1-r8", (1, 0, 0)))
    with pytest.raises(InputError, match="at least one layer"):
        chain(0.25, 8, layers=0)
