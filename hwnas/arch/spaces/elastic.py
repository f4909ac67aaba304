"""Elastic spaces: all networks that are inside of a parent, block by block. The parent is one of them, bit for bit."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import Decision, Slot
from hwnas.errors import InputError

_KERNELS, _EXPANSIONS = (5, 3), (4, 3, 2)


def elastic(name: str, parent: Network) -> SlotSpace:
    """The networks with smaller kernels and expansions than `parent`, and without some of its residual blocks.

    The first option of every decision is the parent's own. Blocks that change channels or size always stay; what is
    left of a stage is how deep it is.

    Args:
        name: of the instance.
        parent: a chain of ops; its `mbconv` are what is chosen.

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
    if spec.kind != "mbconv":
        return {spec.kind: spec}
    kernels = (spec.kernel, *(kernel for kernel in _KERNELS if kernel < spec.kernel))
    expansions = (spec.expand, *(expand for expand in _EXPANSIONS if expand < spec.expand))
    found = {f"k{k}e{e}": replace(spec, kernel=k, expand=e) for k, e in itertools.product(kernels, expansions)}
    if spec.input_shape == spec.output_shape:
        found["skip"] = OpSpec("skip", spec.cin, spec.cout, spec.height, spec.width)
    return found
