"""Run thousands of commands on damaged files and odd names, and tell which ended as no command may.

    python tools/fuzz_commands.py --runs 2200 --work fuzz --out fuzz.json

None may end with a traceback, by a signal, without a message, or with an exit code that is not documented; none may run
longer than 60 s or take more than 2 GB; `--json` prints JSON. Exit code 1 if one did. The same seed gives the same
commands; each runs in a fork of one process that has imported everything, `--real` of them in fresh interpreters. With
the same `--out` it goes on where it was stopped. `--only 17` repeats one command, and leaves its folder in `--work`.
"""

from __future__ import annotations

import os
import random
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import fuzz_damage
import typer
from fuzz_cases import GROUPS
from fuzz_lab import Base, Ended, forked, fresh, warm, wrong
from rich.console import Console
from rich.table import Table

from hwnas.files import write_json
from hwnas.schema import read_json

SORTS = ("traceback", "signal", "hang", "memory", "exit code", "no message", "json")
_KEEP_EVERY = 20


def plan(runs: int, seed: int) -> list[str]:
    """The group of each command, in an order that mixes them."""
    total = sum(share for share, _ in GROUPS.values())
    names = [name for name, (share, _) in GROUPS.items() for _ in range(max(1, round(runs * share / total)))]
    random.Random(seed).shuffle(names)
    return names


def attempt(index: int, name: str, seed: int, base: Base, *, real: bool, keep: bool = False) -> tuple[list[str], Ended]:
    """Make one case, and run its command; its folder is removed unless `keep`."""
    rng = random.Random(f"{seed} {index} {name}")
    folder = base.root / "cases" / str(index)
    fuzz_damage.remove(folder)
    folder.mkdir()
    try:
        words = GROUPS[name][1](rng, folder, base)
        return words, (fresh if real else forked)(words, folder, base.root)
    finally:
        if not keep:
            fuzz_damage.remove(folder)


def fuzz(runs: int, seed: int, base: Base, *, real: int, known: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The result after every command: counts by group, and the findings."""
    names = plan(runs, seed)
    fresh_ones = set(random.Random(seed + 1).sample(range(len(names)), min(real, len(names))))
    result: dict[str, Any] = {"seed": seed, "planned": len(names), "done": 0, "groups": {}, "findings": []}
    result |= known
    for index, name in enumerate(names):
        if index < result["done"]:
            continue
        words, ended = attempt(index, name, seed, base, real=index in fresh_ones)
        sort = wrong(words, ended)
        counts = result["groups"].setdefault(name, {"commands": 0, "refused": 0, "seconds": 0.0, "peak_mb": 0})
        counts["commands"] += 1
        counts["refused"] += ended.code > 0
        counts["seconds"] = round(counts["seconds"] + ended.seconds, 2)
        counts["peak_mb"] = max(counts["peak_mb"], ended.peak_bytes >> 20)
        if sort:
            counts[sort] = counts.get(sort, 0) + 1
            said = {"command": shlex.join(os.fsencode(word).decode("utf-8", "backslashreplace") for word in words)}
            facts = {
                "index": index,
                "group": name,
                "sort": sort,
                "code": ended.code,
                "seconds": round(ended.seconds, 2),
            }
            result["findings"].append(facts | said | {"said": ended.err[-3000:]})
        result["done"] = index + 1
        yield result


def table(result: dict[str, Any]) -> Table:
    """Counts by group."""
    grid = Table("group", "commands", "refused", "mean s", "peak MB", *SORTS, "found")
    for name, counts in result["groups"].items():
        found = [counts.get(sort, 0) for sort in SORTS]
        mean_s = counts["seconds"] / counts["commands"]
        cells = (counts["commands"], counts["refused"], f"{mean_s:.2f}", counts["peak_mb"], *found, sum(found))
        grid.add_row(name, *map(str, cells))
    totals = [
        sum(counts.get(sort, 0) for counts in result["groups"].values()) for sort in ("commands", "refused", *SORTS)
    ]
    grid.add_row("all", *map(str, totals[:2]), "", "", *map(str, totals[2:]), str(sum(totals[2:])))
    return grid


def main(
    runs: Annotated[int, typer.Option(help="Commands, about.")] = 2200,
    real: Annotated[int, typer.Option(help="How many of them run in fresh interpreters.")] = 20,
    seed: Annotated[int, typer.Option(help="Of commands and damage.")] = 0,
    work: Annotated[
        Path | None, typer.Option(help="Folder for what the cases share. [default: a temporary one]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file of the counts and findings.")] = None,
    only: Annotated[list[int] | None, typer.Option(help="Numbers of findings, to repeat them.")] = None,
) -> None:
    """Run the commands, one after the other."""
    screen = Console(width=180)
    known: dict[str, Any] = read_json(out) if out is not None and out.exists() and not only else {}
    if known and (known["seed"], known["planned"]) != (seed, len(plan(runs, seed))):
        raise typer.BadParameter(f"{out} is of other --runs or another --seed")
    with tempfile.TemporaryDirectory() as temporary:
        warm()
        base = Base((work or Path(temporary)).resolve())
        if only:
            raise typer.Exit(repeat(only, plan(runs, seed), seed, base, screen))
        result = known
        for result in fuzz(runs, seed, base, real=real, known=known):
            if out is not None and (result["done"] % _KEEP_EVERY == 0 or result["done"] == result["planned"]):
                write_json(out, result)
    for one in result["findings"]:
        last = (one["said"].strip().splitlines() or [""])[-1]
        screen.print(f"{one['index']} {one['group']}: {one['sort']}: {one['command'][:300]}\n    {last}", markup=False)
    screen.print(table(result))
    raise typer.Exit(bool(result["findings"]))


def repeat(only: Sequence[int], names: Sequence[str], seed: int, base: Base, screen: Console) -> bool:
    """Run some commands again and show what they said; whether one ended as none may."""
    found = False
    for index in only:
        words, ended = attempt(index, names[index], seed, base, real=False, keep=True)
        sort = wrong(words, ended)
        found |= bool(sort)
        shown = shlex.join(os.fsencode(word).decode("utf-8", "backslashreplace") for word in words)
        screen.print(f"{index} {names[index]}: {sort or 'as it should be'}: hwnas {shown[:2000]}", markup=False)
        screen.print(f"{ended.out[-1500:]}{ended.err[-6000:]}exit code {ended.code}", markup=False)
    return found


if __name__ == "__main__":
    typer.run(main)
