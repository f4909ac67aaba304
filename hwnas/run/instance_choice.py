"""Which instance of a space a run takes: the one that is asked for, or one that data, budget and constraints choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import parse_constants, space_instance, space_rungs
from hwnas.config import Configuration
from hwnas.devices.device import Device
from hwnas.errors import InfeasibleLimitError
from hwnas.latency.table import LatencyTable
from hwnas.progress import Progress
from hwnas.run.affordable import Training, affordable
from hwnas.run.constrained_space import ConstrainedSpace
from hwnas.run.instance import ChosenInstance, fit, measured_ranges

_SMALLEST_RESOLUTION, _LARGEST_RESOLUTION = 32, 224
_SMALL_IMAGES = 64  # pixels; images up to this size are never made smaller than they are to meet a budget
_RESOLUTIONS = (224, 192, 160, 128, 96, 64, 48, 32, 24, 16, 8)


def chosen_instance(
    config: Configuration,
    device: Device,
    images: tuple[int, int, int],
    constrain: Callable[[SearchSpace], ConstrainedSpace],
    progress: Progress,
    training: Training,
) -> ChosenInstance:
    """The instance that the configuration names, or that data, budget, constraints and minutes choose.

    Args:
        images: their channels, native resolution and number of classes.
        training: what the minutes are spent on.
    """
    channels, native, classes = images
    resolution = config.space.resolution or default_resolution(native)

    def instance(width: float, depth: int, resolution: int) -> SearchSpace:
        return space_instance(
            config.space.name, width=width, depth=depth, resolution=resolution, channels=channels, classes=classes
        )

    rungs = space_rungs(config.space.name)
    if config.budgets[0].relative or config.space.width or not rungs or not device.reachable:
        width = config.space.width or default_width(native)
        reason = "as asked for" if config.space.width else "the default for images of this size"
        return ChosenInstance(instance(width, config.space.depth, resolution), width, config.space.depth, reason)
    resolutions = [resolution]
    if not config.space.resolution:
        least = min(native, _SMALL_IMAGES)
        resolutions += [smaller for smaller in _RESOLUTIONS if least <= smaller < resolution]
    sizes = list(dict.fromkeys((width, config.space.depth or depth) for width, depth in rungs))
    sizes = _feasible_sizes(sizes, lambda width, depth: constrain(instance(width, depth, resolutions[-1])))
    values_ms = [budget.value for budget in config.budgets]
    found = fit(values_ms, sizes, instance, resolutions, device, progress=progress)
    if not config.train.minutes:
        return found
    progress.say("timing a few steps of training, to tell what the minutes are enough for")
    chosen, why = affordable(found, sizes, resolutions, instance, training)
    if not why:
        return found
    ((low, high),) = measured_ranges([chosen.space], device, progress=progress)
    return replace(chosen, reason=f"{low:.3g} to {high:.3g} ms on {device.id}: {values_ms[-1]:g} ms {why}")


def of_table(config: Configuration, table: LatencyTable, channels: int, classes: int) -> Configuration:
    """The configuration with the instance that an imported table is of, where it names no other one."""
    images = f"-i{channels}-o{classes}"
    if config.space.width or config.space.depth or config.space.resolution:
        return config
    for signature in sorted(table.calibrations):
        if signature.startswith(f"{config.space.name}@") and signature.endswith(images):
            _, width, depth, resolution = parse_constants(signature.removesuffix(images))
            return config.changed(space={"width": width, "depth": depth, "resolution": resolution})
    return config


def _feasible_sizes(
    sizes: list[tuple[float, int]], constrain: Callable[[float, int], ConstrainedSpace]
) -> list[tuple[float, int]]:
    """The sizes that the constraints on file and memory leave something of.

    Raises:
        InfeasibleLimitError: that is none of them.
    """
    constrain(*sizes[0])
    kept = sizes[:1]
    for size in sizes[1:]:
        try:
            constrain(*size)
        except InfeasibleLimitError:
            break
        kept.append(size)
    return kept


def default_width(native: int) -> float:
    """Channel multiplier that leaves a space something to gain on images of this size."""
    return 0.25 if native <= 16 else 0.5 if native <= 64 else 1.0


def default_resolution(native: int) -> int:
    """The data's own resolution, rounded up to a multiple of 8, between 32 and 224 pixels."""
    return min(max((native + 7) // 8 * 8, _SMALLEST_RESOLUTION), _LARGEST_RESOLUTION)
