"""Whether a change of the code leaves results alone: tiny searches on frozen tables, told apart by checksums.

    python tools/check_same_results.py --out before.json
    python tools/check_same_results.py --against before.json

Run at a commit before the change and at one after it. The device of every search is known by an imported table alone,
whose rows this script makes up from the work of each op, so nothing is measured and nothing depends on the machine's
mood: data, table and seed are fixed. A row is the same only if `architecture.json`, `weights.safetensors` and
`model.onnx` are, byte for byte. Takes about ten minutes on one thread. With two values of PYTHONHASHSEED
in place of two commits it tells whether results depend on the order of sets.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hwnas.arch.costs import macs
from hwnas.arch.spaces import parse_constants, space_instance
from hwnas.files import sha256

DEVICE = "frozen"
SEARCHES = {
    "gumbel on mobile": "--space mobile --strategy gumbel --budget-ms 40%",
    "gumbel, file of 60 KiB": "--space mobile --strategy gumbel --budget-ms 60% --max-size-kb 60",
    "darts on darts": "--space darts --strategy darts --depth 3 --budget-ms 50%",
    "enas on macro": "--space macro --strategy enas --budget-ms 50%",
    "metaqnn on chain": "--space chain --strategy metaqnn --budget-ms 50% --score-epochs 1",
    "gaussian on mobile": "--space mobile --strategy gaussian --budget-ms 50%",
    "front of two budgets": "--space mobile --strategy gumbel --budgets-ms 30%,60%",
}
COMMON = "--data digits --width 0.125 --resolution 16 --epochs 1 --no-baseline --threads 1 --seed 3 --quiet"
FILES = ("architecture.json", "weights.safetensors", "model.onnx")
INSTANCES = ("mobile@w0.125-r16", "darts@w0.125-d3-r16", "macro@w0.125-r16", "chain@w0.125-r16")


def main(
    against: Annotated[Path | None, typer.Option(help="Checksums of an earlier run, to compare with.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the checksums, as JSON.")] = None,
    only: Annotated[str, typer.Option(help="Part of the names of the searches to run.")] = "",
) -> None:
    """Run the searches and print a table; exit code 1 where one differs."""
    before = json.loads(against.read_text()) if against else {}
    found: dict[str, str] = {}
    same = True
    print(f"{'search':<24} {'file':<32} sha256")
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder) / "tables"
        _import_table(Path(folder), tables)
        for index, (name, options) in enumerate(SEARCHES.items()):
            if only not in name:
                continue
            run = Path(folder) / f"run{index}"
            _hwnas(
                "search",
                *options.split(),
                *COMMON.split(),
                "--device",
                DEVICE,
                "--tables",
                str(tables),
                "--out",
                str(run),
            )
            for path in sorted(path for file in FILES for path in run.rglob(file)):
                key = f"{name}: {path.relative_to(run).as_posix()}"
                found[key] = sha256(path.read_bytes())
                verdict = "" if against is None else "  same" if before.get(key) == found[key] else "  DIFFERENT"
                same &= verdict != "  DIFFERENT"
                print(f"{name:<24} {key.removeprefix(f'{name}: '):<32} {found[key][:16]}{verdict}", flush=True)
    if out is not None:
        out.write_text(json.dumps(found, indent=2) + "\n")
    if not same:
        raise SystemExit(1)


def _import_table(folder: Path, tables: Path) -> None:
    """A table that holds every op of every space: 1 µs, and 1 µs for each 2,000 multiply-adds."""
    rows: dict[str, float] = {}
    for instance in INSTANCES:
        name, width, depth, resolution = parse_constants(instance)
        space = space_instance(name, width=width, depth=depth, resolution=resolution, channels=1, classes=10)
        rows |= {spec.key: 1 + macs(spec.graph) / 2000 for spec in space.ops if spec.graph.nodes}
    file = folder / "rows.csv"
    file.write_text("key,latency_us\n" + "".join(f'"{key}",{us:.3f}\n' for key, us in rows.items()))
    _hwnas("table", "import", str(file), "--format", "csv", "--device", DEVICE, "--unit", "us", "--out", str(tables))


def _hwnas(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "hwnas", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"hwnas {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")


if __name__ == "__main__":
    typer.run(main)
