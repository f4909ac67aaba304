"""What a configuration means: space, device, table, and what is refused before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_fakes import SPACE, a_config, draw_images, latencies, row_ms, write_table

from hwnas.devices.rounds import Round
from hwnas.errors import InfeasibleBudgetError, InputError
from hwnas.image_size import Size
from hwnas.latency import find
from hwnas.latency.missing_rows import MissingRows
from hwnas.latency.table import LatencyTable
from hwnas.progress import Silent
from hwnas.run import instance, latency_stage
from hwnas.run.instance_choice import default_resolution, default_width
from hwnas.run.latency_stage import ready_model
from hwnas.run.plan import make_plan


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_images(tmp_path / "images", count=5)


@pytest.mark.parametrize(
    ("native", "resolution", "width"),
    [
        (1, 32, 0.25),
        (8, 32, 0.25),
        (16, 32, 0.25),
        (28, 32, 0.5),
        (64, 64, 0.5),
        (65, 72, 1.0),
        (217, 224, 1.0),
        (4000, 224, 1.0),
    ],
)
def test_size_and_width_follow_the_images(native: int, resolution: int, width: float) -> None:
    size = Size.square(native)
    assert (default_resolution(size), default_width(size)) == (Size.square(resolution), width)


def test_a_plan_resolves_everything(data: Path, tmp_path: Path) -> None:
    tables = write_table(tmp_path / "tables")
    found = make_plan(a_config(data), tables)
    assert (found.space, found.device.id, found.strategy.name) == (SPACE, "host", "gumbel")
    assert found.folder == tables / found.condition.folder
    assert not found.missing
    found = make_plan(a_config(data, width=0.0, resolution=0), tmp_path / "empty")
    assert (found.space.name, found.space.input_shape, found.space.classes) == ("toy@w0.25-r32", (3, 32, 32), 3)
    assert found.missing == MissingRows(found.space.ops, calibration=True)
    assert found.folder == tmp_path / "empty" / found.condition.folder
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": "fast"},
        {"strategy": "magic"},
        {"data": "no/such/folder"},
        {"space": "outer"},
        {"device": "no-such-device"},
        {"width": 99.5},
        {"resolution": 3},
    ],
)
def test_what_does_not_exist_is_refused(changes: dict[str, object], data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        make_plan(a_config(data, **changes), tmp_path)
    assert str(next(iter(changes.values()))) in str(caught.value)


def test_a_complete_table_is_only_compared_with_the_device(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = make_plan(a_config(data), write_table(tmp_path))
    monkeypatch.setattr(
        latency_stage, "drifted", lambda table, space, device: (MissingRows((), calibration=False), 0.0)
    )
    model = ready_model(found, progress=Silent())
    for architecture in SPACE.enumerate():
        predicted_ms = latencies().predict_ms(architecture.choices)
        assert model.predict_ms(architecture.choices) == pytest.approx(predicted_ms)


def test_a_device_that_became_slower_is_measured_anew(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = make_plan(a_config(data), write_table(tmp_path))
    needs: list[MissingRows] = []

    def measured(
        table: LatencyTable, space: object, device: object, folder: Path, missing: MissingRows, **_: object
    ) -> None:
        needs.append(missing)
        write_table(tmp_path, factor=1.2)

    again = MissingRows(SPACE.ops[:2], calibration=True)
    monkeypatch.setattr(latency_stage, "drifted", lambda table, space, device: (again, 0.2))
    monkeypatch.setattr(latency_stage, "complete", measured)
    model = ready_model(found, progress=Silent())
    assert needs == [again]
    assert model.smallest_ms == pytest.approx(1.2 * latencies().smallest_ms)


def test_a_hopeless_budget_is_refused_before_a_table_is_measured(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smallest_us = 1e3 * latencies().smallest_ms

    def measured(device: object, models: dict[str, Path], reference: Path, **_: object) -> list[Round]:
        (name,) = models
        return [Round(name, 0, 0, smallest_us, smallest_us, smallest_us, 9, 100.0)]

    def never(*_: object, **__: object) -> None:
        raise AssertionError("measured a whole table")

    monkeypatch.setattr(instance, "measure", measured)
    monkeypatch.setattr(latency_stage, "complete", never)
    with pytest.raises(InfeasibleBudgetError) as caught:
        ready_model(make_plan(a_config(data, budget="0.001"), tmp_path), progress=Silent())
    assert caught.value.smallest_ms == pytest.approx(latencies().smallest_ms)
    with pytest.raises(AssertionError, match="whole table"):
        ready_model(make_plan(a_config(data, budget="100"), tmp_path), progress=Silent())


def test_the_rows_of_the_made_up_machine_differ() -> None:
    assert len({row_ms(spec) for spec in SPACE.ops}) == len(SPACE.ops)


def test_a_table_in_the_working_directory_is_completed_where_it_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next run would find the incomplete one again, and measure again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(find, "resource_folder", lambda name: tmp_path / "none")
    write_table(Path("latency_tables"))
    found = make_plan(a_config(data, resolution=16), None)
    assert found.missing
    again = find.find_folder(found.condition, None)
    assert again is not None
    assert found.folder.resolve() == again.resolve()
