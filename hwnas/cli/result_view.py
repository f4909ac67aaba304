"""What `hwnas search` prints of a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from hwnas.cli import console
from hwnas.display import ms
from hwnas.metric_names import NAMES
from hwnas.report.disturbed import in_spite_text
from hwnas.report.earlier_results import judged_ms
from hwnas.report.filters import place_of
from hwnas.report.shipped_weights import shipped, weights_text
from hwnas.report.untrained import is_untrained, never_predicted_text


def finish(result: dict[str, Any], folder: Path, *, json_: bool) -> None:
    """End a command with its result: print that, and exit as its verdicts say.

    Raises:
        HwnasError: a budget is missed or undecided, or a device is left out.
        SystemExit: likewise, where the result is printed as JSON.
    """
    from hwnas.run.failures import failure

    error = failure(result)
    if json_:
        console.print_json(result | ({} if error is None else console.failed(error)))
        if error is not None:
            raise SystemExit(error.exit_code)
    elif error is None:
        print_result(result, folder)
    else:
        console.out().print(result_table(result), "")
        raise error


def print_result(result: dict[str, Any], folder: Path) -> None:
    """Of one budget or several, what came out, and where it lies in the run directory."""
    screen = console.out()
    screen.print(result_table(result))
    screen.print("")
    found = result.get("front", [result])
    if "front" in result:
        for one in found:
            if not one["budget_met"]:
                console.write(screen, f"{escape(one['folder'])}: {_verdict(one)}")
        first = folder / found[0]["folder"]
        label, models = "models", [folder / one["folder"] / one["model"] for one in found]
    else:
        console.write(screen, _verdict(result))
        console.write(screen, _binding(result))
        if "start" in shipped(result):  # where all were trained, nobody expects other weights
            console.write(screen, f"{weights_text(result)}.")
        if parent := _parent(result):
            console.write(screen, parent)
        screen.print("")
        first = folder
        label, models = "model", [folder / result.get("model", "model.onnx")]
    facts = {label: ", ".join(map(str, models)), "report": str(folder / "report.html")}
    console.print_facts((facts | {"time": f"{result['seconds']:.0f} s in all"}).items())
    screen.print("")
    for one in found:
        if untrained := never_predicted_text(one):
            of = f"{escape(one['folder'])}: " if "front" in result else ""
            console.write(screen, f"{of}[yellow]Not trained enough[/]: {escape(untrained)}.")
    if any(map(is_untrained, found)):
        console.write(screen, "Next: the same command with more --minutes or --epochs, and --force")
    else:
        console.write(screen, f"Next: hwnas predict {escape(str(first))} IMAGE")


def result_table(result: dict[str, Any]) -> Table:
    """Of one budget the numbers beside those of the random network, of several a row each."""
    return _front(result) if "front" in result else _comparison(result)


def _front(result: dict[str, Any]) -> Table:
    """One row for each of several budgets: predictions, medians, and accuracies on the test images; 80 columns, and
    more for the names of several devices."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    metric = _metric(result)
    places = [place_of(one) for one in result["front"]]
    if any(places):
        table.add_column("device")
    for column in ("budget, ms", "predicted, ms", "measured (at most)", metric, "random", "verdict"):
        table.add_column(column, justify="right")
    for one, place in zip(result["front"], places, strict=True):
        rival = one["baseline_random"]
        table.add_row(
            *([place] if any(places) else []),
            ms(one["budget_ms"]),
            ms(one["predicted_ms"]),
            _interval(one["measured_ms"]),
            f"{_score(one):.4f}",
            f"{rival.get('score', rival['accuracy']):.4f}" if rival else "",
            one["verdict"],
        )
    return table


def _comparison(result: dict[str, Any]) -> Table:
    rival = result["baseline_random"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    size, peak = _limits(result)
    sizes: list[tuple[str, str, Callable[[int], str]]] = [  # of the random network, earlier versions do not tell them
        ("MACs", "macs", lambda count: f"{count / 1e6:.2f} M"),
        ("parameters", "params", lambda count: f"{count / 1e3:.0f} k"),
        ("file size", "file_bytes", lambda count: _kib(count, size)),
        *([("peak memory", "peak_bytes", lambda count: _kib(count, peak))] if peak else []),
    ]
    table.add_column("")
    table.add_column("found", justify="right")
    if rival:
        alike = "random" if "start" in shipped(result) else "random, trained alike"
        table.add_column(alike if result["trained"] else "random, same supernet", justify="right")
    for label, found, random in (
        ("budget, ms", ms(result["budget_ms"]), ms(result["budget_ms"])),
        ("predicted, ms", ms(result["predicted_ms"]), ms(rival["predicted_ms"]) if rival else ""),
        (
            "measured (at most), ms",
            _interval(result["measured_ms"]),
            _interval(rival["measured_ms"]) if rival else "",
        ),
        ("test accuracy", f"{result['accuracy']['test']:.4f}", f"{rival['accuracy']:.4f}" if rival else ""),
        *(
            [(f"test {_metric(result)}", f"{_score(result):.4f}", f"{rival['score']:.4f}" if rival else "")]
            if result.get("metric", "accuracy") != "accuracy"
            else []
        ),
        *[
            (label, text(result[name]), text(rival[name]) if rival and name in rival else "")
            for label, name, text in sizes
        ],
    ):
        table.add_row(label, found, *([random] if rival else []))
    return table


def _metric(result: dict[str, Any]) -> str:
    """What was sought, in words; results of earlier versions do not tell."""
    return NAMES[result.get("metric") or "accuracy"]


def _score(result: dict[str, Any]) -> float:
    """That of the test images."""
    return float(result.get("score", result["accuracy"])["test"])


def _limits(facts: dict[str, Any]) -> tuple[float | None, float | None]:
    """Largest size and peak in KiB; results of earlier versions have none."""
    limits = facts.get("limits", {})
    return limits.get("max_size_kb"), limits.get("max_peak_kb")


def _kib(size_bytes: int, limit_kb: float | None) -> str:
    return f"{size_bytes / 1024:.0f}{f' of {limit_kb:g}' if limit_kb else ''} KiB"


def _interval(measured: dict[str, Any] | None) -> str:
    if measured is None:
        return "not measured"
    high = measured["bounds"][1]
    return ms(judged_ms(measured)) + ("" if high is None else f" ({ms(high)})")


def _verdict(result: dict[str, Any]) -> str:
    """Whether the budget was met, and what to do where the device could not tell."""
    if result["budget_met"]:
        colour = "yellow" if is_untrained(result) else "green"
        spite = in_spite_text(result["measured_ms"].get("rejected"))
        return f"[{colour}]Budget met[/], measured on {escape(result['device'])}. {spite}".rstrip()
    if result["measured_ms"] is None:
        return (
            f"[yellow]Not measured[/]: {escape(result['device'])} is known by an imported table alone, and nobody says "
            "how far its predictions are off. Measure the file where it is to run: hwnas verify FILE --device "
            f"DEVICE.toml --budget-ms {result['budget_ms']:.4g}"
        )
    if result["verdict"] == "too close":
        return "[yellow]Too close to tell[/]: the bounds of the median lie on both sides of the budget."
    return (
        f"[yellow]Verdict unstable[/]: {escape(result['device'])} was too busy to tell whether the budget is met "
        f"({result['measured_ms']['rejected']:.0%} of the rounds were disturbed). Close other programs and run the "
        "same command with --resume: it measures again and keeps the trained model."
    )


def _parent(result: dict[str, Any]) -> str:
    """The network beside the parent that it was found in; empty where there is none."""
    parent = result.get("parent")
    if not parent:
        return ""
    name, head = _metric(result), parent["head"]
    took = "" if parent["predicted_ms"] is None else f", predicted {ms(parent['predicted_ms'])} ms"
    told = f"Found inside of {escape(parent['name'])}"
    if head is None:
        return f"{told}: the whole network at {parent['pixels']} pixels{took}."
    own = result.get("score", result["accuracy"])["val"]
    return (
        f"{told}: validation {name} {own:.4f}; a head on the frozen features of the whole network at "
        f"{parent['pixels']} pixels{took}: {head['score']:.4f}."
    )


def _binding(result: dict[str, Any]) -> str:
    if result["budget_binds"] is None:
        return (
            "Whether the budget binds, so that without it a slower network would be chosen, is not known: the "
            "validation images do not tell the candidates apart, or none was scored. More images or more time would."
        )
    if result["budget_binds"]:
        return "The budget binds: without it, a slower network would have been chosen."
    return (
        "The budget does not bind: even without it, this search would have chosen a network within it "
        f"(predicted {ms(result['unbudgeted_ms'])} ms)."
    )
