"""MobileNetV3 and V4 and their elastic spaces, against published numbers and tables of the papers."""

from __future__ import annotations

import itertools

import pytest

from hwnas.arch import SlotSpace, costs, space_instance
from hwnas.arch.spaces import parent_network


@pytest.mark.parametrize(
    ("name", "resolution", "params", "mega_macs"),
    [
        ("mobilenet-v3-large", 224, 5_483_032, 216.6),  # the parameters that torchvision tells
        ("tf-mobilenet-v3-large", 224, 5_483_032, 216.6),
        ("mobilenet-v3-small", 224, 2_542_856, 56.5),
        ("mobilenet-v4-conv-small", 224, 3_774_024, 184.9),  # those of timm
        ("mobilenet-v4-conv-medium", 224, 9_715_512, 833.2),
        ("ofa-mobilenet-v3", 224, 7_664_728, 566.3),
    ],
)
def test_parameters_and_multiply_adds(name: str, resolution: int, params: int, mega_macs: float) -> None:
    found = costs(parent_network(name, resolution=resolution).graph)
    assert found.params == params
    assert found.macs / 1e6 == pytest.approx(mega_macs, abs=0.1)


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
    assert "s0b0" not in found
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
