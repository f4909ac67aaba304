"""`hwnas.retrain`. Not `hwnas.train`: that is the package that trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from hwnas.api.arguments import AtLeast0, AtLeast1, PathArgument, checked
from hwnas.api.asked import configuration
from hwnas.config.starts import TrainStart
from hwnas.display import table_html
from hwnas.events import Events, OnEvent
from hwnas.run.run_folder import RunFolder
from hwnas.run.tracked import tracked
from hwnas.run.train_again import configuration_of, retrained_folder, train_again


@dataclass(frozen=True)
class TrainResult:
    """An architecture that was trained again.

    Attributes:
        run: the run directory, for `hwnas.predict`, `hwnas.export` and `hwnas.verify`.
        model: the exported file; its latency is not measured.
        accuracy: share of the test images that are classified rightly, 0 to 1.
        facts: all of `result.json`.
    """

    run: Path
    model: Path
    accuracy: float
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON: all of `result.json`, and where that is."""
        return {**self.facts, "run": str(self.run)}

    def _repr_html_(self) -> str:
        return table_html(f"hwnas retrain: {self.run}", {"test accuracy": f"{self.accuracy:.4f}"})


@checked
def retrain(
    run: PathArgument,
    out: PathArgument | None = None,
    *,
    data: PathArgument | None = None,
    seed: Annotated[int, AtLeast0] | None = None,
    epochs: Annotated[int, AtLeast1] | None = None,
    settings: Mapping[str, Any] | None = None,
    start: TrainStart = "auto",
    force: bool = False,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> TrainResult:
    """Train the architecture of a finished run again, into a run directory of its own, without another search.

    What is not given is as in the run, but for its minutes: the training takes as many epochs as are usual.

    Args:
        run: the folder of a finished run.
        out: run directory to write; beside the old one by default, with `-trained` behind its name.
        data: other images, of the same channels; the classes may be others.
        seed: of weights, order and augmentation, and of the split of images that come without one.
        epochs: of the training.
        settings: options of the sections data, train and compute by place, such as {"train.lr": 0.004}.
        start: `scratch` for random weights, `weights` for those of the run, with the normalisation that goes with them,
            and a new classifier where the classes are as many others; `auto` for weights where the run itself began
            from a parent or another run, and its images are not divided otherwise here.
        force: whether a run that is in `out` is replaced.

    Raises:
        InputError: no finished run, a setting that would be another architecture, or `out` holds a run.
        DataError, DivergedError, ExportError, StorageError: as their names say.
    """
    events, folder = Events.of(on_event), RunFolder(Path(run))
    own = RunFolder(retrained_folder(folder) if out is None else Path(out))
    given = {"compute.seed": seed, "train.epochs": epochs}
    config = configuration(
        configuration_of(folder, events),
        data=None if data is None else str(data),
        budget_ms=None,
        target=None,
        settings={**(settings or {}), **{place: value for place, value in given.items() if value is not None}},
        options={},
    )
    with tracked(events, config, own) as (told, finish):
        facts = train_again(folder, own, config, start=start, force=force, events=told)
        finish(facts)
    return TrainResult(own.path, own.path / facts["model"], facts["accuracy"]["test"], facts)
