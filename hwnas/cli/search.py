"""`hwnas search`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from hwnas.cli import console, options

if TYPE_CHECKING:
    from rich.table import Table

    from hwnas.run.plan import Plan

_ROWS_A_MINUTE = 100  # on a machine that does nothing else


@console.verb
def search(
    budget_ms: Annotated[str, typer.Option(help="Milliseconds, or a share of the space's range such as 50%.")] = "",
    budgets_ms: Annotated[
        str, typer.Option(help="Instead: several of them, such as 5,10,20 or 20%,50%, from one search.")
    ] = "",
    max_size_kb: Annotated[
        float, typer.Option(help="Largest model file, in KB of 1,024 bytes (KiB); 0 is no limit.")
    ] = 0.0,
    max_peak_kb: Annotated[
        float, typer.Option(help="Most memory of activations alive at once, in the same KB; 0 is no limit.")
    ] = 0.0,
    data: Annotated[
        str,
        typer.Option(
            help="`digits`, `mnist`, `cifar10`, a folder with one sub-folder of images per class, or an .npz file."
        ),
    ] = "digits",
    device: options.DeviceId = "host",
    space: options.Space = "mobile",
    width: options.Width = 0.0,
    depth: options.Depth = 0,
    resolution: options.Resolution = 0,
    runtime: options.Runtime = "",
    precision: options.Precision = "",
    strategy: Annotated[
        str,
        typer.Option(help="Search strategy (see `hwnas strategies list`). [default: gumbel; metaqnn for chain]"),
    ] = "",
    init: Annotated[
        str, typer.Option(help="Start from this: a file of `hwnas meta-train`, or the folder of an earlier run.")
    ] = "",
    search_share: Annotated[
        str,
        typer.Option(
            help="From --init: how much of a search is done, such as 10% or 1; 0 decodes its α without any. "
            "[default: less warm-up, half of the other epochs]"
        ),
    ] = "",
    scores: Annotated[
        str,
        typer.Option(
            help="Where scores of candidates come from: supernet, or training from scratch (samplers). "
            "[default: supernet; training for chain]"
        ),
    ] = "",
    reward: Annotated[
        str,
        typer.Option(
            help="What samplers are told: accuracies, of feasible networks only (filter), or accuracies less what the "
            "latency is off the budget, of any (absolute)."
        ),
    ] = "filter",
    score_epochs: Annotated[int, typer.Option(min=0, help="Epochs of a training for a score; 0 follows the data.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train for scores.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Run directory. [default: runs/DATA-BUDGET-sSEED]")] = None,
    tables: options.Tables = None,
    no_train: Annotated[bool, typer.Option("--no-train", help="Keep the weights inherited from the supernet.")] = False,
    epochs: Annotated[int, typer.Option(min=0, help="Epochs of the final trainings; 0 follows the data.")] = 0,
    recipe: Annotated[
        str, typer.Option(help="Of the final trainings: default, cells (drop path, auxiliary head, cutout), or auto.")
    ] = "auto",
    minutes: Annotated[
        float, typer.Option(min=0.0, help="How long the whole run may take; 0 follows the size of the data.")
    ] = 0.0,
    no_baseline: Annotated[
        bool, typer.Option("--no-baseline", help="Train no random network beside the winner.")
    ] = False,
    max_drop: Annotated[
        float, typer.Option(min=0.0, help="Percentage points of validation accuracy that int8 may cost.")
    ] = 1.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start a run anew, replacing what is in --out.")] = False,
    any_table: Annotated[
        bool, typer.Option("--any-table", help="Search even with a latency table whose error is too large.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of search and training.")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    seed: options.Seed = 0,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find, train, export and verify the best network within a latency budget on a device, or one for each of several.

    Measures the latencies that the device's table lacks, searches, checks the winner on the device, trains it, writes
    model.onnx (model.tflite for LiteRT), measures that file, and writes result.json and report.html. Several budgets
    share one search; each has a folder of its own in the run directory, such as 5ms.
    """
    from hwnas.run.config import RunConfig

    config = RunConfig(
        budget=_budget(budget_ms, budgets_ms),
        device=device,
        data=data,
        space=space,
        width=width,
        depth=depth,
        resolution=resolution,
        runtime=runtime,
        precision=precision,
        strategy=strategy,
        seed=seed,
        threads=threads,
        accelerator=accelerator,
        max_size_kb=max_size_kb,
        max_peak_kb=max_peak_kb,
        train=not no_train,
        epochs=epochs,
        recipe=recipe,
        minutes=minutes,
        baseline=not no_baseline,
        max_drop=max_drop,
        scores=scores,
        score_epochs=score_epochs,
        reward=reward,
        init=init,
        search_share=search_share,
    )
    if dry_run:
        from hwnas.run.plan import make_plan

        plan = make_plan(config, tables, any_table=any_table, progress=console.progress(quiet=quiet))
        _print_plan(plan, as_json=json_)
        return

    from hwnas.errors import BudgetMissedError
    from hwnas.files import read_json
    from hwnas.run.pipeline import run_search

    folder = out or default_folder(config.data, config.budget, seed, runtime, precision, "init" if init else "")
    try:
        result = run_search(
            config,
            folder,
            progress=console.progress(quiet=quiet),
            tables=tables,
            resume=resume,
            force=force,
            any_table=any_table,
            workers=workers,
        )
    except BudgetMissedError:
        if not json_:
            result = read_json(folder / "result.json")
            console.out().print(_front(result) if "front" in result else _comparison(result), "")
        raise
    if json_:
        console.print_json(result)
    elif "front" in result:
        _print_front(result, folder)
    else:
        _print_result(result, folder)


def _budget(one: str, several: str) -> str:
    """The budgets of a configuration: one as typed, several from the tightest on."""
    from hwnas.errors import InputError
    from hwnas.run.config import Budget, parse_budgets

    if bool(one.strip()) == bool(several.strip()):
        raise InputError(
            "a search takes either --budget-ms or --budgets-ms",
            hint="examples: --budget-ms 20, --budgets-ms 5,10,20, --budgets-ms 20%,50%",
        )
    if one.strip():
        Budget.parse(one)
        return one.strip()
    return ",".join(f"{budget.value:.12g}{'%' if budget.relative else ''}" for budget in parse_budgets(several))


def default_folder(data: str, budget: str, seed: int, *variants: str) -> Path:
    """The run directory when none is named, for example `runs/digits-50pct-s0`, or `runs/digits-50pct-litert-s0`."""
    name = "-".join([Path(data).name or "data", budget.replace("%", "pct"), *filter(None, variants), f"s{seed}"])
    return Path("runs") / "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    from hwnas.latency.build import model_of
    from hwnas.run.plan import check_budget

    facts: dict[str, Any] = {
        "space": plan.space.name,
        "reason": plan.reason,
        "architectures": plan.whole.size,
        "input": list(plan.space.input_shape),
        "classes": plan.space.classes,
        "device": plan.device.id,
        "condition": str(plan.device.condition().folder),
        "rows_needed": len(plan.whole.ops),
        "rows_to_measure": len(plan.need.rows),
        "strategy": plan.strategy.name,
        "init": None if plan.reused is None else plan.reused.to_json(plan.config.init),
    }
    limits = None
    if not plan.need:
        model = model_of(plan.table, plan.whole, any_table=plan.any_table)
        facts["range_ms"] = [model.smallest_ms, model.largest_ms]
        budgets_ms, targets_ms = [budget.ms(model) for budget in plan.budgets], plan.targets_ms(model)
        facts |= {"budget_ms": budgets_ms[0], "target_ms": targets_ms[0]}
        if len(plan.budgets) > 1:
            facts |= {"budget_ms": budgets_ms, "target_ms": list(targets_ms)}
        check_budget(plan, model)
        limits = plan.bounds.limits(model.restricted(plan.bounds.kept), targets_ms[-1])
    facts["limits"] = {
        "max_size_kb": plan.bounds.max_size_kb or None,
        "max_peak_kb": plan.bounds.max_peak_kb or None,
        "options_removed": sum(len(decision.options) for decision in plan.whole.decisions) - plan.bounds.options,
        "architectures_left": plan.bounds.count(limits),
    }
    if as_json:
        console.print_json(facts | {"config": asdict(plan.config)})
        return
    _print_facts(_plan_lines(plan, facts))
    console.out().print("\nNext: the same command without --dry-run")


def _plan_lines(plan: Plan, facts: dict[str, Any]) -> dict[str, str]:
    c, height, width = plan.space.input_shape
    lines = {
        "data": f"{plan.config.data}: {plan.space.classes} classes, {c} × {height} × {width} pixels",
        "space": f"{plan.whole.name}: {plan.whole.size:,} architectures; {plan.reason}",
        "device": f"{plan.device.id}, {facts['condition']}",
    }
    if plan.need:
        rows = len(plan.need.rows)
        time = "in under a minute" if rows <= _ROWS_A_MINUTE else f"in about {rows / _ROWS_A_MINUTE:.0f} minutes"
        lines["table"] = f"{rows} of {len(plan.whole.ops)} rows to measure first, {time}"
        lines["budget"] = f"{plan.config.budget}{' of the latency range' if plan.budgets[0].relative else ' ms'}"
    else:
        low, high = facts["range_ms"]
        ends = f"in {_ms(low)} to {_ms(high)} ms" if low > 0 else f"in up to {_ms(high)} ms"
        lines["table"] = f"complete; the space runs {ends}"
        budgets, targets = (_several(facts[name]) for name in ("budget_ms", "target_ms"))
        lines["budget"] = f"{budgets} ms; predictions stay under {targets} ms"
    if any(_limits(facts)):
        size, peak = _limits(facts)
        asked = [f"file of at most {size:g} KiB"] * bool(size) + [f"peak of at most {peak:g} KiB"] * bool(peak)
        left, removed = facts["limits"]["architectures_left"], facts["limits"]["options_removed"]
        time = "" if plan.need else "with the budget, "
        lines["limits"] = f"{', '.join(asked)}; {time}about {left:,.0f} architectures left"
        if peak:
            lines["limits"] += f", {removed} of {removed + plan.bounds.options} options above the peak"
    if plan.reused is not None:
        lines["start"] = f"{plan.config.init}: {plan.reused}"
    return lines | {"strategy": f"{plan.strategy.name}: {plan.strategy.summary}"}


def _limits(facts: dict[str, Any]) -> tuple[float | None, float | None]:
    """Largest size and peak in KiB; results of earlier versions have none."""
    limits = facts.get("limits", {})
    return limits.get("max_size_kb"), limits.get("max_peak_kb")


def _print_facts(lines: dict[str, str]) -> None:
    for name, text in lines.items():
        console.write(console.out(), f"[bold]{name:<9}[/] {escape(text)}")


def _print_result(result: dict[str, Any], folder: Path) -> None:
    screen = console.out()
    screen.print(_comparison(result))
    screen.print("")
    console.write(screen, _verdict(result))
    console.write(screen, _binding(result))
    screen.print("")
    _print_facts(
        {
            "model": str(folder / result.get("model", "model.onnx")),
            "report": str(folder / "report.html"),
            "time": f"{result['seconds']:.0f} s in all",
        }
    )
    screen.print("")
    console.write(screen, f"Next: hwnas predict {escape(str(folder))} IMAGE")


def _print_front(result: dict[str, Any], folder: Path) -> None:
    screen = console.out()
    screen.print(_front(result))
    screen.print("")
    for one in result["front"]:
        if not one["budget_met"]:
            console.write(screen, f"{escape(one['folder'])}: {_verdict(one)}")
    _print_facts(
        {
            "models": ", ".join(str(folder / one["folder"] / one["model"]) for one in result["front"]),
            "report": str(folder / "report.html"),
            "time": f"{result['seconds']:.0f} s in all",
        }
    )
    screen.print("")
    console.write(screen, f"Next: hwnas predict {escape(str(folder / result['front'][0]['folder']))} IMAGE")


def _front(result: dict[str, Any]) -> Table:
    """One row for each of several budgets: predictions, medians, and accuracies on the test images; 80 columns."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("budget, ms", "predicted, ms", "measured [95 %], ms", "accuracy", "random", "verdict"):
        table.add_column(column, justify="right")
    for one in result["front"]:
        rival = one["baseline_random"]
        table.add_row(
            _ms(one["budget_ms"]),
            _ms(one["predicted_ms"]),
            _interval(one["measured_ms"]),
            f"{one['accuracy']['test']:.4f}",
            f"{rival['accuracy']:.4f}" if rival else "",
            one["verdict"],
        )
    return table


def _comparison(result: dict[str, Any]) -> Table:
    from rich.table import Table

    rival = result["baseline_random"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    size, peak = _limits(result)
    table.add_column("")
    table.add_column("found", justify="right")
    if rival:
        table.add_column("random, trained alike" if result["trained"] else "random, same supernet", justify="right")
    for label, found, random in (
        ("budget, ms", _ms(result["budget_ms"]), _ms(result["budget_ms"])),
        ("predicted, ms", _ms(result["predicted_ms"]), _ms(rival["predicted_ms"]) if rival else ""),
        (
            "measured median [95 %], ms",
            _interval(result["measured_ms"]),
            _interval(rival["measured_ms"]) if rival else "",
        ),
        ("test accuracy", f"{result['accuracy']['test']:.4f}", f"{rival['accuracy']:.4f}" if rival else ""),
        ("MACs", f"{result['macs'] / 1e6:.2f} M", ""),
        ("parameters", f"{result['params'] / 1e3:.0f} k", ""),
        ("file size", _kib(result["file_bytes"], size), ""),
        *([("peak memory", _kib(result["peak_bytes"], peak), "")] if peak else []),
    ):
        table.add_row(label, found, *([random] if rival else []))
    return table


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.4g}"


def _several(values_ms: float | list[float]) -> str:
    return ", ".join(map(_ms, values_ms)) if isinstance(values_ms, list) else _ms(values_ms)


def _kib(size_bytes: int, limit_kb: float | None) -> str:
    return f"{size_bytes / 1024:.0f}{f' of {limit_kb:g}' if limit_kb else ''} KiB"


def _interval(measured: dict[str, Any] | None) -> str:
    if measured is None:
        return "not measured"
    low, high = measured["ci95"]
    return f"{_ms(measured['median'])} [{_ms(low)}, {_ms(high)}]"


def _verdict(result: dict[str, Any]) -> str:
    """Whether the budget was met, and what to do where the device could not tell."""
    if result["budget_met"]:
        return f"[green]Budget met[/], measured on {escape(result['device'])}."
    if result["measured_ms"] is None:
        return (
            f"[yellow]Not measured[/]: {escape(result['device'])} is known by an imported table alone, and nobody says "
            "how far its predictions are off. Measure the file where it is to run: hwnas verify FILE --device "
            f"DEVICE.toml --budget-ms {result['budget_ms']:.4g}"
        )
    return (
        f"[yellow]Verdict unstable[/]: {escape(result['device'])} was too busy to tell whether the budget is met "
        f"({result['measured_ms']['rejected']:.0%} of the rounds were disturbed). Close other programs and run the "
        "same command with --resume: it measures again and keeps the trained model."
    )


def _binding(result: dict[str, Any]) -> str:
    if result["budget_binds"]:
        return "The budget binds: without it, a slower network would have been chosen."
    return (
        "The budget does not bind: even without it, this search would have chosen a network within it "
        f"(predicted {_ms(result['unbudgeted_ms'])} ms)."
    )
