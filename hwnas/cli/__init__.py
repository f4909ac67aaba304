"""The command line: one function per verb. Heavy imports wait until a command needs them."""

from __future__ import annotations

from typing import Annotated

import typer

from hwnas import __version__
from hwnas.cli import console
from hwnas.cli.adapt_command import adapt_device
from hwnas.cli.configured import ConfiguredCommand
from hwnas.cli.doctor import doctor
from hwnas.cli.export_command import export
from hwnas.cli.init_command import init
from hwnas.cli.list_commands import devices, spaces, strategies
from hwnas.cli.meta_command import meta_train
from hwnas.cli.parents_commands import parents
from hwnas.cli.profile_command import profile_device
from hwnas.cli.program import Program
from hwnas.cli.run_commands import predict, report, where
from hwnas.cli.runs_command import runs
from hwnas.cli.search_command import search
from hwnas.cli.specialise_command import specialise
from hwnas.cli.table_command import table
from hwnas.cli.train_command import train
from hwnas.cli.verify_command import verify
from hwnas.torchrun import launch

app = typer.Typer(
    name="hwnas",
    cls=Program,
    help="Hardware-aware neural architecture search: from images, a device and a budget in milliseconds to a model "
    "file that was measured on that device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


app.command("search", cls=ConfiguredCommand)(search)
app.command("specialise")(specialise)
app.command("profile-device")(profile_device)
app.command("adapt-device")(adapt_device)
app.command("meta-train")(meta_train)
app.command("verify")(verify)
app.command("predict")(predict)
app.command("export")(export)
app.command("train")(train)
app.command("report")(report)
app.command("where")(where)
app.command("init")(init)
app.command("doctor")(doctor)
app.add_typer(runs, name="runs")
app.add_typer(devices, name="devices")
app.add_typer(spaces, name="spaces")
app.add_typer(parents, name="parents")
app.add_typer(strategies, name="strategies")
app.add_typer(table, name="table")


def main() -> None:
    """Entry point of the console script."""
    console.keep_stdout_for_results()
    if launch().rank:
        console.silence()
    console.run(app)
