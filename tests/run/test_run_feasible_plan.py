"""A budget that only the fastest network keeps, and not with the margin of the table: a smaller instance is taken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from run_fakes import a_config, changed, draw_images, install, row_ms, write_table

import hwnas
from hwnas.arch import SlotSpace, space_instance, space_rungs
from hwnas.arch.costs import macs
from hwnas.arch.network import Network
from hwnas.config import Configuration, load_configuration
from hwnas.errors import InfeasibleBudgetError
from hwnas.latency.space_latency import latency_model
from hwnas.run import instance, latency_stage
from hwnas.run.feasible_plan import feasible_plan
from hwnas.run.pipeline import run_search
from hwnas.run.plan import Plan, make_plan

BUDGET_MS = 2.0


def mobile(width: float, depth: int) -> SlotSpace:
    return space_instance("mobile", width=width, depth=depth, resolution=32, channels=3, classes=3)


SPACES = [mobile(width, depth) for width, depth in space_rungs("mobile")]
MODELS = [latency_model(space, row_ms, sigma=0.01) for space in SPACES]


def floor_ms(networks: Mapping[str, Network], *_: object, **__: object) -> dict[str, float]:
    return {name: macs(network.graph) * 0.25 / 1e6 for name, network in networks.items()}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch.setattr)
    monkeypatch.setattr(instance, "floor_ms", floor_ms)
    monkeypatch.setattr(latency_stage, "floor_ms", floor_ms)
    return draw_images(tmp_path / "photos", count=8, size=32)


def asked(photos: Path, **changes: Any) -> Any:
    usual = {"space": "mobile", "width": 0.0, "resolution": 0, "budget": str(BUDGET_MS)}
    return a_config(photos, **(usual | {"train": False, "baseline": False} | changes))


def planned(config: Configuration, tables: Path) -> Plan:
    return feasible_plan(lambda one: make_plan(one, tables), config)


def chosen(photos: Path, tmp_path: Path) -> tuple[SlotSpace, float, SlotSpace | None]:
    """What the ends choose, a factor of rows with which it is too slow with the margin, and the next that is not."""
    plan = make_plan(asked(photos), tmp_path / "none")
    place = [space.signature for space in SPACES].index(plan.whole.signature)
    factor = 0.999 * BUDGET_MS / MODELS[place].smallest_ms
    target_ms = MODELS[place].target_ms(BUDGET_MS)
    fits = [index for index in reversed(range(place)) if factor * MODELS[index].smallest_ms <= target_ms]
    return SPACES[place], factor, SPACES[fits[0]] if fits else None


def test_a_smaller_instance_is_planned_where_the_margin_leaves_none_of_the_first(photos: Path, tmp_path: Path) -> None:
    first, factor, smaller = chosen(photos, tmp_path)
    assert smaller is not None
    tables = write_table(tmp_path / "tables", factor=factor, spaces=[first, smaller])
    assert make_plan(asked(photos), tables).whole.signature == first.signature
    lacking = [one for one in SPACES if one.signature not in (first.signature, smaller.signature)]
    plan = planned(asked(photos), tables)
    place = SPACES.index(first)
    between = {one.signature for one in lacking if SPACES.index(smaller) < SPACES.index(one) < place}
    assert plan.whole.signature in {smaller.signature, *between}  # whose tables may tell as much, once measured
    assert plan.reason.startswith(f"{first.name} is too slow: no network of this space is predicted to run within")
    tables = write_table(tmp_path / "tables", factor=factor, spaces=SPACES)
    plan = planned(asked(photos), tables)
    assert plan.whole.signature == smaller.signature
    told = hwnas.plan_search(config=asked(photos), tables=tables)
    assert told.facts["space"] == plan.space.name
    assert planned(changed(asked(photos), budget="60%", width=1.0), tables).whole.signature != smaller.signature
    fixed = changed(asked(photos), width=plan.config.space.width)
    assert planned(fixed, tables).config.space.width == plan.config.space.width


def test_what_is_asked_for_is_refused_and_not_made_smaller(photos: Path, tmp_path: Path) -> None:
    first, factor, _ = chosen(photos, tmp_path)
    tables = write_table(tmp_path / "tables", factor=factor, spaces=SPACES)
    constants = make_plan(asked(photos), tables).config.space
    fixed = changed(asked(photos), width=constants.width, depth=constants.depth)
    assert planned(fixed, tables).whole.signature == first.signature
    with pytest.raises(InfeasibleBudgetError, match="less the table's margin"):
        run_search(fixed, tmp_path / "run", tables=tables)


def test_a_run_that_has_measured_its_table_takes_a_smaller_instance(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends with a network, where it ended with an error."""
    first, factor, smaller = chosen(photos, tmp_path)
    assert smaller is not None
    tables, measured = tmp_path / "tables", list[str]()

    def complete(table: object, whole: SlotSpace, *_: object, **__: object) -> None:
        measured.append(whole.signature)
        write_table(tables, factor=factor, spaces=[one for one in SPACES if one.signature in measured])

    monkeypatch.setattr(latency_stage, "complete", complete)
    result = run_search(asked(photos), tmp_path / "run", tables=tables)
    assert measured[0] == first.signature
    assert measured[-1] == smaller.signature
    assert result["space"] == smaller.name
    assert result["budget_met"] is True
    kept = load_configuration(tmp_path / "run" / "config.toml").space
    assert mobile(kept.width, kept.depth).signature == smaller.signature
    again = run_search(asked(photos), tmp_path / "run", tables=tables, resume=True)
    assert again["space"] == smaller.name


def test_a_run_that_no_instance_can_keep_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complete(table: object, whole: SlotSpace, *_: object, **__: object) -> None:
        write_table(tmp_path / "tables", factor=10.0, spaces=SPACES)

    monkeypatch.setattr(latency_stage, "complete", complete)
    with pytest.raises(InfeasibleBudgetError, match="less the table's margin"):
        run_search(asked(photos), tmp_path / "run", tables=tmp_path / "tables")
    assert not (tmp_path / "run" / "config.toml").exists()
