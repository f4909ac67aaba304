"""The description layer: what networks are, and what they cost without a device. Standard library only."""

from hwnas.arch import kinds as _kinds
from hwnas.arch.costs import Costs, costs
from hwnas.arch.groups import Group
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec, op
from hwnas.arch.slot_space import SlotSpace
from hwnas.arch.space import Architecture, Decision, SearchSpace, Slot
from hwnas.arch.spaces import (
    mobilenet_v2,
    parse_instance,
    space_instance,
    space_names,
    space_rungs,
)

__all__ = [
    "Architecture",
    "Costs",
    "Decision",
    "Group",
    "Network",
    "OpSpec",
    "SearchSpace",
    "Slot",
    "SlotSpace",
    "costs",
    "mobilenet_v2",
    "op",
    "parse_instance",
    "space_instance",
    "space_names",
    "space_rungs",
]

del _kinds
