"""Stage `data`: the images of a run, and what they mean for it."""

from __future__ import annotations

from hwnas.data import Dataset, load_dataset, resized
from hwnas.progress import Progress
from hwnas.run.forecast import forecast
from hwnas.run.plan import Plan
from hwnas.run.plan_checks import uneven
from hwnas.run.run_folder import RunFolder


def images(plan: Plan, dataset: Dataset | None, folder: RunFolder) -> Dataset:
    """The images at the resolution of the space; a resumed run has the same as before.

    Args:
        dataset: takes the place of what the configuration names.

    Raises:
        InputError: a resumed run had other images.
        DataError: the images cannot be used.
    """
    config, resolution = plan.config, plan.space.input_shape[1]
    if dataset is None:
        dataset = load_dataset(config.data.source, resolution=resolution, seed=config.compute.seed)
        folder.same_data(dataset.digest())
    return resized(dataset, resolution)


def say_of_images(plan: Plan, dataset: Dataset, progress: Progress, *, resumed: bool) -> None:
    """Tell how uneven the classes are, and what the minutes are enough for."""
    if said := uneven(plan.config, dataset):
        progress.say(said)
    if plan.config.train.minutes and not resumed:
        expected = forecast(plan, dataset)
        progress.say(str(expected))
        if expected.advice:
            progress.say(expected.advice)
