"""`toy`: small enough to enumerate, with a skip and a decision that two slots share. For tests and examples."""

from __future__ import annotations

from hwnas.arch.op import OpSpec
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import Decision, Slot
from hwnas.image_size import Size, SizeLike


def toy(width: float = 1.0, resolution: SizeLike = 8, channels: int = 1, classes: int = 10) -> SlotSpace:
    """81 chains of four decisions; the second decision fills two slots."""
    c, size = max(4, int(8 * width)), Size.of(resolution)
    half = size.halved()
    stem = OpSpec("conv", channels, c, *size, kernel=3, stride=2, act="relu")

    def blocks(kernels: tuple[int, ...], expand: int = 2) -> tuple[OpSpec, ...]:
        return tuple(OpSpec("mbconv", c, c, *half, kernel, 1, expand, act="relu") for kernel in kernels)

    skip = OpSpec("skip", c, c, *half)
    convs = tuple(OpSpec("conv", c, c, *half, kernel=kernel, act="relu") for kernel in (1, 3, 5))
    slots = (
        Slot("stem", (stem,)),
        Slot("a", blocks((3, 5, 7)), decision=0),
        Slot("b", (*blocks((3, 5)), skip), decision=1),
        Slot("c", convs, decision=2),
        Slot("d", (*blocks((3, 5)), skip), decision=1),
        Slot("e", (*blocks((3,), 4), *blocks((3,), 6), skip), decision=3),
        Slot("classifier", (OpSpec("classifier", c, classes, *half),)),
    )
    decisions = (
        Decision("a", ("k3", "k5", "k7")),
        Decision("bd", ("k3", "k5", "skip")),
        Decision("c", ("k1", "k3", "k5")),
        Decision("e", ("e4", "e6", "skip")),
    )
    return SlotSpace(f"toy@w{width:g}-r{size}", decisions, slots)
