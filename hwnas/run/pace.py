"""The minutes of a run while it trains: what takes longer than was timed is shortened, at the end of an epoch."""

from __future__ import annotations

from dataclasses import asdict

from hwnas.display import counted
from hwnas.files import write_json
from hwnas.run.context import RunContext, SearchContext
from hwnas.run.schedule import FORWARD_SHARE, starts
from hwnas.train import Recipe
from hwnas.train.training import Shorten

_LATE = 1.1  # times the seconds that are left; less is a matter of the moment


def keeping_time(run: RunContext, trainings: int) -> Shorten | None:
    """Shortens the first of the trainings that are left, where they would take more than the minutes leave them.

    All that are left then have as many epochs, as what it decides is kept in place of the recipe of the run: so the
    random network is trained for as long as the one beside it, and a resumed run goes on alike. None where a run has no
    minutes to keep, is for several budgets, some of whose networks may be trained already, or was told its epochs.

    Args:
        trainings: how many are left, the one that is shortened included.
    """
    asked, images = run.plan.config.train, len(run.dataset.train)
    if not asked.minutes or asked.epochs or len(run.plan.config.budgets) > 1:
        return None
    context = SearchContext(run.shared or run.folder, [run], run.progress)

    def shorten(recipe: Recipe, behind: int, epoch_s: float) -> Recipe:
        left_s = context.left_s(unchecked=False, image_s=FORWARD_SHARE * epoch_s / images)
        if (trainings * recipe.epochs - behind) * epoch_s <= _LATE * left_s:
            return recipe
        epochs = max(behind + 1, int((left_s / epoch_s + behind) / trainings))
        if epochs >= recipe.epochs:
            return recipe
        found = recipe.shorter(epochs, behind=behind)
        if not starts(run.plan.config, found, images):
            return recipe
        write_json(run.recipe_path, asdict(found))
        run.progress.say(
            f"an epoch takes longer than the steps that were timed before: training for {counted(epochs, 'epoch')} in "
            f"place of {recipe.epochs}, to keep --minutes {asked.minutes:g}"
        )
        return found

    return shorten
