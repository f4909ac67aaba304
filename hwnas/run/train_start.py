"""Where another training of a finished run starts: from the weights of the run, or from random ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from hwnas.config import Configuration
from hwnas.config.starts import TrainStart
from hwnas.data import Dataset
from hwnas.events import Events
from hwnas.files import real_path
from hwnas.run.run_folder import RunFolder
from hwnas.run.schedule import final_recipe
from hwnas.train import Recipe

Start = Literal["scratch", "weights"]


def settled_start(
    asked: TrainStart,
    folder: RunFolder,
    before: tuple[Configuration, Mapping[str, Any]],
    config: Configuration,
    dataset: Dataset,
    events: Events,
) -> Start:
    """What a start comes to: `auto` is weights where the run itself began from such, and else random ones.

    Weights that have learned from images which are validation or test images now would tell too high accuracies: `auto`
    does not take them, and where they are asked for, a message says so (docs/decisions/0078).

    Args:
        before: configuration and result of the run.
        config: of the training, whose images are `dataset`.
    """
    earlier, result = before
    origin: Any = result.get("init")
    if asked == "scratch" or (asked == "auto" and not isinstance(origin, Mapping)):
        return "scratch"
    seen = _seen(folder, earlier, config, dataset)
    mixed = (
        f"{config.data.source} is split otherwise than for {folder.path}, whose weights have learned from images that "
        "are for validation or test now"
    )
    if asked == "weights":
        if seen:
            events.say(f"{mixed}: accuracies may be too high; --start scratch tells honest ones")
        return "weights"
    told = f"{folder.path} began from {origin.get('from')}"
    if seen:
        events.say(f"{told}, but {mixed}: starting from random weights; --start weights takes its weights all the same")
        return "scratch"
    events.say(f"{told}, so this training starts from its weights; --start scratch takes random ones")
    return "weights"


def recipe_from(start: Start, config: Configuration, train_images: int) -> Recipe:
    """That of a training from such a start, without a limit of minutes; no parent teaches."""
    begun = config if start == "weights" else config.changed(search={"init": ""})
    recipe = final_recipe(begun.changed(train={"minutes": 0.0}), train_images, timed=_untimed)
    return replace(recipe, distil_weight=0.0)


def _untimed(recipe: Recipe) -> tuple[float, float]:
    raise AssertionError("nothing is timed without minutes")


def origin_of(start: Start, folder: RunFolder, result: Mapping[str, Any]) -> Any:
    """What `result.json` says that a training began from; None for random weights.

    Args:
        result: of the run in `folder`.
    """
    if start == "scratch":
        return None
    origin = result.get("init")
    return {"from": str(folder.path), "licence": origin.get("licence") if isinstance(origin, Mapping) else None}


def _seen(folder: RunFolder, earlier: Configuration, config: Configuration, dataset: Dataset) -> bool:
    """Whether the run had these images, divided otherwise; a run for several budgets notes them in the folder above."""
    if _place(earlier) != _place(config):
        return False
    kept = folder.data_digest() or RunFolder(real_path(folder.path).parent).data_digest()
    if kept is None:
        return (earlier.data, earlier.compute.seed) != (config.data, config.compute.seed)
    return kept != dataset.digest()


def _place(config: Configuration) -> str:
    """The source of the images, one text for one folder."""
    path = Path(config.data.source)
    return str(real_path(path)) if path.exists() else config.data.source
