"""Elastic spaces: all networks that are inside of a parent, block by block. The parent is one of them, bit for bit."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import Decision, Slot
from hwnas.errors import InputError

BLOCKS = ("mbconv", "uib", "fused")
"""Kinds of op that are chosen."""

_KERNELS, _EXPANSIONS = (5, 3), (6, 4, 3, 2)


def elastic(name: str, parent: Network) -> SlotSpace:
    """The networks with smaller kernels and expansions than `parent`, and without some of its residual blocks.

    A universal inverted bottleneck may also lose one of its depthwise convolutions, or both. The first option of every
    decision is the parent's own. Blocks that change channels or size always stay; what is left of a stage is how deep
    it is.

    Args:
        name: of the instance.
        parent: a chain of ops; its `BLOCKS` are what is chosen.

    Raises:
        InputError: the parent is no chain.
    """
    if parent.reads:
        raise InputError(
            f"an elastic space is made from a chain of ops, but {parent.reads[0][0]} of {name} reads others"
        )
    slots: list[Slot] = []
    decisions: list[Decision] = []
    for op, spec in parent.ops:
        options = _options(spec)
        if len(options) == 1:
            slots.append(Slot(op, (spec,)))
        else:
            slots.append(Slot(op, tuple(options.values()), decision=len(decisions)))
            decisions.append(Decision(op, tuple(options)))
    return SlotSpace(name, tuple(decisions), tuple(slots))


def _options(spec: OpSpec) -> dict[str, OpSpec]:
    """What can stand in the place of an op, by name; the op itself comes first."""
    if spec.kind not in BLOCKS:
        return {spec.kind: spec}
    inners = (spec.inner, *(spec.cin * expand for expand in _EXPANSIONS if spec.cin * expand < spec.inner))
    found = {}
    for (start, kernel), inner in itertools.product(_kernels(spec), inners):
        one = replace(spec, start=start, kernel=kernel).with_inner(inner)
        found[_named(one)] = one
    if spec.input_shape == spec.output_shape:
        found["skip"] = OpSpec("skip", spec.cin, spec.cout, spec.height, spec.width)
    return found


def _kernels(spec: OpSpec) -> list[tuple[int, int]]:
    """Kernels before and behind the expansion, those of the block first; 1 is no convolution.

    Where there are two, they shrink together, or one of them goes, not in all pairs: each is measured and trained.
    """
    start, kernel = spec.start, spec.kernel
    smaller = [(min(size, start), size) for size in _KERNELS if size < kernel]
    if spec.kind != "uib":
        return [(start, kernel), *smaller]
    smaller += [(size, min(size, kernel)) for size in _KERNELS if size < start]
    found = dict.fromkeys([(start, kernel), *smaller, (start, 1), (1, kernel), (1, 1)])
    return [pair for pair in found if spec.stride == 1 or max(pair) > 1]


def _named(spec: OpSpec) -> str:
    """Such as k5e4, or a5k3e4 with a depthwise convolution in front."""
    start = f"a{spec.start}" if spec.start > 1 else ""
    kernel = f"k{spec.kernel}" if spec.kernel > 1 else ""
    return f"{start}{kernel}e{spec.inner / spec.cin:.3g}"
