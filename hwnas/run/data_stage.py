"""Stage `data`: the images of a run, and what they mean for it."""

from __future__ import annotations

from hwnas.data import Dataset, resized
from hwnas.events import Events
from hwnas.image_size import Size
from hwnas.run.clock import Clock
from hwnas.run.forecast import Forecast, limited
from hwnas.run.images import images_of, note_images
from hwnas.run.plan import Plan
from hwnas.run.plan_checks import uneven
from hwnas.run.run_folder import RunFolder


def foreseen(plan: Plan, dataset: Dataset | None, clock: Clock, *, resume: bool) -> tuple[Plan, Forecast | None]:
    """The plan, with minutes where it needs some, and how long the run takes; None where it is resumed.

    Raises:
        DataError, InputError: as `limited`.
    """
    return (plan, None) if resume else limited(plan, dataset, clock)


def images(plan: Plan, dataset: Dataset | None, folder: RunFolder, events: Events) -> Dataset:
    """The images at the resolution of the space, as a parent sees them; a resumed run has the same as before.

    Args:
        dataset: takes the place of what the configuration names.

    Raises:
        InputError: a resumed run had other images.
        DataError: the images cannot be used, or a parent does not read such.
    """
    config, resolution = plan.config, Size(*plan.space.input_shape[1:])
    if dataset is None:
        dataset = images_of(config, resolution, tell=events.say)
        folder.same_data(dataset.digest())
    return plan.prepared(resized(dataset, resolution))


def tell_of_images(plan: Plan, dataset: Dataset, folder: RunFolder, events: Events, expected: Forecast | None) -> None:
    """Tell what is searched, and write what the images are like; tell how uneven classes are, and how long it takes."""
    places = ", ".join(one.target.place for one in plan.each)
    events.say(f"searching {plan.whole.name} for {places}: {plan.reason}")
    if plan.reused is not None or str(plan.automatic or ""):
        events.say(f"starting from {plan.start_text}")
    if plan.survey is not None:
        note_images(plan.survey, folder, events)
    if plan.sizes:
        events.record({"event": "input sizes", "sizes": list(plan.sizes)})
    if said := uneven(plan.config, dataset):
        events.say(said)
    if expected is not None:
        events.say(str(expected))
        if expected.advice:
            events.say(expected.advice)
