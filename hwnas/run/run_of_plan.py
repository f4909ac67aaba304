"""The run of one plan, from images to verdict. Each stage leaves a file that `--resume` builds on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwnas.data import Dataset
from hwnas.events import Events
from hwnas.executors.place import Place
from hwnas.run.all_results import all_results, whole_results
from hwnas.run.clock import Clock
from hwnas.run.data_stage import foreseen, images, tell_of_images
from hwnas.run.environment import write_environment
from hwnas.run.followers import tell_run
from hwnas.run.forecast import TIMING
from hwnas.run.measured_runs import Absent, measured_models, measured_runs
from hwnas.run.plan import Plan
from hwnas.run.run_folder import RunFolder
from hwnas.run.run_parts import parts_of
from hwnas.run.tracked import tracked
from hwnas.run.whole_result import whole_result
from hwnas.train import training_session
from hwnas.train.ranks import Ranks


@dataclass(frozen=True)
class Asked:
    """What a run is beside its plan; see `run_search`."""

    folder: RunFolder
    told: Events
    events: Events
    clock: Clock
    ranks: Ranks
    resume: bool
    force: bool
    place: Place
    dataset: Dataset | None


def run_of_plan(plan: Plan, asked: Asked) -> dict[str, Any]:
    """All stages of a run, and its result.

    Raises:
        HwnasError: as for `run_search`.
    """
    folder, dataset, resume = asked.folder, asked.dataset, asked.resume
    # Before the folder is claimed, which clears it: a run that is refused leaves what is there.
    if not resume:
        asked.events.say(TIMING)
    plan, expected = foreseen(plan, dataset, asked.clock, resume=resume)
    config, clock = plan.config, Clock(plan.config.train.minutes, earlier_s=asked.clock.spent_s())
    with (
        folder.claimed(config, resume=resume, force=asked.force),
        tracked(asked.told, config, folder) as (told, finish),
    ):
        events = told.also(folder.on_event)
        if dataset is not None:
            folder.same_data(dataset.digest())
        parts = parts_of(plan, folder)
        absent = Absent(events, {one.index: one.error for one in plan.left_out})
        results = whole_results(parts) if resume else None
        if results is None:
            planned_s = max(0.0, asked.clock.spent_s() - folder.all_seconds(config))
            events.record({"event": "end", "stage": "plan", "seconds": round(planned_s, 3)})
            with training_session(config.compute.seed, config.compute.threads):
                write_environment(plan, folder.environment)
                with events.stage("data"):
                    dataset = images(plan, dataset, folder, events)
                tell_of_images(plan, dataset, folder, events, expected)
                with events.stage("measure"):
                    models = measured_models(plan, folder, absent, clock)
                runs = measured_runs(parts, models, dataset, folder, told, clock, asked.ranks)
                tell_run(asked.ranks, plan, dataset)
                results = all_results(parts, runs, folder, events, absent, place=asked.place, resume=resume)
        result = whole_result(folder, parts, results, absent.errors)
        finish(result)
        return result
