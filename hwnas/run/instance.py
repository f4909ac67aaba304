"""The space follows the budget: measure the ends of instances from small to large, and take one that fits."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from hwnas.arch.costs import macs, written
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.devices.device import Device
from hwnas.devices.estimate import estimates
from hwnas.devices.measure import measure
from hwnas.errors import InfeasibleBudgetError
from hwnas.image_size import Size
from hwnas.latency.measured_models import write_models, write_reference_model
from hwnas.progress import Progress

SHARE = 0.4
HOPELESS = 0.9
"""Of the smallest network's latency as measured in a second: a budget below that is refused without a table."""
_ROUNDS = 5
_NETWORK_S = 0.3  # to write a network and to time it, on a machine that does nothing else
_STEEPEST = 1.25  # times the latency of a smaller input, by its work, that is no sign of a disturbance
_MARGIN = 1.1  # between the fastest network as measured here and the tightest of several budgets

Ranges = Sequence[tuple[float, float]]
"""Latency in milliseconds of the smallest and of the largest network of each instance."""


@dataclass(frozen=True)
class ChosenInstance:
    """An instance with its constants, and why it was taken, in a phrase for the user.

    Attributes:
        sizes: what was found at each input size, ready for JSON, where sizes were compared by quality.
    """

    space: SearchSpace
    width: float
    depth: int
    reason: str
    sizes: tuple[Mapping[str, Any], ...] = ()

    @property
    def size(self) -> Size:
        """Of the images that its networks read."""
        return Size(*self.space.input_shape[1:])


@dataclass(frozen=True)
class Asked:
    """A device with its budgets in milliseconds, the tightest first."""

    device: Device
    budgets_ms: Sequence[float]


def fit(
    asked: Sequence[Asked],
    sizes: Sequence[tuple[float, int]],
    instance: Callable[[float, int, Size], SearchSpace],
    resolutions: Sequence[Size],
    *,
    several: bool,
    progress: Progress,
    known: Mapping[str, tuple[float, float]] | None = None,
) -> ChosenInstance:
    """The largest instance of whose latency range 40 % lie within the budget.

    Larger ones would leave little but their smallest networks; in smaller ones the budget would hardly be felt. A
    smaller resolution is taken only where no size at a larger one leaves so much room. Of several budgets, on one
    device or on several, one must leave so much room, and none may be faster than the fastest network on its device.

    Args:
        sizes: (width, depth) from small to large.
        instance: from width, depth and resolution.
        resolutions: from large to small.
        several: whether there are several budgets, those included that are not in milliseconds.
        known: latency ranges of instances by name, in place of measuring.

    Raises:
        InfeasibleBudgetError: no network of any instance is that fast.
        DeviceError: a device cannot measure.
    """
    tight: ChosenInstance | None = None
    smallest_ms = [float("inf")] * len(asked)
    for resolution in resolutions:
        spaces = [instance(width, depth, resolution) for width, depth in sizes]
        ranges: list[Ranges] = []
        for one in asked:
            if known is not None:
                ranges.append([known[space.name] for space in spaces])
                continue
            name = one.device.place if len(asked) > 1 else one.device.id
            progress.say(announcement(spaces, one.budgets_ms, name))
            ranges.append(spans := measured_ranges(spaces, one.device, progress=progress))
            if resolution != resolutions[-1] and resolution == resolutions[0] and one.budgets_ms[0] < spans[0][0]:
                _check_reach(asked, one, instance(*sizes[0], resolutions[-1]), progress)
        smallest_ms = [min(floor, *(low for low, _ in spans)) for floor, spans in zip(smallest_ms, ranges, strict=True)]
        chosen = _loosest(asked, ranges, several=several)
        if chosen is None:
            continue
        index, roomy, reason = chosen
        found = ChosenInstance(spaces[index], *sizes[index], reason)
        if roomy:
            return found
        tight = tight or found
    if tight is not None:
        return tight
    floors = zip(asked, smallest_ms, strict=True)
    worst, floor = min(floors, key=lambda pair: pair[0].budgets_ms[0] / pair[1])
    raise _out_of_reach(asked, worst, spaces[0], floor)


def _check_reach(asked: Sequence[Asked], one: Asked, smallest: SearchSpace, progress: Progress) -> None:
    """Whether the smallest network of the smallest instance may be as fast as a device is asked for.

    Raises:
        InfeasibleBudgetError: it is not, by far; then instances between the largest and the smallest need no measuring.
    """
    progress.say(f"measuring the smallest network of {smallest.name} on {one.device.id}, for about a second")
    found = floor_ms(
        {"smallest": extreme(smallest, min)}, one.device, progress=progress, label="measuring the smallest network"
    )
    if one.budgets_ms[0] < HOPELESS * found["smallest"]:
        raise _out_of_reach(asked, one, smallest, found["smallest"])


def _out_of_reach(asked: Sequence[Asked], one: Asked, smallest: SearchSpace, floor: float) -> InfeasibleBudgetError:
    least = f"{floor * 1.1:.2g} ms there" if len(asked) > 1 else f"--budget-ms {floor * 1.1:.2g}"
    return InfeasibleBudgetError(
        f"no network of the smallest space, {smallest.name}, runs within {one.budgets_ms[0]:g} ms on "
        f"{one.device.id}: its smallest one was just measured at {floor:.3g} ms",
        smallest_ms=floor,
        hint=f"ask for at least {least}, or use a smaller --resolution",
    )


def _loosest(asked: Sequence[Asked], ranges: Sequence[Ranges], *, several: bool) -> tuple[int, bool, str] | None:
    """What the loosest budget of any device calls for, among the instances that keep the tightest of every one.

    Returns:
        The index of the instance, whether it leaves room, and why it was taken; None where there is no such instance.
    """
    kept = len(ranges[0])
    for one, spans in zip(asked, ranges, strict=True) if several else ():
        kept = min(kept, _fast_enough(one.budgets_ms[0], spans))
    best: tuple[int, bool, str] | None = None
    for one, spans in zip(asked, ranges, strict=True) if kept else ():
        loosest_ms = one.budgets_ms[-1]
        chosen, reason = choose(loosest_ms, spans[:kept])
        if chosen is None:
            continue
        low, high = spans[chosen]
        found = (
            chosen,
            has_room(loosest_ms, spans[chosen]),
            f"{low:.3g} to {high:.3g} ms on {one.device.id}: {reason}",
        )
        best = found if best is None else max(best, found, key=lambda one: (one[1], one[0]))
    return best


def _fast_enough(tightest_ms: float, spans: Ranges) -> int:
    """How many of the instances, from the smallest on, have networks that are as fast."""
    return len(list(takewhile(lambda span: _MARGIN * span[0] <= tightest_ms, spans)))


def announcement(spaces: Sequence[SearchSpace], budgets_ms: Sequence[float], device: str) -> str:
    """One line that says, before instances are measured, which ones, on which device, about how long and why."""
    family, resolution = spaces[0].name.partition("@")[0], Size(*spaces[0].input_shape[1:])
    asked = " to ".join(f"{value:g}" for value in dict.fromkeys((budgets_ms[0], budgets_ms[-1])))
    sizes, aim = (f"{len(spaces)} sizes of ", "choose a size for") if len(spaces) > 1 else ("", "see whether it fits")
    return (
        f"measuring the smallest and the largest network of {sizes}the space {family} at {resolution} pixels on "
        f"{device}, for {_time(len(_ENDS) * len(spaces))}, to {aim} {asked} ms"
    )


def _time(networks: int) -> str:
    return f"about {max(1, round(_NETWORK_S * networks))} s"


def choose(budget_ms: float, ranges: Ranges) -> tuple[int | None, str]:
    """Index of the range that the budget calls for (see `fit`; None if it is below all of them), and why.

    Where it leaves enough of none, that is the range of which it leaves most.
    """
    roomy = [index for index, span in enumerate(ranges) if has_room(budget_ms, span)]
    possible = [index for index, (low, _) in enumerate(ranges) if low <= budget_ms]
    if not roomy:
        roomiest = max(possible, key=lambda index: _share(budget_ms, ranges[index]), default=None)
        return roomiest, f"only its smallest networks run within {budget_ms:g} ms"
    if roomy[-1] == len(ranges) - 1 and budget_ms >= ranges[-1][1]:
        return roomy[-1], f"the largest space there is, and even so {budget_ms:g} ms do not bind"
    return roomy[-1], f"the largest space of which {budget_ms:g} ms leave enough to choose from"


def has_room(budget_ms: float, span: tuple[float, float]) -> bool:
    """Whether 40 % of a latency range lie within the budget."""
    return _share(budget_ms, span) >= SHARE


def _share(budget_ms: float, span: tuple[float, float]) -> float:
    """How much of a latency range lies within the budget."""
    low, high = span
    return (budget_ms - low) / max(high - low, 1e-12)


def measured_ranges(instances: Sequence[SearchSpace], device: Device, *, progress: Progress) -> Ranges:
    """Undisturbed latency of the smallest and of the largest network of each instance, in milliseconds."""
    networks = {f"{end} {space.name}": extreme(space, pick) for space in instances for end, pick in _ENDS.items()}
    which = f"which of {len(instances)} sizes fits" if len(instances) > 1 else f"the ends of {instances[0].name}"
    floors_ms = floor_ms(networks, device, progress=progress, label=f"measuring {which},")
    return [(floors_ms[f"smallest {space.name}"], floors_ms[f"largest {space.name}"]) for space in instances]


def undisturbed_ranges(instances: Sequence[SearchSpace], device: Device, *, progress: Progress) -> Ranges:
    """The same of instances from a large input to a small one, where a busy machine would make the large ones slow.

    A call that takes longer than the time between two turns of other programs is never undisturbed, and short ones are.
    So no network counts as slower than a smaller input says by the work of both, and a quarter more.
    """
    ranges = measured_ranges(instances, device, progress=progress)
    ends: list[list[float]] = []
    for place, pick in enumerate(_ENDS.values()):
        works = [sum(work(spec) for _, spec in extreme(space, pick).ops) for space in instances]
        found: list[float] = []
        for one, (measured, units) in enumerate(zip((span[place] for span in ranges), works, strict=True)):
            smaller = zip((span[place] for span in ranges[one + 1 :]), works[one + 1 :], strict=True)
            found.append(min([measured, *(_STEEPEST * other * units / theirs for other, theirs in smaller)]))
        ends.append(found)
    return list(zip(*ends, strict=True))


def floor_ms(
    networks: Mapping[str, Network], device: Device, *, progress: Progress, label: str = "measuring"
) -> dict[str, float]:
    """Undisturbed latency of whole networks with random weights, in milliseconds.

    Args:
        label: what is measured, for progress.

    Raises:
        DeviceError: the device cannot measure.
    """
    with tempfile.TemporaryDirectory() as temporary:
        reference = write_reference_model(Path(temporary), device)
        models = write_models(Path(temporary), networks, device)
        measured = estimates(measure(device, models, reference, rounds=_ROUNDS, progress=progress, label=label))
    return {name: measured[name].floor_us / 1e3 for name in networks}


def extreme(space: SearchSpace, pick: Callable[[list[float]], float]) -> Network:
    """The network of least (min) or of most (max) work."""
    return space.network(space.architecture(space.costs(work).extreme(pick)))


def work(spec: OpSpec) -> int:
    """Multiply-adds and values written, so that of ops without multiply-adds a pool is more than a skip."""
    return macs(spec.graph) + written(spec.graph)


_ENDS: dict[str, Callable[[list[float]], float]] = {"smallest": min, "largest": max}
