"""`hwnas devices|spaces|strategies list|show`: what there is to choose from; `hwnas devices check`: is it in reach."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hwnas.cli import console, options

devices = typer.Typer(help="Devices to measure on.", no_args_is_help=True)
spaces = typer.Typer(help="Search spaces.", no_args_is_help=True)
strategies = typer.Typer(help="Search strategies.", no_args_is_help=True)


def print_rows(rows: list[dict[str, str]], *, wide: bool = False) -> None:
    """Rows with equal keys as a table on stdout.

    Args:
        wide: no cell is wrapped, so that commands and addresses can be copied.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*row.values())
    console.out(wide=wide).print(table)


@devices.command("list")
@console.verb
def devices_list(json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """List the devices that hwnas knows, and the templates for others."""
    from hwnas.devices.device import Device, list_devices
    from hwnas.devices.device_templates import templates
    from hwnas.latency.find import devices_of_imported_tables

    found, known = list_devices(), [{"template": one.name, "for": one.description} for one in templates().values()]
    imported = devices_of_imported_tables()
    if json_:
        facts = {"devices": [asdict(device) for device in found], "imported": imported, "templates": known}
        console.print_json(facts)
        return
    rows = [{"id": device.id, "runtime": device.runtime, "description": device.description} for device in found]
    others = map(Device.of_imported_table, imported)
    print_rows(rows + [{"id": one.id, "runtime": "", "description": one.description} for one in others])
    console.out().print("\nFor other devices: hwnas devices new NAME --like TEMPLATE\n")
    print_rows(known)


@devices.command("new")
@console.verb
def devices_new(
    name: Annotated[str, typer.Argument(help="What the device is to be called; NAME.toml is written.")],
    like: Annotated[str, typer.Option("--like", help="A template, as hwnas devices list shows them.")],
    host: Annotated[str, typer.Option("--host", help="Of a board: its name, its address, or its alias.")] = "",
    serial: Annotated[str, typer.Option("--serial", help="Of a phone, as adb devices lists it.")] = "",
    out: Annotated[Path, typer.Option("--out", help="The folder to write to.")] = Path(),
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Describe a device of your own: write its TOML file, and ask the device what it is."""
    from rich.markup import escape

    from hwnas.devices.device_templates import new_device

    values = {key: value for key, value in (("host", host), ("serial", serial)) if value}
    made = new_device(name, like, values, out)
    if json_:
        console.print_json(asdict(made) | {"path": str(made.path)})
        return
    console.out().print(f"wrote {escape(str(made.path))}")
    for number, key, meaning in made.lacking:
        console.out().print(f"{key} is not set: edit line {number}, {escape(meaning)}")
    if made.trouble:
        console.write(console.err(), f"[yellow]warning:[/] {escape(made.trouble)}")
    if made.condition:
        console.out().print(f"it was reached: {escape(made.condition)}")
    console.out().print(f"\nNext: hwnas devices check {escape(str(made.path))}")


@devices.command("show")
@console.verb
def devices_show(
    device: Annotated[str, typer.Argument(help="Id of a device, or the path of its TOML file.")],
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show one device, and its condition here: what latencies hold under, which is where its tables are kept."""
    from hwnas.devices.link import condition_of
    from hwnas.latency.find import device_to_measure

    found = device_to_measure(device)
    facts = asdict(found) | {"condition": str(condition_of(found).folder)}
    if json_:
        console.print_json(facts)
    else:
        print_rows([{"": name, "value": str(value)} for name, value in facts.items() if value is not None])
        console.out().print(f"\nNext: hwnas devices check {device}")


@devices.command("check")
@console.verb
def devices_check(
    device: Annotated[str, typer.Argument(help="Id of a device, or the path of its TOML file.")],
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Reach a device, ask it what it is and what its runtime offers, and see how steadily the reference model runs."""
    import tempfile

    from rich.markup import escape

    from hwnas.devices.device_check import facts_of, remarks, run_reference_model
    from hwnas.devices.offered_providers import offered_providers
    from hwnas.latency.find import device_to_measure
    from hwnas.latency.measured_models import write_reference_model

    found = device_to_measure(device)
    facts = facts_of(found)
    with tempfile.TemporaryDirectory() as folder:
        model = write_reference_model(Path(folder), found)
        watch = console.progress(quiet=quiet)
        reference = run_reference_model(found, model, progress=watch)
        providers = offered_providers(found, model, progress=watch)
    facts["providers"] = [asdict(one) for one in providers]
    facts["reference"] = asdict(reference)
    facts["remarks"] = remarks(found, facts["governor"], reference)
    if json_:
        console.print_json(facts)
        return
    packages = " ".join(f"{name} {version}" for name, version in facts["packages"].items())
    pin = "any CPU" if facts["pin"] is None else f"CPU {facts['pin']}"
    free = f"{(facts['free_bytes'] or 0) / 2**30:.1f} GiB"
    shown = facts | {"packages": packages, "free_bytes": free, "pin": pin}
    shown["providers"] = "\n".join(map(str, providers)) or "none to choose from"
    shown["reference"] = (
        f"{reference.floor_us / 1e3:.3g} ms, noise {reference.noise:.1%}, {reference.rejected:.0%} disturbed"
    )
    names = {"free_bytes": "free disk", "clock_ns": "clock step, ns", "temperature_c": "temperature, °C"}
    print_rows(
        [
            {"": names.get(name, name).replace("_", " "), "value": "unknown" if value is None else str(value)}
            for name, value in shown.items()
            if name != "remarks"
        ]
    )
    for remark in facts["remarks"]:
        console.write(console.err(), f"[yellow]warning:[/] {escape(remark)}")
    console.out().print(f"\nNext: hwnas profile-device --device {device}")


@spaces.command("list")
@console.verb
def spaces_list(json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """List the search spaces."""
    from hwnas.arch.spaces import space_names, space_summary

    summaries = {name: space_summary(name) for name in space_names()}
    if json_:
        console.print_json({"spaces": summaries})
    else:
        print_rows([{"space": name, "summary": summary} for name, summary in summaries.items()])
        console.out().print("\nNext: hwnas spaces show mobile")


@spaces.command("show")
@console.verb
def spaces_show(
    space: Annotated[str, typer.Argument(help="Name of a space.")],
    width: Annotated[
        float | None, typer.Option(help="Channel multiplier.", show_default="0.25; of elastic spaces 1")
    ] = None,
    depth: options.OneDepth = 0,
    resolution: Annotated[
        str,
        typer.Option(
            help="Input size in pixels: one number for squares, or height x width such as 96x160.",
            show_default="32; of elastic spaces that of the pre-trained network",
        ),
    ] = "",
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a space leaves to choose, at one width, depth and input size: each decision with its options.

    In names of options k is the kernel and e the expansion, so k3e6 is a block with kernel 3 and expansion 6; se is
    squeeze-excite, and skip leaves the block out. In `chain` what a layer may be depends on the layers before it.
    """
    from hwnas.arch import space_instance
    from hwnas.arch.spaces import space_summary, usual_constants

    usual_width, usual_size = usual_constants(space)
    instance = space_instance(
        space,
        width=usual_width if width is None else width,
        depth=depth,
        resolution=resolution or usual_size,
        channels=3,
        classes=10,
    )
    mixed = instance.mixed_warmup
    if json_:
        decisions = {decision.name: list(decision.options) for decision in instance.decisions}
        facts = {"space": instance.name, "size": instance.size, "rows": len(instance.ops), "decisions": decisions}
        names = list(decisions)
        groups = [{"keep": one.keep, "of": [names[decision] for decision in one.decisions]} for one in instance.groups]
        facts |= {"mixed_warmup": mixed}
        console.print_json(facts | ({"groups": groups} if groups else {}))
        return
    console.out().print(f"{instance.name}: {space_summary(space)}")
    console.out().print(
        f"{instance.size:,} networks, of {len(instance.ops)} different ops, the rows of a latency table\n"
    )
    print_rows([{"decision": decision.name, "options": " ".join(decision.options)} for decision in instance.decisions])
    for group in instance.groups:
        members = " ".join(instance.decisions[decision].name for decision in group.decisions)
        console.out().print(f"exactly {group.keep} of: {members}")
    if mixed:
        console.out().print("\nShared weights warm up on mixtures of all options, whatever the strategy.")
    console.out().print(f"\nNext: hwnas search --data FOLDER --budget-ms 50% --space {space}")


@strategies.command("list")
@console.verb
def strategies_list(json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """List the search strategies."""
    from hwnas.nas.strategies import strategies as known

    if json_:
        console.print_json({"strategies": {entry.name: entry.summary for entry in known()}})
    else:
        print_rows([{"strategy": entry.name, "summary": entry.summary, "cost": entry.cost} for entry in known()])
        console.out().print(
            "\nSome spaces warm up on mixtures of all options, whatever the strategy: hwnas spaces show says so."
        )


@strategies.command("show")
@console.verb
def strategies_show(
    strategy: Annotated[str, typer.Argument(help="Name of a strategy.")],
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a strategy is, what it costs, which guards it takes, and what its paper does otherwise.

    Of each preset of the strategy there are the paper's values with their sources, the defaults beside them, and why
    these differ.
    """
    from rich.markup import escape

    from hwnas.config.default_profile import preset_facts
    from hwnas.config.presets import presets_of
    from hwnas.nas.strategies import strategy as find

    entry = find(strategy)
    kind = "relaxation" if entry.relaxation is not None else "sampler"
    facts = {"strategy": entry.name, "kind": kind, "guides": entry.guides, "summary": entry.summary, "cost": entry.cost}
    presets = [preset_facts(one) for one in presets_of(entry.name)]
    if json_:
        console.print_json(facts | {"guards": list(entry.guards), "presets": presets})
        return
    shown = facts | {"guards": ", ".join(entry.guards)}
    print_rows([{"": name, "value": str(value)} for name, value in shown.items() if value is not False])
    for one in presets:
        code = f", {one['code']}" * bool(one["code"])
        console.out().print(f"\n--preset {one['preset']}: {one['paper']}{code}", markup=False, soft_wrap=True)
        columns = ("option", "value", "default", "source")
        print_rows([{name: escape(str(row[name])) for name in columns} for row in one["values"]], wide=True)
        console.out().print("\nWhy the default is another one:")
        for reason in dict.fromkeys(row["why"] for row in one["values"] if row["why"]):
            about = ", ".join(row["option"].partition(".")[2] for row in one["values"] if row["why"] == reason)
            console.out().print(f"- {about}: {reason}", markup=False)
        console.out().print("\nNot as in the paper:")
        for sentence in one["differs"]:
            console.out().print(f"- {sentence}", markup=False)
