"""What `hwnas runs list` and `hwnas runs compare` print, and the rows of their CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from hwnas.cli import console
from hwnas.display import ms, printable
from hwnas.metric_names import NAMES

if TYPE_CHECKING:
    from hwnas.kept_runs.differences import ComparedResult, RunComparison
    from hwnas.kept_runs.kept_result import KeptResult
    from hwnas.kept_runs.run_summary import RunSummary

_SHOWN = 40  # letters of a name
_MOST_COLUMNS = 4
_UNKNOWN = ""


def runs_table(found: Sequence[RunSummary]) -> Table:
    """A row for each run or, of several budgets or devices, for each network."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "data", "device"):
        table.add_column(name)
    for name in ("budget, ms", "measured (at most)", "accuracy", "size"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    table.add_column("when, UTC")
    for run in found:
        name, data, at = run.run.name or str(run.run), run.data, run.changed_at[:16].replace("T", " ")
        if not run.results:
            table.add_row(_short(name), _short(data), "", _short(run.budget), "", "", "", run.state, at)
        for result in run.results:
            whole = f"{name}/{result.folder}" if result.folder else name
            table.add_row(
                _short(whole),
                _short(data),
                result.device,
                ms(result.budget_ms),
                _measured(result),
                f"{result.accuracy.test:.4f}",
                _kib(result.file_bytes),
                result.verdict,
                at,
            )
    return table


def print_notes(found: Sequence[RunSummary]) -> None:
    """What there is to say of runs that are not finished, or not as they were left."""
    screen = console.out()
    for run in found:
        if run.note:
            told = "a device was left out" if run.state == "finished" else run.state
            console.write(screen, f"\n[yellow]{escape(printable(str(run.run)))}: {told}[/], {_text(run.note)}")
        if run.next:
            console.write(screen, f"go on with it: {_text(run.next)}")


def print_comparison(found: RunComparison) -> None:
    """Options that differ, results, and what the differences are worth."""
    screen = console.out(wide=True)
    names = [_short(one.name) for one in found.results]
    options = {name: [_short(_value(one)) for one in values] for name, values in found.options.items()}
    screen.print(_grid(names, _results(found.results) | options))
    told = [one for one in found.results if one.result is not None]
    if len(told) > 1:
        console.write(console.out(), f"\nBeside {escape(_short(told[0].name))}:")
    for one in found.differences:
        console.write(console.out(), f"{escape(_short(one.name))}: {one.of} {escape(one.words)}")
    if any(one.of == "latency" and one.change is not None for one in found.differences):
        text = "Bounds hold for one sitting: what a device changes from one measurement to the next is not in them."
        console.write(console.out(), text)
    print_notes(list({one.summary.run: one.summary for one in found.results}.values()))


def list_rows(found: Sequence[RunSummary]) -> list[dict[str, Any]]:
    """A row for each network, and for each run without one."""
    return [_row(str(run.run), run, one) for run in found for one in run.results or (None,)]


def compared_rows(found: RunComparison) -> list[dict[str, Any]]:
    """A row for each network, with the options that differ and what its differences are worth."""
    rows = []
    by = {(one.name, one.of): one for one in found.differences}
    for index, one in enumerate(found.results):
        low, high = one.accuracy_ci95 or (None, None)
        row = _row(one.name, one.summary, one.result) | {"accuracy_low": low, "accuracy_high": high}
        for of in ("accuracy", "latency"):
            difference = by.get((one.name, of))
            row |= {f"{of}_change": None if difference is None else difference.change}
            row |= {f"{of}_change_is_real": None if difference is None else difference.real}
        rows.append(row | {name: values[index] for name, values in found.options.items()})
    return rows


def _row(name: str, run: RunSummary, result: KeptResult | None) -> dict[str, Any]:
    facts = {"run": name, "state": run.state, "data": run.data, "budget": run.budget, "changed_at": run.changed_at}
    numbers: dict[str, Any] = dict.fromkeys(
        [
            *("device", "condition", "budget_ms", "predicted_ms", "measured_ms", "measured_low_ms", "measured_high_ms"),
            *("verdict", "accuracy", "test_images", "metric", "score", "file_bytes", "macs", "params", "seconds"),
        ]
    )
    if result is not None:
        measured, plain = result.measured_ms, ("device", "condition", "budget_ms", "predicted_ms", "verdict")
        numbers |= {key: getattr(result, key) for key in (*plain, "metric", "file_bytes", "macs", "params", "seconds")}
        numbers |= {"accuracy": result.accuracy.test, "test_images": result.accuracy.test_images}
        numbers |= {"score": result.test_score}
        if measured is not None:
            low, high = measured.bounds
            numbers |= {"measured_ms": measured.judged_ms, "measured_low_ms": low, "measured_high_ms": high}
    return facts | numbers | {"note": run.note}


def _results(found: Sequence[ComparedResult]) -> dict[str, list[str]]:
    """By label, a text for each network."""
    rows: dict[str, list[str]] = {"state": [one.summary.state for one in found]}
    results = [one.result for one in found]
    rows["device"] = [one.device if one else _UNKNOWN for one in results]
    rows["budget, ms"] = [ms(one.budget_ms) if one else _UNKNOWN for one in results]
    rows["predicted, ms"] = [ms(one.predicted_ms) if one else _UNKNOWN for one in results]
    rows["measured (at most), ms"] = [_measured(one) if one else _UNKNOWN for one in results]
    rows["verdict"] = [one.verdict if one else _UNKNOWN for one in results]
    rows["test accuracy (95 %)"] = [_accuracy(one) for one in found]
    if any(one is not None and one.metric != "accuracy" for one in results):
        rows["test metric"] = [f"{NAMES[one.metric]} {one.test_score:.4f}" if one else _UNKNOWN for one in results]
    rows["file size"] = [_kib(one.file_bytes) if one else _UNKNOWN for one in results]
    rows["MACs"] = [f"{one.macs / 1e6:.2f} M" if one else _UNKNOWN for one in results]
    rows["parameters"] = [f"{one.params / 1e3:.0f} k" if one else _UNKNOWN for one in results]
    return rows


def _grid(names: Sequence[str], rows: dict[str, list[str]]) -> Table:
    """Networks side by side; more than a few of them one below the other."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    if len(names) <= _MOST_COLUMNS:
        for name in names:
            table.add_column(name, justify="right", overflow="fold")
        for label, texts in rows.items():
            table.add_row(label, *texts)
        return table
    for label in rows:
        table.add_column(label, justify="right")
    for index, name in enumerate(names):
        table.add_row(name, *[texts[index] for texts in rows.values()])
    return table


def _accuracy(one: ComparedResult) -> str:
    if one.result is None:
        return _UNKNOWN
    low, high = one.accuracy_ci95 or (None, None)
    interval = "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"
    return f"{one.result.accuracy.test:.4f}{interval}"


def _measured(result: KeptResult) -> str:
    if result.measured_ms is None:
        return "not measured"
    high = result.measured_ms.bounds[1]
    return ms(result.measured_ms.judged_ms) + ("" if high is None else f" ({ms(high)})")


def _kib(size_bytes: int) -> str:
    return f"{size_bytes / 1024:,.0f} KiB"


def _value(value: Any) -> str:
    if value is None or value == "":
        return "not set"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _short(text: str) -> str:
    """The end of a long name, which tells more than its begin."""
    shown = printable(text)
    return shown if len(shown) <= _SHOWN else f"…{shown[1 - _SHOWN :]}"


def _text(text: str) -> str:
    return escape(printable(text))
