"""How many images of a batch the steps of a run compute at once, so that they stay within the memory there is."""

from __future__ import annotations

from functools import lru_cache

from hwnas.arch.costs import written
from hwnas.arch.network import Network
from hwnas.arch.space import SearchSpace
from hwnas.backends.torch import network_module
from hwnas.errors import InputError
from hwnas.nas.arch_parts import has_own_gradient
from hwnas.nas.loop_memory import loop_memory
from hwnas.nas.search_settings import SearchSettings
from hwnas.progress import Progress
from hwnas.run.plan import Plan
from hwnas.train import Recipe, step_limit_bytes
from hwnas.train.step_memory import StepMemory, training_memory


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
            progress.say(f"gradients of {plan.strategy.name} do not add up, so its steps on α see {found} images each")
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
    memory = largest_training(plan.space, recipe)
    return _at_once(plan, memory, recipe.batch_size, "training", progress, processes)


def largest_training(space: SearchSpace, recipe: Recipe) -> StepMemory:
    """What a step takes in the training of the network that writes the most."""
    return _counted(space, recipe)  # type: ignore[arg-type]  # spaces are hashed by their identity


@lru_cache(maxsize=4)
def _counted(space: SearchSpace, recipe: Recipe) -> StepMemory:
    return training_memory(network_module(_widest(space)), recipe, tuple(space.input_shape), space.classes)


def _at_once(
    plan: Plan, memory: StepMemory, batch_size: int, stage: str, progress: Progress, processes: int = 1
) -> int:
    limit = limit_bytes(plan) / processes
    found = memory.at_once(batch_size, limit)
    if found:
        progress.say(
            f"{stage}: {found} of {batch_size} images of a batch at once, so that a step stays within "
            f"{limit / 2**30:.2g} GiB; with all it would take {memory.total(batch_size) / 2**30:.2g}, and batch norm "
            f"sees {found} at a time"
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
