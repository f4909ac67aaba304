"""`hwnas search`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hwnas.cli import console, options

if TYPE_CHECKING:
    from hwnas.run.plan import Plan


@console.verb
def search(
    budget_ms: Annotated[str, typer.Option(help="Milliseconds, or a share of the space's range such as 50%.")],
    data: Annotated[
        str, typer.Option(help="`digits`, or a folder with one sub-folder of images per class.")
    ] = "digits",
    device: options.DeviceId = "host",
    space: options.Space = "mobile",
    width: options.Width = 0.0,
    resolution: options.Resolution = 0,
    strategy: Annotated[str, typer.Option(help="Search strategy (see `hwnas strategies list`).")] = "gumbel",
    out: Annotated[Path | None, typer.Option(help="Run directory. [default: runs/DATA-BUDGET-sSEED]")] = None,
    tables: options.Tables = None,
    no_train: Annotated[bool, typer.Option("--no-train", help="Keep the weights inherited from the supernet.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start a run anew, replacing what is in --out.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of search and training.")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    seed: options.Seed = 0,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find, train, export and verify the best network within a latency budget on a device.

    Measures the latencies that the device's table lacks, searches, checks the winner on the device, trains it, writes
    model.onnx, measures that file, and writes result.json and report.html.
    """
    from hwnas.run.config import RunConfig

    config = RunConfig(
        budget=budget_ms.strip(),
        device=device,
        data=data,
        space=space,
        width=width,
        resolution=resolution,
        strategy=strategy,
        seed=seed,
        threads=threads,
        accelerator=accelerator,
        train=not no_train,
    )
    if dry_run:
        from hwnas.run.plan import make_plan

        _print_plan(make_plan(config, tables), as_json=json_)
        return

    from hwnas.run.pipeline import run_search

    folder = out or default_folder(config.data, config.budget, seed)
    result = run_search(
        config, folder, progress=console.progress(quiet=quiet), tables=tables, resume=resume, force=force
    )
    if json_:
        console.print_json(result)
    else:
        _print_result(result, folder)


def default_folder(data: str, budget: str, seed: int) -> Path:
    """The run directory when none is named, for example `runs/digits-50pct-s0`."""
    name = f"{Path(data).name or 'data'}-{budget.replace('%', 'pct')}-s{seed}"
    return Path("runs") / "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    from hwnas.latency.build import model_of

    facts: dict[str, Any] = {
        "space": plan.space.name,
        "architectures": plan.space.size,
        "input": list(plan.space.input_shape),
        "classes": plan.space.classes,
        "device": plan.device.id,
        "condition": str(plan.device.condition().folder),
        "rows_needed": len(plan.space.ops),
        "rows_to_measure": len(plan.need.rows),
        "strategy": plan.strategy.name,
    }
    if not plan.need:
        model = model_of(plan.table, plan.space)
        facts["range_ms"] = [model.smallest_ms, model.largest_ms]
        facts["budget_ms"] = plan.budget.ms(model)
        facts["target_ms"] = model.target_ms(facts["budget_ms"])
        model.raw_budget_ms(facts["target_ms"])
    if as_json:
        console.print_json(facts | {"config": asdict(plan.config)})
        return
    screen = console.out()
    c, height, width = plan.space.input_shape
    screen.print(
        f"[bold]data[/]      {plan.config.data}: {plan.space.classes} classes, {c} x {height} x {width} pixels"
    )
    screen.print(f"[bold]space[/]     {plan.space.name}: {plan.space.size:,} architectures")
    screen.print(f"[bold]device[/]    {plan.device.id}, {facts['condition']}")
    if plan.need:
        screen.print(
            f"[bold]table[/]     {len(plan.need.rows)} of {len(plan.space.ops)} rows are to be measured first, "
            "then whole networks to calibrate: under a minute"
        )
        screen.print(f"[bold]budget[/]    {plan.config.budget}{'' if plan.budget.relative else ' ms'}")
    else:
        low, high = facts["range_ms"]
        screen.print(f"[bold]table[/]     complete; the space runs in {low:.3g} to {high:.3g} ms")
        screen.print(
            f"[bold]budget[/]    {facts['budget_ms']:.4g} ms; predictions stay under {facts['target_ms']:.4g} ms"
        )
    screen.print(f"[bold]strategy[/]  {plan.strategy.name}: {plan.strategy.summary}")
    screen.print("\nNext: the same command without --dry-run")


def _print_result(result: dict[str, Any], folder: Path) -> None:
    screen = console.out()
    measured, rival = result["measured_ms"], result["baseline_random"]
    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    table.add_column("")
    table.add_column("found", justify="right")
    table.add_column("random, trained alike", justify="right")

    def interval(entry: dict[str, Any]) -> str:
        return f"{entry['median']:.4g} [{entry['ci95'][0]:.4g}, {entry['ci95'][1]:.4g}]"

    table.add_row("budget, ms", f"{result['budget_ms']:.4g}", f"{result['budget_ms']:.4g}")
    table.add_row("predicted, ms", f"{result['predicted_ms']:.4g}", f"{rival['predicted_ms']:.4g}")
    table.add_row("measured median [95 %], ms", interval(measured), interval(rival["measured_ms"]))
    table.add_row("test accuracy", f"{result['accuracy']['test']:.4f}", f"{rival['accuracy']:.4f}")
    table.add_row("MACs", f"{result['macs'] / 1e6:.2f} M", "")
    table.add_row("parameters", f"{result['params'] / 1e3:.0f} k", "")
    table.add_row("file size", f"{result['file_bytes'] / 1024:.0f} KiB", "")
    screen.print(table)
    screen.print("")
    screen.print(_sentence(result))
    screen.print(
        f"Model: {folder / 'model.onnx'}   Report: {folder / 'report.html'}   {result['seconds']:.0f} s in all"
    )
    screen.print(f"\nNext: hwnas predict {folder} IMAGE")


def _sentence(result: dict[str, Any]) -> str:
    """What the verdict means, in plain words."""
    binds = (
        "The budget binds: without it, a slower network would have been chosen."
        if result["budget_binds"]
        else "The budget does not bind: even without it, this search would have stayed below it "
        f"({result['unbudgeted_ms']:.4g} ms; the slowest network of the space takes {result['range_ms'][1]:.4g} ms)."
    )
    if result["budget_met"]:
        return f"[green]Budget met[/], measured on {result['device']}. {binds}"
    return (
        "[yellow]The verdict is unstable[/]: the device was too busy for 20 undisturbed rounds in 2 processes. "
        f"{result['measured_ms']['rejected']:.0%} of the rounds were disturbed; close other programs and run "
        f"the command again with --resume. {binds}"
    )
