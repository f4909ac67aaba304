"""The clock of a run, and what its minutes are enough for."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_fakes import RECIPE, SETTINGS, SPACE, a_config, changed, install, write_table

import hwnas
from hwnas.display import duration
from hwnas.errors import InputError, MissingRowsError
from hwnas.events import Event
from hwnas.image_size import Size
from hwnas.nas.loop_memory import loop_memory
from hwnas.nas.strategies import strategy
from hwnas.progress import Silent
from hwnas.run import clock, forecast, latency_stage, step_limit
from hwnas.run.clock import Clock, ending_s, verdict_s
from hwnas.run.images import images_of
from hwnas.run.latency_stage import measuring_s, ready_model
from hwnas.run.plan import make_plan
from hwnas.run.run_folder import RunFolder
from hwnas.run.stage_guess import Guesser, Stage
from hwnas.run.step_limit import largest_training


def test_a_clock_counts_what_earlier_processes_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    run = Clock(2.0, earlier_s=30.0)
    now[0] += 10.0
    assert run.spent_s() == 40.0
    assert run.left_s() == pytest.approx(0.97 * 120 - 40)
    assert run.left_s(ending_s=20.0) == pytest.approx(0.97 * 120 - 60)
    now[0] += 100.0
    assert run.left_s() == 0.0


def test_a_verdict_that_took_long_leaves_more_time_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    run = Clock(2.0)
    for took_s, slow in ((16.0, 2.0), (4.0, 1.0), (24.0, 3.0)):
        with run.watching(8.0):
            now[0] += took_s
        assert run.slow == slow
    quiet_s = 0.97 * 120 - 44.0 - 10.0
    assert run.left_before(lambda slow: 10.0 * slow) == pytest.approx(quiet_s - 20.0)
    assert run.left_before(lambda slow: 10.0 + 100.0 * (slow - 1.0)) == pytest.approx(quiet_s / 2)
    options = {"measured": True, "baseline": True, "unchecked": False, "evaluation_s": 1.0}
    more_s = ending_s([5.0], **options, slow=2.0) - ending_s([5.0], **options)  # type: ignore[arg-type]
    assert more_s == pytest.approx(verdict_s(2, 5.0) + 2.5)  # and the report


def test_the_end_of_a_run_takes_longer_with_more_to_measure() -> None:
    options = {"measured": True, "baseline": False, "unchecked": True, "evaluation_s": 1.0}
    alone = ending_s([5.0], **options)  # type: ignore[arg-type]
    assert ending_s([5.0], **options | {"baseline": True}) - alone == pytest.approx(  # type: ignore[arg-type]
        verdict_s(2, 5.0) - verdict_s(1, 5.0)
    )
    assert alone - ending_s([5.0], **options | {"unchecked": False}) == pytest.approx(verdict_s(1, 5.0))  # type: ignore[arg-type]
    assert ending_s([5.0, 5.0], **options) == pytest.approx(2 * alone)  # type: ignore[arg-type]
    assert ending_s([50.0], **options) > alone  # type: ignore[arg-type]


def test_a_plan_says_whether_its_minutes_are_enough(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setattr(forecast, "_image_s", lambda *_: 0.05)
    monkeypatch.setattr(forecast, "_PROMISED", 100.0)
    tables = write_table(tmp_path / "tables")

    def facts(minutes: float) -> dict[str, Any]:
        plan = hwnas.plan_search(config=a_config(images, minutes=minutes), tables=tables)
        assert ("advice" in plan.lines) is bool(plan.facts["minutes"]["advice"])
        return dict(plan.facts["minutes"])

    few, many = facts(0.1), facts(60.0)
    assert few["enough"] > 0.1
    assert "--minutes 0.1 is too few for a search and a training without hurry: give about --minutes" in few["advice"]
    for said in ("--width", "--resolution", "--no-baseline"):
        assert said in few["advice"]
    (training,) = (one for one in few["stages"] if one["trains"])
    assert training["epochs"] < 2
    assert training["epochs"] < 1
    assert "each final training has 1 step: little to learn from" in few["advice"]
    assert "epochs" not in few["advice"]
    assert many["advice"] == ""
    assert facts(few["enough"])["advice"] == ""
    assert facts(few["enough"] / 1.3)["advice"] != ""
    stages = {one["name"]: one for one in many["stages"]}
    assert list(stages) == ["so far", "search", "scores", "2 trainings", "verdict and report"]
    assert sum(one["minutes"] for one in many["stages"]) <= 60.0
    assert stages["2 trainings"]["epochs"] == 300
    assert stages["search"]["memory_mib"] > 0
    searched = stages["search"]
    assert 0 < searched["warmup"] < searched["epochs"]
    assert f", {searched['warmup']:.3g} of them warm-up, " in Stage(**searched).details
    training = stages["2 trainings"]
    assert training["epoch_s"] == pytest.approx(42 * 0.05)  # of 60 images, 42 train
    assert training["step_s"] == pytest.approx(16 * 0.05)


def test_a_random_search_is_advised_only_where_it_is_cheaper(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that computes a path in a step is not; one that computes all options is, where it searches at all."""
    install(monkeypatch.setattr)
    monkeypatch.setattr(forecast, "_PROMISED", 100.0)
    tables = write_table(tmp_path / "tables")
    for name, cheaper in (("gumbel", False), ("darts", True), ("random", False)):
        plan = make_plan(a_config(images, minutes=1.0, strategy=name, train=False), tables)
        guesser = Guesser(plan, images_of(plan.config, Size.square(8)), 0.05, 0.0)
        enough = forecast._enough_minutes(guesser, 1.0)
        others = Guesser(replace(plan, strategy=strategy("random")), guesser._dataset, 0.05, 0.0)
        assert (forecast._enough_minutes(others, 1.0) <= 0.8 * enough) is cheaper
        advice = forecast._advice(plan, guesser, guesser.guess(1.0), 1.0, enough)
        assert ("--strategy random" in advice) is cheaper


def test_a_plan_without_minutes_says_how_long_it_takes(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    tables = write_table(tmp_path / "tables")

    def planned(image_s: float, **changes: Any) -> hwnas.SearchPlan:
        monkeypatch.setattr(forecast, "_image_s", lambda *_: image_s)
        return hwnas.plan_search(config=a_config(images, **changes), tables=tables)

    short = planned(0.05)
    stages = {one["name"]: one for one in short.facts["minutes"]["stages"]}
    train, epochs = 42, 2  # of 60 images, and as the recipe has it
    assert stages["2 trainings"]["minutes"] == pytest.approx(2 * epochs * train * 0.05 / 60)
    assert stages["2 trainings"]["epochs"] == epochs
    searched = train * 0.05 * (3 + 2 / SETTINGS.arch_every)  # an epoch of warm-up, and two with steps on α
    assert stages["search"]["minutes"] == pytest.approx(searched / 60)
    takes = sum(one["minutes"] for one in stages.values())
    assert short.facts["minutes"]["takes"] == pytest.approx(takes)
    memory = max(one["memory_mib"] or 0 for one in stages.values())
    whole, *rows = short.lines["time"].splitlines()
    assert whole == f"about {duration(60 * takes)}, at most {memory:,} MiB of memory"
    assert [row.split("  ")[0] for row in rows] == list(stages)
    ends = {len(re.match(r".*?  +[\d.]+ (s|min)\b", row)[0]) for row in rows}
    assert len(ends) == 1  # aligned, each with its unit
    assert short.lines["start"] == "random weights"
    assert f"process {stages['search']['memory_mib']:,} MiB" in short.lines["time"]
    assert "advice" not in short.lines
    alone = planned(0.05, train=False).facts["minutes"]["stages"]
    assert [one["name"] for one in alone] == ["so far", "search", "scores", "verdict and report"]

    long = planned(10.0)
    assert long.facts["minutes"]["takes"] > 30
    assert long.lines["advice"].startswith("the run is long: --minutes ")
    assert "of the 2 epochs of each final training at this size" in long.lines["advice"]
    minutes = float(long.lines["advice"].split("--minutes ")[1].split()[0])
    monkeypatch.setattr(forecast, "_PROMISED", 100.0)
    given = planned(10.0, minutes=minutes).facts["minutes"]
    assert sum(one["minutes"] for one in given["stages"]) <= 1.1 * minutes
    (training,) = (one for one in given["stages"] if one["trains"])
    given = f"{training['epochs']:.2g}" if training["epochs"] >= 1 else f"{round(training['steps'])} step"
    assert f"would give {given}" in long.lines["advice"]


def test_a_run_with_scores_by_training_says_how_long_it_takes(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setattr(forecast, "_image_s", lambda *_: 0.05)
    config = a_config(images, strategy="evolution", scores="training", score_epochs=3)
    facts = hwnas.plan_search(config=config, tables=write_table(tmp_path / "tables")).facts["minutes"]
    stages = {one["name"]: one for one in facts["stages"]}
    candidates = 5 * SETTINGS.candidates
    assert stages["scores"]["minutes"] == pytest.approx(candidates * 3 * 42 * 0.05 / 60)
    assert stages["scores"]["memory_mib"] == stages["2 trainings"]["memory_mib"]
    assert "search" not in stages


def test_a_run_that_cannot_end_within_its_minutes_is_refused(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setattr(forecast, "_image_s", lambda *_: 0.05)
    tables = write_table(tmp_path / "tables")
    config = a_config(images, minutes=0.1)
    for act in (hwnas.plan_search, lambda **given: hwnas.search(out=tmp_path / "run", **given)):
        with pytest.raises(InputError, match=r"--minutes 0\.1 is too few: the run takes about ") as caught:
            act(config=config, tables=tables)  # type: ignore[operator]
        assert caught.value.hint.startswith("it ends with --minutes ")


def test_a_limit_on_memory_splits_batches_or_is_refused(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setattr(forecast, "_image_s", lambda *_: 0.001)
    tables = write_table(tmp_path / "tables")
    config = a_config(images, minutes=1.0)
    plan = make_plan(config, tables)
    each = (largest_training(plan.space, RECIPE), loop_memory(plan.space, plan.strategy))
    limit = max(one.total(16, 3) for one in each)
    monkeypatch.setattr(step_limit, "step_limit_bytes", lambda *_: limit)
    found = hwnas.search(config=changed(config, minutes=0.0), tables=tables, out=tmp_path / "run")
    for name in ("search", "recipe"):
        assert json.loads((found.run / "state" / f"{name}.json").read_text())["micro_batch"] in range(2, 16)
    monkeypatch.setattr(step_limit, "step_limit_bytes", lambda *_: 1000.0)
    for act in (hwnas.plan_search, lambda **given: hwnas.search(out=tmp_path / "other", **given)):
        with pytest.raises(InputError, match="a step must stay within the memory"):
            act(config=config, tables=tables)  # type: ignore[operator]


def test_a_run_says_what_its_minutes_are_enough_for_before_it_measures(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setattr(forecast, "_PROMISED", 100.0)
    heard: list[str] = []

    def hear(event: Event) -> None:
        if event.kind == "message":
            heard.append(event.label)
        if event.kind == "record":
            heard.append(f"{event.record['event']} {event.record.get('stage', '')}")

    hwnas.search(
        config=a_config(images, minutes=0.1, train=False),
        tables=write_table(tmp_path / "tables"),
        out=tmp_path / "run",
        on_event=hear,
    )
    assert [text for text in heard if text.startswith(("searching", "starting"))] == [
        f"searching {SPACE.name} for host: as asked for"
    ]
    said = next(index for index, text in enumerate(heard) if text.startswith("the run takes about"))
    assert " with --minutes 0.1, " in heard[said]
    assert said < heard.index("start measure")
    assert heard[said + 1].startswith("--minutes 0.1 is too few")


def test_measuring_goes_on_where_a_limit_leaves_no_table(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    limits: list[float | None] = []

    def complete(*_: object, max_minutes: float | None = None, **__: object) -> None:
        limits.append(max_minutes)
        if max_minutes is not None:
            raise MissingRowsError("too short", keys=[])
        write_table(tmp_path / "empty")

    monkeypatch.setattr(latency_stage, "complete", complete)
    plan = make_plan(a_config(images, minutes=1.0), tmp_path / "empty")
    planned_s = measuring_s(plan)
    ready_model(plan, progress=Silent(), left_s=10.0)
    assert limits == [pytest.approx(planned_s / 60), None]
    assert measuring_s(make_plan(a_config(images, minutes=1.0), tmp_path / "empty")) == 0.0


def test_the_time_of_interrupted_stages_counts_up_to_their_last_entry(images: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    entries = [
        ("00:00:00", {"event": "start", "stage": "data"}),
        ("00:00:01", {"event": "end", "stage": "data", "seconds": 1.0}),
        ("00:00:01", {"event": "start", "stage": "search"}),
        ("00:00:41", {"event": "epoch", "epoch": 1}),
        ("10:00:00", {"event": "start", "stage": "data"}),
        ("10:00:02", {"event": "end", "stage": "data", "seconds": 2.0}),
        ("10:00:02", {"event": "start", "stage": "search"}),
        ("10:00:12", {"event": "epoch", "epoch": 2}),
    ]
    lines = [json.dumps({"at": f"2026-01-01T{at}+00:00"} | entry) for at, entry in entries]
    folder.log_file.write_text("\n".join([*lines, '{"at": "2026-01-01T11']))
    assert folder.seconds() == 3.0
    assert folder.all_seconds(a_config(images)) == pytest.approx(3 + 40 + 10)
