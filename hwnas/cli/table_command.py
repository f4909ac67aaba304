"""`hwnas table show|validate|diff|import`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from hwnas.asked_paths import check_there
from hwnas.cli import console, options
from hwnas.display import counted, slower

if TYPE_CHECKING:
    from rich.table import Table as Grid

    from hwnas.latency.table import LatencyTable

table = typer.Typer(help="Latency tables: look at one, check it, compare two, import one.", no_args_is_help=True)

_MAKE = "name the folder of a table, as hwnas profile-device makes them"
_PLACE = "Folder of a table, or one that holds a single table below it."
Rows = Annotated[int, typer.Option(min=0, help="Rows to print; 0 is all of them.")]


@table.command("show")
@console.verb
def table_show(
    folder: Annotated[Path | None, typer.Argument(help=_PLACE, show_default="that of --device")] = None,
    device: options.DeviceId = "host",
    runtime: options.Runtime = "",
    precision: options.Precision = "",
    provider: options.Provider = "",
    tables: options.Tables = None,
    space: Annotated[str, typer.Option(help="Only what belongs to a space or instance, say mobile@w0.25-r32.")] = "",
    rows: Rows = 20,
    plot: Annotated[Path | None, typer.Option(help="Draw predicted against measured into this .png or .svg.")] = None,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show a latency table: its heaviest rows, how far it can be trusted, where and when it was measured."""
    if folder is not None:
        check_there(folder, hint=_MAKE)
    from hwnas.latency.find import only_table
    from hwnas.latency.table_files import load_table
    from hwnas.latency.trust import heaviest, instances, trust

    path = _folder_of(device, runtime, precision, provider, tables) if folder is None else only_table(folder)
    found = load_table(path)
    signatures = instances(found, space)
    ordered = heaviest(found, signatures if space else None)
    if plot is not None:
        from hwnas.latency.plot import plot_pairs

        plot_pairs(found, signatures, plot)
    entries = {name: trust(found, name) for name in signatures}
    dates = sorted(row.measured_at for row in found.rows.values())
    facts: dict[str, Any] = {"table": str(path), "device": found.device, "condition": found.condition}
    facts |= {"kind": found.kind, "rows": [asdict(row) for row in ordered], "spaces": entries}
    facts |= {"measured_from": dates[0] if dates else None, "measured_to": dates[-1] if dates else None}
    facts |= {"reference_us": found.reference_us, "provenance": found.provenance, "plot": str(plot) if plot else None}
    if json_:
        console.print_json(facts)
        return
    screen = console.out()
    console.print_facts(_origin(found, facts).items())
    if found.kind == "imported" and not entries:
        screen.print("\nnot validated: rows are summed as they are, and searches leave no margin")
    for name, entry in entries.items():
        screen.print("")
        console.write(screen, f"[bold]{escape(name)}[/] {escape(_trust(entry))}")
        if entry["too_far_off"]:
            _warn(f"searches refuse this table for {name}: {entry['too_far_off']}")
        if entry["loaded"]:
            _warn(f"{name} was mostly measured while other work kept the machine busy")
    shown = facts["rows"][: rows or None]
    lines = [
        (row["key"], f"{row['median_us']:,.1f}", f"{row['p10_us']:,.1f}", f"{row['p90_us']:,.1f}", str(row["runs"]))
        for row in shown
    ]
    screen.print("")
    screen.print(_grid(("op", "µs", "p10", "p90", "rounds"), lines))
    if len(shown) < len(ordered):
        screen.print(f"and {counted(len(ordered) - len(shown), 'lighter one')}; --rows 0 prints them all")
    if plot is not None:
        screen.print(f"\npredicted against measured: {plot}")
    where = options.where(device, runtime, precision, provider)
    screen.print(f"\nNext: hwnas table {'import --help' if found.kind == 'imported' else f'validate{where}'}")


@table.command("validate")
@console.verb
def table_validate(
    device: options.DeviceId = "host",
    space: options.Space = "mobile",
    width: options.OneWidth = 0.25,
    depth: options.OneDepth = 0,
    resolution: options.OneResolution = "32",
    channels: options.Channels = 3,
    classes: options.Classes = 10,
    runtime: options.Runtime = "",
    precision: options.Precision = "",
    provider: options.Provider = "",
    tables: options.Tables = None,
    networks: Annotated[int, typer.Option(min=2, help="Fresh networks to measure.")] = 24,
    update: Annotated[
        bool, typer.Option("--update", help="Keep the result: the margin of searches then follows from it.")
    ] = False,
    seed: options.Seed = 0,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure fresh random networks on the device now, and compare them with what its table predicts."""
    from hwnas.devices.link import condition_of
    from hwnas.latency.calibrate import too_far_off
    from hwnas.latency.find import say_if_here, table_folder
    from hwnas.latency.fresh import keep_fresh, measure_fresh
    from hwnas.latency.missing_rows import table_for

    named = options.OnDevice(device, runtime, precision, space, width, depth, resolution, channels, classes, provider)
    instance, target = named.instance(), named.target()
    found, place = table_for(target, instance, tables)
    path, watch = place or _folder_of(device, runtime, precision, provider, tables), console.progress(quiet=quiet)
    say_if_here(path, tables, watch)
    fresh = measure_fresh(found, instance, target, networks, seed=seed, progress=watch)
    if update:
        adapted = found.kind == "adapted"
        folder = path if adapted else table_folder(condition_of(target), tables)
        keep_fresh(fresh, found, instance, target, folder, progress=watch)
    reason = too_far_off(fresh.validation)
    if json_:
        facts = {"table": str(path), "space": instance.name} | asdict(fresh)
        console.print_json(facts | {"too_far_off": reason or None, "updated": update})
        return
    screen = console.out()
    console.write(screen, f"[bold]{escape(str(path))}[/], {escape(instance.name)}")
    columns = [_numbers(asdict(one)) for one in (fresh.before, fresh.validation)]
    lines = [(name, *(column[name] for column in columns)) for name in columns[0]]
    screen.print(_grid(("", "when it was made", "now"), lines))
    screen.print(f"the reference model runs {slower(fresh.drift)} than when the table was made")
    if fresh.noise.loaded:
        _warn("other work kept the machine busy: these networks may have been measured too slow")
    if reason:
        _warn(f"the table is too far off: {reason}")
    if update:
        screen.print("kept: the margin of searches follows from what was measured now")
    search = f"search{named.where} --budget-ms 50% {named.size}"
    following = f"profile-device{named.where} {named.size} --again" if reason else search
    screen.print(f"\nNext: hwnas {following}")


@table.command("diff")
@console.verb
def table_diff(
    before: Annotated[Path, typer.Argument(help=_PLACE)],
    after: Annotated[Path, typer.Argument(help=_PLACE)],
    rows: Rows = 10,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare two tables row by row: which ops got slower, and by how much rows differ."""
    for folder in (before, after):
        check_there(folder, hint=_MAKE)
    from hwnas.latency.diff import difference
    from hwnas.latency.find import only_table
    from hwnas.latency.table_files import load_table

    paths = [only_table(before), only_table(after)]
    one, other = map(load_table, paths)
    found = difference(one, other)
    if json_:
        changes = [asdict(change) | {"change": change.change} for change in found.changes]
        facts = {"before": str(paths[0]), "after": str(paths[1]), "median": found.median, "largest": found.largest}
        lists = {"only_before": list(found.only_before), "only_after": list(found.only_after)}
        console.print_json(facts | {"changes": changes} | lists)
        return
    screen = console.out()
    sides = (("before", one, paths[0]), ("after", other, paths[1]))
    console.print_facts((label, f"{path}, {counted(len(side.rows), 'row')}") for label, side, path in sides)
    if (one.device, one.condition) != (other.device, other.condition):
        _warn(f"two conditions: {one.device}/{one.condition} and {other.device}/{other.condition}")
    if found.median is not None and found.largest is not None:
        slower = sum(change.change > 0 for change in found.changes)
        screen.print(
            f"{counted(len(found.changes), 'row')} in both, {slower} of them slower: median difference "
            f"{found.median:.1%}, largest {found.largest:.1%}"
        )
        shown = found.changes[: rows or None]
        lines = [
            (
                change.key + ("" if change.same_model else " (written differently since)"),
                f"{change.before_us:,.1f}",
                f"{change.after_us:,.1f}",
                f"{change.change:+.1%}",
            )
            for change in shown
        ]
        screen.print("")
        screen.print(_grid(("op", "before, µs", "after, µs", "slower by"), lines))
        if len(shown) < len(found.changes):
            screen.print(f"and {len(found.changes) - len(shown)} below; --rows 0 prints them all")
    else:
        screen.print("no row is in both")
    for label, keys in (("before", found.only_before), ("after", found.only_after)):
        if keys:
            screen.print(f"{counted(len(keys), 'row')} only {label}, the first is {keys[0]}")
    screen.print("\nNext: hwnas table validate")


@table.command("import")
@console.verb
def table_import(
    file: Annotated[Path, typer.Argument(help="File of latencies that somebody else measured.")],
    form: Annotated[str, typer.Option("--format", help="fbnet, ofa or csv; see docs/tables.md.")],
    device: Annotated[str, typer.Option(help="What the device is to be called.")],
    out: options.Tables = None,
    unit: Annotated[str, typer.Option(help="s, ms or us, where the file's own word for it is not to be taken.")] = "",
    entry: Annotated[str, typer.Option(help="fbnet: device in the file, where it holds several.")] = "",
    width: Annotated[float, typer.Option(help="fbnet: channel multiplier that it was made for.")] = 1.0,
    resolution: Annotated[int, typer.Option(min=0, help="fbnet: input size in pixels; 0 is the file's.")] = 0,
    channels: Annotated[int, typer.Option(min=1, help="fbnet: channels of the input images.")] = 3,
    classes: Annotated[int, typer.Option(min=0, help="fbnet: number of classes; 0 is the file's.")] = 0,
    credit: Annotated[str, typer.Option(help="Who measured it, and where it was published.")] = "",
    licence: Annotated[str, typer.Option(help="Under which licence it was published, such as MIT.")] = "",
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Import latencies that somebody else measured as a table of its own."""
    from hwnas.devices.device import Device
    from hwnas.devices.link import condition_of
    from hwnas.latency.find import writable_root
    from hwnas.latency.imported import import_table, save_imported

    found = import_table(
        file,
        form,
        device,
        unit=unit,
        entry=entry,
        width=width,
        resolution=resolution,
        channels=channels,
        classes=classes,
        credit=credit,
        licence=licence,
    )
    folder = writable_root(out) / condition_of(Device.of_imported_table(device)).folder
    save_imported(found.table, folder)
    spaces = sorted(found.table.calibrations)
    if json_:
        facts = {"table": str(folder), "device": device, "rows": len(found.table.rows), "spaces": spaces}
        console.print_json(facts | {"left_out": dict(found.left_out), "validated": False})
        return
    screen = console.out()
    console.write(screen, f"[bold]{escape(str(folder))}[/], {counted(len(found.table.rows), 'row')}, not validated")
    for name in spaces:
        constant_ms = found.table.calibrations[name].intercept_us / 1e3
        ops = len(found.table.folded[name])
        screen.print(f"{name}: {constant_ms:.4g} ms for what the file does not tell apart ({counted(ops, 'op')})")
    for reason, count in found.left_out.items():
        _warn(f"{counted(count, 'row was', 'rows were')} left out, as hwnas has no op for them: {reason}")
    screen.print(f"\nNext: hwnas table show {folder}")


def _folder_of(device: str, runtime: str, precision: str, provider: str, tables: Path | None) -> Path:
    """Where the table of a device lies.

    Raises:
        TableError: it has none.
    """
    from hwnas.devices.link import condition_of
    from hwnas.errors import TableError
    from hwnas.latency.find import any_adapted, device_or_imported, find_folder

    condition = condition_of(device_or_imported(device, tables).with_runtime(runtime, precision, provider))
    folder = find_folder(condition, tables) or next(iter(any_adapted(condition, tables)), None)
    if folder is None:
        where = options.where(device, runtime, precision, provider)
        raise TableError(
            f"there is no latency table of {condition.folder}{f' in {tables}' if tables else ''}",
            hint=f"make one with hwnas profile-device{where}",
        )
    return folder


def _origin(found: LatencyTable, facts: dict[str, Any]) -> dict[str, str]:
    """Where the rows come from, in lines of text."""
    lines = {"table": f"{facts['table']}, {found.kind}, {counted(len(found.rows), 'row')}"}
    first, last = facts["measured_from"], facts["measured_to"]
    if last is not None:
        verb = "measured" if found.kind == "measured" else found.kind
        lines["age"] = f"{verb} {_age(last)}" + (f", the oldest row {_age(first)}" if first != last else "")
    simple = {name: value for name, value in found.provenance.items() if not isinstance(value, dict | list)}
    if simple:
        lines["from"] = ", ".join(f"{name} {value}" for name, value in simple.items())
    sources = found.provenance.get("sources")
    if found.kind == "adapted" and isinstance(sources, list):
        lines["sources"] = ", ".join(map(str, sources))
    packages = found.provenance.get("packages")
    if isinstance(packages, dict):
        lines["packages"] = ", ".join(f"{name} {version}" for name, version in packages.items())
    return lines


def _age(date: str) -> str:
    """How long ago an ISO 8601 date was, for people."""
    try:
        then = datetime.fromisoformat(date)
        hours = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds() / 3600
    except (ValueError, OverflowError):
        return date
    return f"{counted(f'{hours:.0f}', 'hour') if hours < 48 else counted(f'{hours / 24:.0f}', 'day')} ago"


def _trust(entry: dict[str, Any]) -> str:
    """How far a table can be trusted for one space instance, in a sentence."""
    if entry["validation"] is None:
        return "not validated: rows are summed as they are, and searches leave no margin"
    numbers, noise = _numbers(entry["validation"]), entry["noise"]
    shares = f"{numbers['within ±5 %']} within ±5 %, {numbers['within ±10 %']} within ±10 %"
    disturbed = "" if noise is None else f"{noise['rejected']:.0%} of the rounds were disturbed; "
    error = f"error {numbers['error']} on {numbers['networks']} networks, {shares}, Spearman {numbers['Spearman']}"
    twice = f"measured twice they differ by {numbers['measured twice']}"
    found, cold = entry.get("cold"), ""
    if found is not None:
        cold = (
            f"; cold calls take {found['slope']:.2f} times as long as warm ones and {found['intercept_us']:,.1f} µs, "
            f"with an error of {found['mape']:.1%}"
        )
    return f"{error}; {twice}; {disturbed}searches leave {entry['margin']:.1%} of a budget{cold}"


def _numbers(validation: dict[str, Any]) -> dict[str, str]:
    """A validation as text by label."""
    return {
        "networks": f"{validation['n']:.0f}",
        "error": f"{validation['mape']:.1%}",
        "within ±5 %": f"{validation['within_5']:.0%}",
        "within ±10 %": f"{validation['within_10']:.0%}",
        "Spearman": f"{validation['spearman']:.3f}",
        "Kendall": f"{validation['kendall']:.3f}",
        "measured twice": f"{validation['repeatability']:.1%}",
    }


def _grid(columns: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> Grid:
    from rich.table import Table as Screen

    grid = Screen(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        grid.add_column(column, justify="right" if index else "left", no_wrap=not index)
    for line in lines:
        grid.add_row(*line)
    return grid


def _warn(text: str) -> None:
    console.write(console.err(), f"[yellow]warning:[/] {escape(text)}")
