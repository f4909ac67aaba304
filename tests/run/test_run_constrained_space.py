"""Constraints on size and memory: which are refused, alone and together, and whole runs within them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_fakes import SPACE, a_config, install, latencies, write_table

from hwnas.arch.costs import peak_bytes
from hwnas.errors import ExportError, InfeasibleBudgetError, InfeasibleLimitError, InputError
from hwnas.exporting.size import size_model
from hwnas.progress import Silent
from hwnas.run import produce
from hwnas.run.constrained_space import ConstrainedSpace, constrained_space
from hwnas.run.latency_stage import ready_model
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan
from hwnas.schema import read_json

MODEL = latencies()
CLASSES, TEXTS = ("blue", "green", "red"), ("images", "host", "a/condition")
SIZE = size_model(SPACE, CLASSES, TEXTS)
EVERYTHING = list(SPACE.enumerate())
PEAKS_KB = {a.choices: peak_bytes(SPACE.network(a).graph) / 1024 for a in EVERYTHING}
SIZES_KB = {a.choices: SIZE.predict_bytes(a.choices) / 1024 for a in EVERYTHING}
MS = {a.choices: MODEL.predict_ms(a.choices) for a in EVERYTHING}


def of(size_kb: float = 0.0, peak_kb: float = 0.0) -> ConstrainedSpace:
    return constrained_space(a_config(Path("images"), max_size_kb=size_kb, max_peak_kb=peak_kb), SPACE, CLASSES, TEXTS)


def inside(size_kb: float, peak_kb: float, ms: float) -> list[tuple[int, ...]]:
    return [c for c in MS if SIZES_KB[c] <= size_kb and PEAKS_KB[c] <= peak_kb and MS[c] <= ms * (1 + 1e-9)]


def test_without_limits_the_space_stays_as_it_is() -> None:
    found = of()
    assert (found.space, found.size, found.count()) == (SPACE, None, 81)
    assert len(found.feasible_set(MODEL, 9.0).constraints) == 1


@pytest.mark.parametrize("peak_kb", sorted(set(PEAKS_KB.values())))
def test_the_peak_leaves_the_networks_within_it(peak_kb: float) -> None:
    found = of(peak_kb=peak_kb)
    left = {
        tuple(kept[k] for k, kept in zip(a.choices, found.kept, strict=True)): peak_bytes(found.space.network(a).graph)
        for a in found.space.enumerate()
    }
    assert set(left) == {choices for choices in PEAKS_KB if PEAKS_KB[choices] <= peak_kb}
    assert all(left[choices] == PEAKS_KB[choices] * 1024 for choices in left)


def test_a_limit_that_cannot_be_met_alone_is_named() -> None:
    for option, values in (("--max-size-kb", SIZES_KB), ("--max-peak-kb", PEAKS_KB)):
        smallest = min(values.values())
        name = "size_kb" if "size" in option else "peak_kb"
        assert of(**{name: smallest}).space.size
        with pytest.raises(InfeasibleLimitError) as caught:
            of(**{name: smallest - 0.01})
        assert (caught.value.exit_code, caught.value.limit) == (3, option)
        assert caught.value.smallest_kb == pytest.approx(smallest)
        assert option in caught.value.hint
        asked = float(caught.value.hint.partition(option)[2].split(",")[0])
        assert smallest <= asked < smallest + 0.1001


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_what_is_no_limit_is_refused(value: float) -> None:
    for name in ("size_kb", "peak_kb"):
        with pytest.raises(InputError, match=rf"max_{name} \(--max-.*\) is a number of at least 0, not"):
            of(**{name: value})


@pytest.mark.parametrize("peak_rank", [0, -1])
@pytest.mark.parametrize(
    "rank", [pytest.param(rank, marks=[pytest.mark.dear] if rank % 24 else []) for rank in range(0, 81, 8)]
)
def test_limits_that_exclude_each_other_are_told_with_what_can_be_met(rank: int, peak_rank: int) -> None:
    size_kb, peak_kb = sorted(SIZES_KB.values())[rank], sorted(PEAKS_KB.values())[peak_rank]
    if not inside(size_kb, peak_kb, 1e9):
        with pytest.raises(InfeasibleLimitError, match="with a peak of at most"):
            of(size_kb, peak_kb)
        return
    found = of(size_kb, peak_kb)
    model = MODEL.restricted(found.kept)
    fastest_ms = min(MS[c] for c in inside(size_kb, peak_kb, 1e9))
    for ms in sorted(MS.values())[::5]:
        allowed = inside(size_kb, peak_kb, ms)
        if allowed:
            found.check(model, ms)
            assert found.feasible_set(model, ms).decode(model.costs_ms) is not None
            assert 1 <= found.count(found.feasible_set(model, ms)) <= len(allowed)
        else:
            with pytest.raises(InfeasibleBudgetError) as caught:
                found.check(model, ms)
            assert caught.value.smallest_ms == pytest.approx(fastest_ms)
            assert f"{fastest_ms:.4g} ms" in str(caught.value)
            assert "KiB" in str(caught.value)
            assert "--max-" in caught.value.hint


def test_a_slow_but_small_option_makes_size_and_latency_exclude_each_other() -> None:
    """The network that is smallest is the slowest here, so that both limits can be met alone but not together."""
    inverse = MODEL.__class__(tuple(tuple(float(-c) for c in row) for row in SIZE.costs_bytes), 1e6)
    size_kb = sorted(SIZES_KB.values())[40]
    found = of(size_kb)
    fastest_ms = inverse.predict_ms(max((c for c in SIZES_KB if SIZES_KB[c] <= size_kb), key=SIZES_KB.__getitem__))
    found.check(inverse, fastest_ms + 1)
    with pytest.raises(InfeasibleBudgetError, match=f"within a file of {size_kb:g} KiB") as caught:
        found.check(inverse, fastest_ms - 1)
    assert caught.value.smallest_ms == pytest.approx(fastest_ms)
    within = min(SIZES_KB[c] for c in SIZES_KB if inverse.predict_ms(c) <= fastest_ms - 1)
    asked = float(caught.value.hint.partition("--max-size-kb ")[2])
    assert within <= asked < within + 0.1001


@pytest.fixture
def run(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    tables = write_table(tmp_path / "tables")
    install(monkeypatch.setattr)

    def run(name: str = "run", *, resume: bool = False, **changes: Any) -> Any:
        config = a_config(images, **changes)
        return run_search(config, tmp_path / name, tables=tables, resume=resume)

    return run


@pytest.mark.parametrize("strategy", ["gumbel", "random"])
def test_a_run_keeps_every_limit_and_so_does_its_baseline(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    asked: list[tuple[int, ...]] = []
    trained = produce.trained
    monkeypatch.setattr(
        produce,
        "trained",
        lambda r, found, choices, *rest, **more: asked.append(choices) or trained(r, found, choices, *rest, **more),
    )
    size_kb, peak_kb = sorted(SIZES_KB.values())[45], sorted(set(PEAKS_KB.values()))[-2]
    result = run(max_size_kb=size_kb, max_peak_kb=peak_kb, budget="70%", strategy=strategy)
    assert result["limits"] == {"max_size_kb": size_kb, "max_peak_kb": peak_kb}
    assert result["file_bytes"] == (tmp_path / "run/model.onnx").stat().st_size <= size_kb * 1024
    assert result["peak_bytes"] <= peak_kb * 1024
    assert result["range_ms"] == pytest.approx([MODEL.smallest_ms, MODEL.largest_ms])
    found = of(size_kb, peak_kb)
    for choices in asked:
        whole = tuple(kept[k] for k, kept in zip(choices, found.kept, strict=True))
        assert PEAKS_KB[whole] <= peak_kb
        assert SIZES_KB[whole] <= size_kb + 0.2  # the names in the metadata are other ones here
        assert MS[whole] <= result["budget_ms"]
    assert len(asked) == 2
    page = (tmp_path / "run/report.html").read_text()
    assert f"limit {size_kb} KiB" in page
    assert f"limit {peak_kb} KiB" in page


def test_an_interrupted_run_with_limits_goes_on_to_the_same_result(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hwnas.nas.supernet_loop import SearchLoop

    asked = {"budget": "80%", "strategy": "gumbel-soft", "baseline": False}
    limits = asked | {"max_size_kb": sorted(SIZES_KB.values())[30]}
    run("whole", **limits)
    save, saved = SearchLoop.save, []

    def stop(self: SearchLoop, path: Path, epochs_done: int) -> None:
        save(self, path, epochs_done)
        saved.append(epochs_done)
        if epochs_done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(SearchLoop, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        run("cut", **limits)
    run("cut", resume=True, **limits)
    assert saved == [1, 2, 3]
    for name in ("weights.safetensors", "architecture.json", "evaluated.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    epochs = [line for line in (tmp_path / "cut/log.jsonl").read_text().splitlines() if "multiplier_kb" in line]
    assert len(epochs) == 2  # the second was cut off before its line


def test_an_exported_file_above_its_limit_is_an_error(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By construction there is none; if there were, it would not pass."""
    monkeypatch.setattr("hwnas.exporting.size._FRAME_BYTES", {".onnx": -2000})
    with pytest.raises(ExportError, match="the file of the exported network"):
        run(max_size_kb=min(SIZES_KB.values()) - 2.5)


def test_infeasible_limits_write_nothing(run: Any, tmp_path: Path) -> None:
    for changes in ({"max_size_kb": 1.0}, {"max_peak_kb": 0.5}):
        with pytest.raises(InfeasibleLimitError):
            run(**changes)
    assert not (tmp_path / "run").exists()


def test_a_table_is_always_that_of_the_whole_space(images: Path, tmp_path: Path) -> None:
    peak_kb = sorted(set(PEAKS_KB.values()))[0]
    found = make_plan(a_config(images, max_peak_kb=peak_kb), tmp_path)
    assert found.missing.rows == SPACE.ops
    assert len(found.space.ops) < len(SPACE.ops)
    found = make_plan(a_config(images, max_peak_kb=peak_kb), write_table(tmp_path / "tables"))
    with pytest.MonkeyPatch.context() as patch:
        install(patch.setattr)
        model = ready_model(found, progress=Silent())
        assert {c: model.predict_ms(c) for c in MS} == pytest.approx(MS)


def test_the_kept_model_is_that_of_the_whole_space(run: Any, tmp_path: Path) -> None:
    run(max_peak_kb=sorted(set(PEAKS_KB.values()))[-2], train=False, baseline=False)
    kept = read_json(tmp_path / "run/state/latency.json")["model"]["costs_ms"]
    assert [len(row) for row in kept] == [len(row) for row in MODEL.costs_ms]
