"""How many images of a batch the steps of a run compute at once, so that they stay within the memory there is."""

from __future__ import annotations

from functools import lru_cache

from hwnas.arch.costs import written
from hwnas.arch.network import Network
from hwnas.arch.space import SearchSpace
from hwnas.backends.torch import network_module
from hwnas.display import counted
from hwnas.errors import InputError
from hwnas.nas.arch_parts import has_own_gradient
from hwnas.nas.loop_memory import loop_memory
from hwnas.nas.search_settings import SearchSettings
from hwnas.parents import ParentWeights
from hwnas.parents.distil import distil_memory
from hwnas.progress import Progress
from hwnas.run.plan import Plan
from hwnas.train import Recipe, step_limit_bytes
from hwnas.train.step_memory import StepMemory, training_memory

_FROZEN_BYTES, _FROZEN_AT_ONCE = 1 << 30, 4
"""Of a step that is split without loss: so many bytes, but at least so many images at once."""


def search_micro_batch(plan: Plan, settings: SearchSettings, progress: Progress) -> int:
    """Images at once in the steps of a search; 0 for all of a batch.

    Raises:
        InputError: not even two fit.
    """
    if settings.micro_batch or not settings.all_epochs:
        return settings.micro_batch
    found = _at_once(plan, loop_memory(plan.space, plan.strategy), settings.batch_size, "search", progress)
    if found and plan.strategy.relaxation is not None:
        relaxation = plan.strategy.relaxation(plan.space.options, plan.accelerator)
        if has_own_gradient(relaxation):
            progress.say(
                f"gradients of {plan.strategy.name} do not add up, so its steps on α see {counted(found, 'image')} each"
            )
    return found


def training_micro_batch(plan: Plan, recipe: Recipe, progress: Progress, *, processes: int = 1) -> int:
    """Images at once in the trainings of any network of the space; 0 for all of a batch.

    Args:
        processes: how many train at the same time.

    Raises:
        InputError: not even two fit.
    """
    if recipe.micro_batch:
        return recipe.micro_batch
    memory = largest_training(plan.space, recipe, plan.parent)
    return _at_once(plan, memory, recipe.batch_size, "training", progress, processes, frozen=recipe.keep_statistics)


def distillation_batch(plan: Plan, batch_size: int) -> int:
    """Images of a step in which the options of a parent learn: fewer where a whole batch does not fit.

    Raises:
        InputError: not even two fit.
    """
    assert plan.parent is not None
    memory = distil_memory(plan.space, plan.parent)
    return memory.at_once(batch_size, limit_bytes(plan)) or batch_size


def largest_training(space: SearchSpace, recipe: Recipe, parent: ParentWeights | None = None) -> StepMemory:
    """What a step takes in the training of the network that writes the most.

    Args:
        parent: that teaches where the recipe asks for a teacher.
    """
    teacher = parent.network_for(space) if parent is not None and recipe.distil_weight else None
    return _counted(space, recipe, teacher)  # type: ignore[arg-type]  # spaces are hashed by their identity


@lru_cache(maxsize=4)
def _counted(space: SearchSpace, recipe: Recipe, teacher: Network | None) -> StepMemory:
    taught = None if teacher is None else network_module(teacher)
    return training_memory(network_module(_widest(space)), recipe, tuple(space.input_shape), space.classes, taught)


def _at_once(
    plan: Plan,
    memory: StepMemory,
    batch_size: int,
    stage: str,
    progress: Progress,
    processes: int = 1,
    *,
    frozen: bool = False,
) -> int:
    """Images at once.

    Args:
        frozen: whether norms keep their statistics, so that parts compute the gradient of the whole: then a step on a
            CPU stays within a size at which the process takes about 2 GiB, although no limit is given.
    """
    limit = limit_bytes(plan) / processes
    if frozen and not plan.config.compute.memory_gb and plan.accelerator.type == "cpu":
        limit = min(limit, max(_FROZEN_BYTES, memory.total(batch_size, _FROZEN_AT_ONCE)))
    found = memory.at_once(batch_size, limit)
    if found:
        seen = "" if frozen else f", and batch norm sees {found} at a time"
        progress.say(
            f"{stage}: {found} of {batch_size} images of a batch at once, so that a step stays within "
            f"{limit / 2**30:.2g} GiB; with all it would take {memory.total(batch_size) / 2**30:.2g}{seen}"
        )
    return found


def limit_bytes(plan: Plan) -> float:
    """What a step may take.

    Raises:
        InputError: the process alone takes all that it may.
    """
    asked = plan.config.compute.memory_gb
    left = step_limit_bytes(asked, plan.accelerator)
    if left <= 0:
        own = asked - left / 2**30
        raise InputError(
            f"a run must stay within its memory of {asked:g} GiB, but before any step it takes {own:.2g} GiB",
            hint=f"give at least --memory-gb {1.5 * own:.2g}",
        )
    return left


def _widest(space: SearchSpace) -> Network:
    return space.network(space.architecture(space.costs(lambda spec: written(spec.graph)).extreme(max)))
