"""`hwnas search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwnas.cli import console, options


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
            help="`digits`, `mnist`, `cifar10`, `omniglot`, a folder with one sub-folder of images a class, or an .npz."
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
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="Train with convolutions in bfloat16: for GPUs, slower on CPUs.")
    ] = False,
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
        mixed_precision=mixed_precision,
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
        from hwnas.cli.plan_view import print_plan
        from hwnas.run.plan import make_plan

        plan = make_plan(config, tables, any_table=any_table, progress=console.progress(quiet=quiet))
        print_plan(plan, as_json=json_)
        return

    from hwnas.cli.result_view import print_result, result_table
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
            console.out().print(result_table(read_json(folder / "result.json")), "")
        raise
    if json_:
        console.print_json(result)
    else:
        print_result(result, folder)


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
