"""MobileNetV3 and V4 and their elastic spaces, against published numbers and tables of the papers."""

from __future__ import annotations

import itertools

import pytest

from hwnas.arch import SlotSpace, costs, space_instance
from hwnas.arch.spaces import parent_network


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("mobilenet-v3-large", 5_483_032, 216_589_760),
        ("tf-mobilenet-v3-large", 5_483_032, 216_589_760),
        ("mobilenet-v3-small", 2_542_856, 56_510_400),
        ("mobilenet-v4-conv-small", 3_774_024, 186_005_568),
        ("mobilenet-v4-conv-medium", 9_715_512, 827_649_984),
    ],
)
def test_parameters_and_multiply_adds_are_those_of_torchvision_and_timm(name: str, params: int, macs: int) -> None:
    found = costs(parent_network(name, resolution=224).graph)
    assert (found.params, found.macs) == (params, macs)


def test_channels_inside_are_those_of_the_papers_tables() -> None:
    def inside(name: str) -> list[int]:
        return [spec.inner for _, spec in parent_network(name).ops if spec.kind in ("mbconv", "uib", "fused")]

    assert inside("mobilenet-v3-large") == [16, 64, 72, 72, 120, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960]
    assert inside("mobilenet-v3-small") == [16, 72, 88, 96, 240, 240, 120, 144, 288, 576, 576]
    assert inside("mobilenet-v4-conv-small") == [192, *[192] * 4, 384, 576, 512, 512, 384, 512, 512]


def options(name: str) -> dict[str, tuple[str, ...]]:
    space = space_instance(name, width=1.0, resolution=64, channels=3, classes=4)
    assert isinstance(space, SlotSpace)
    assert all(len(set(names)) == len(names) for names in (one.options for one in space.decisions))
    return {one.name: one.options for one in space.decisions}


def test_the_parents_own_expansion_comes_first_then_whole_ones() -> None:
    found = options("mobilenet-v3-large")
    assert found["s0b0"] == ("k3e1", "skip")
    assert found["s3b1"] == ("k3e2.5", "k3e2", "skip")
    assert found["s2b0"] == ("k5e3", "k5e2", "k3e3", "k3e2")
    assert options("mobilenet-v3-small")["s1b1"] == ("k3e3.67", "k3e3", "k3e2", "skip")
    assert options("ofa-mobilenet-v3")["s1b0"] == tuple(f"k{k}e{e}" for k in (7, 5, 3) for e in (6, 4, 3, 2))


def test_universal_inverted_bottlenecks_lose_their_depthwise_convolutions() -> None:
    found = options("mobilenet-v4-conv-small")
    assert found["s3b2"] == (*(f"{kernels}e{e}" for kernels in ("k5", "k3", "") for e in (4, 3, 2)), "skip")
    assert found["s2b5"] == ("a3e4", "a3e3", "a3e2", "e4", "e3", "e2", "skip")
    kernels = ("a5k5", "a3k3", "a5", "k5")
    assert found["s2b0"] == tuple(f"{one}e{e}" for one in kernels for e in (3, 2))  # it halves: one has to stay
    medium = options("mobilenet-v4-conv-medium")
    assert medium["s0b0"] == ("k3e4", "k3e3", "k3e2")
    assert medium["s2b3"] == (
        *(f"{one}e{e}" for one, e in itertools.product(("a3k5", "a3k3", "a3", "k5", ""), (4, 3, 2))),
        "skip",
    )
    assert medium["s2b6"] == ("e2", "skip")
