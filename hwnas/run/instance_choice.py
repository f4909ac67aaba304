"""Which instance of a space a run takes: the one that is asked for, or one that data, budget and constraints choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import parse_constants, space_instance, space_rungs
from hwnas.config import Budget, Configuration
from hwnas.data import Dataset
from hwnas.devices.device import Device
from hwnas.errors import InfeasibleLimitError
from hwnas.image_size import SMALLEST_SIDE, Size
from hwnas.latency.held_instance import held_instance
from hwnas.latency.table import LatencyTable
from hwnas.metric_names import class_balanced
from hwnas.nas.strategies import Strategy
from hwnas.parents import ParentWeights
from hwnas.progress import Progress
from hwnas.run.affordable import Training, affordable
from hwnas.run.constrained_space import ConstrainedSpace
from hwnas.run.images import images_of
from hwnas.run.input_size import LADDER, Judges, best_size, few_images
from hwnas.run.instance import Asked, ChosenInstance, fit, measured_ranges, undisturbed_ranges
from hwnas.train import training_session

AS_ASKED = "as asked for"
"""Why an instance is taken whose width is given."""
_SMALLEST_RESOLUTION, _LARGEST_RESOLUTION = 32, 224
_SMALL_IMAGES = 64  # pixels; images up to this size are never made smaller than they are to meet a budget
_RESOLUTIONS = (224, 192, 160, 128, 96, 64, 48, 32, 24, 16, 8)
_COUNTED = 8  # images that mean and deviation are taken from, where a parent has its own


def chosen_instance(
    config: Configuration,
    devices: Sequence[tuple[Device, Sequence[Budget]]],
    images: tuple[int, Size, int],
    constrain: Callable[[SearchSpace], ConstrainedSpace],
    progress: Progress,
    *,
    strategy: Strategy,
    train_images: Callable[[], int],
    accelerator: torch.device,
    parent: ParentWeights | None = None,
    dataset: Dataset | None = None,
) -> ChosenInstance:
    """The instance that the configuration names, or that data, budget, constraints and minutes choose.

    From a parent, one budget chooses among input sizes by what networks of it are worth there (`best_size`). Where its
    blocks are replaced, the minutes count there, and forbid no size before.

    Args:
        devices: each with its budgets; those in milliseconds choose.
        images: their channels, native size and number of classes.
        strategy, train_images, accelerator: what the minutes are spent on, on how many images, and where.
        dataset: takes the place of what the configuration names.
    """
    channels, native, classes = images
    resolution = config.space.size or default_resolution(native)

    def instance(width: float, depth: int, resolution: Size) -> SearchSpace:
        return space_instance(
            config.space.name, width=width, depth=depth, resolution=resolution, channels=channels, classes=classes
        )

    rungs = space_rungs(config.space.name)
    asked = [Asked(device, [one.value for one in budgets]) for device, budgets in devices if not budgets[0].relative]
    if not asked or config.space.width or not rungs or not all(device.reachable for device, _ in devices):
        width = config.space.width or (rungs[0][0] if len(rungs) == 1 else default_width(native))
        reason = AS_ASKED if config.space.width else "the default for images of this size"
        return ChosenInstance(instance(width, config.space.depth, resolution), width, config.space.depth, reason)
    resolutions = [resolution]
    if not config.space.resolution:
        least = min(native.short, _SMALL_IMAGES)
        sides = smaller_sides(resolution.short, least, from_parent=parent is not None)
        resolutions += [resolution.scaled(side / resolution.short) for side in sides]
    sizes = list(dict.fromkeys((width, config.space.depth or depth) for width, depth in rungs))
    sizes = _feasible_sizes(sizes, lambda width, depth: constrain(instance(width, depth, resolutions[-1])))
    several = len(config.budgets) > 1
    device, values_ms = asked[0].device, asked[0].budgets_ms
    compared, known = parent is not None and not several, None
    if compared and len(resolutions) > 1:
        spaces = [instance(*sizes[0], one) for one in resolutions]
        progress.say(f"measuring the ends of {config.space.name} at {len(spaces)} input sizes on {device.id}")
        spans = undisturbed_ranges(spaces, device, progress=progress)
        known = {space.name: span for space, span in zip(spaces, spans, strict=True)}
    found = fit(asked, sizes, instance, resolutions, several=several, progress=progress, known=known)
    if config.train.minutes and not (compared and strategy.replaces):
        progress.say("timing a few steps of training, to tell what the minutes are enough for")
        training = Training(config, strategy, train_images, accelerator)
        chosen, why = affordable(found, sizes, resolutions, instance, training)
        if why:
            ((low, high),) = measured_ranges([chosen.space], device, progress=progress)
            reason = f"{low:.3g} to {high:.3g} ms on {device.id}: {values_ms[-1]:g} ms {why}"
            found = replace(chosen, reason=reason)
    if parent is None or known is None:
        return found
    smaller = [instance(found.width, found.depth, one) for one in resolutions if one.pixels <= found.size.pixels]
    judged = [(space, known[space.name]) for space in smaller]
    judges = partial(_judges, config, parent, dataset, found.size, accelerator, train_images)
    with training_session(config.compute.seed, config.compute.threads):
        return best_size(found, judged, values_ms[0], judges, constrain, device, progress)


def smaller_sides(short: int, least: int = _SMALL_IMAGES, *, from_parent: bool) -> list[int]:
    """Shorter sides of inputs that a budget may make smaller than they are, in pixels, from large to small."""
    return [side for side in (LADDER if from_parent else _RESOLUTIONS) if least <= side < short]


def _judges(
    config: Configuration,
    parent: ParentWeights,
    dataset: Dataset | None,
    size: Size,
    device: torch.device,
    train_images: Callable[[], int],
) -> Judges:
    """By what input sizes are compared; images are read at `size`, where they come from files."""
    own = images_of(config, size, counted=_COUNTED) if dataset is None else dataset
    few, minutes = few_images(parent.parent.prepared(own), config.train.minutes), config.train.minutes
    return Judges(parent, few, class_balanced(config.search.metric), device, minutes, train_images())


def of_table(config: Configuration, table: LatencyTable, channels: int, classes: int) -> Configuration:
    """The configuration with the instance that an imported table is of, where it names no other one."""
    signature = held_instance(table, config.space.name, channels, classes)
    if signature is None or config.space.width or config.space.depth or config.space.resolution:
        return config
    _, width, depth, resolution = parse_constants(signature.rsplit("-", 2)[0])
    return config.changed(space={"width": width, "depth": depth, "resolution": resolution.plain})


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


def default_width(native: Size) -> float:
    """Channel multiplier that leaves a space something to gain on images of this size."""
    return 0.25 if native.side <= 16 else 0.5 if native.side <= 64 else 1.0


def default_resolution(native: Size) -> Size:
    """The data's own size: of squares rounded up to a multiple of 8, between 32 and 224 pixels.

    Others stay as they are (docs/decisions/0059), but for sides of less than 4 pixels, or more than 224 x 224 pixels in
    all; then they are scaled.
    """
    if native.is_square:
        side = min(max((native.height + 7) // 8 * 8, _SMALLEST_RESOLUTION), _LARGEST_RESOLUTION)
        return Size.square(side)
    if native.short < SMALLEST_SIDE:
        return native.scaled(SMALLEST_SIDE / native.short)
    return native.at_most(_LARGEST_RESOLUTION**2)
