"""Do every fault of the list to the real command, and tell what it said, its exit code, and whether its promises held.

    python tools/check_faults.py --out docs/faults.md

Every fault gets a folder and a table folder of its own. The promises: the exit code, one message and no traceback,
files that were there are untouched, no half-written file is left, and --resume ends with the architecture and the
weights, byte for byte, of a run that nothing disturbed. Exit code 1 if one did not hold.

What the tests prove and this does not repeat: a run cut off after every single file that it writes
(`tests/run/test_run_resume.py`), damaged checkpoints (`tests/train/test_checkpoint.py`) and journals
(`tests/latency/test_latency_build.py`), and every other malformed table (`tests/latency/test_latency_table.py`).
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import fault_cases
import fault_crashes
import typer
from fault_lab import CASES, Lab, Record
from rich.console import Console
from rich.table import Table

from hwnas.devices.host import cpu_model
from hwnas.devices.runner import package_version
from hwnas.files import write_json, write_text
from hwnas.schema import read_json

FAULTS = (fault_cases, fault_crashes)  # importing them registers what they know


def attempt(name: str, root: Path, seed: int) -> Record:
    """One fault; what goes wrong in bringing it about is a problem too."""
    done, case = CASES[name]
    record = Record(name, done)
    started = time.monotonic()
    try:
        case(Lab(root, name.replace(" ", "-"), seed), record)
    except Exception as error:
        record.problems.append(f"{type(error).__name__}: {error}")
    record.seconds = round(time.monotonic() - started, 1)
    return record


def markdown(records: list[Record]) -> str:
    """The table as a page."""
    lines = [
        "# Faults",
        "",
        "What `tools/check_faults.py` did to the real command, what it said, and its exit code. Where `--resume` is",
        "named, the run then ended with the architecture and the weights, byte for byte, of a run that nothing",
        f"disturbed. This page is written by that script; the machine had {os.cpu_count()} cores ({cpu_model()}, ONNX",
        f"Runtime {package_version('onnxruntime')}).",
        "",
        "| Fault | What was done | What it said | Exit code | Promises held |",
        "|---|---|---|---|---|",
    ]
    for one in records:
        held = f"skipped: {one.skipped}" if one.skipped else "; ".join(one.problems) or "yes"
        code = "killed" if one.code == -9 else "" if one.code is None else str(one.code)
        cells = (one.name, one.done, one.said, code, held)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main(
    only: Annotated[list[str] | None, typer.Option(help="Names of faults, or their beginnings. [default: all]")] = None,
    runs: Annotated[Path | None, typer.Option(help="Keep the folders of the faults here.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Markdown file; JSON lies beside it, and keeps what is not done now.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the points at which processes are killed.")] = 0,
) -> None:
    """Bring about every fault, one after the other."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would hand on that it ignores it
    names = [name for name in CASES if not only or any(name.startswith(start) for start in only)]
    if not names:
        raise typer.BadParameter(f"the faults are {', '.join(CASES)}")
    console = Console(stderr=True)
    records = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        if runs is not None:
            runs.mkdir(parents=True, exist_ok=True)
            root = Path(tempfile.mkdtemp(dir=runs))
        for name in names:
            records.append(attempt(name, root.resolve(), seed))
            one = records[-1]
            console.print(f"{name}: {one.skipped or one.problems or 'held'} ({one.seconds:.0f} s)", markup=False)
    screen = Table("fault", "what it said", "exit code", "held")
    for one in records:
        screen.add_row(one.name, one.said, str(one.code), one.skipped or "; ".join(one.problems) or "yes")
    Console(width=160).print(screen)
    if out is not None:
        listed = out.with_suffix(".json")
        known = {one["name"]: one for one in read_json(listed)} if listed.exists() else {}
        known |= {one.name: asdict(one) for one in records}
        write_json(listed, [known[name] for name in CASES if name in known])
        write_text(out.with_suffix(".md"), markdown([Record(**known[name]) for name in CASES if name in known]))
    raise typer.Exit(any(one.problems for one in records))


if __name__ == "__main__":
    typer.run(main)
