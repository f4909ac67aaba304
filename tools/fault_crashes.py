"""Faults of `check_faults.py` that come from outside: interruptions, kills, and others on the same machine."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fault_lab import PROFILE, SEARCH, Lab, Record, busy_core, fault, goes_on_measuring

KILLS_WHILE_PROFILING, KILLS = 5, 20
_STAGES = {"check": 2.0, "train baseline": 3.0, "train": 3.0, "export and verify": 2.0}


@fault("Ctrl-C while measuring", "Ctrl-C in profile-device after 100 rounds; the same command again")
def interrupt_measuring(lab: Lab, record: Record) -> None:
    command = lab.hwnas(PROFILE)
    command.until(lambda: lab.journal_lines() >= 100)
    command.send(signal.SIGINT, group=True)
    record.met(command, 130, "interrupted")
    goes_on_measuring(lab, record)


@fault("Ctrl-C in a run", "Ctrl-C in the search, --resume, Ctrl-C in the training, --resume")
def interrupt_run(lab: Lab, record: Record) -> None:
    _ = lab.finished
    for options, condition in (
        ((), at_least(lab.epochs, 5)),
        (("--resume",), at_least(partial(lab.stage, "train baseline"), 1)),
    ):
        command = lab.hwnas(SEARCH, *options)
        command.until(condition)
        command.send(signal.SIGINT, group=True)
        record.met(command, 130, "interrupted")
    record.goes_on(lab.hwnas(SEARCH, "--resume"))
    lab.same_as_finished(record)


@fault("kill -9 while profiling", f"SIGKILL at {KILLS_WHILE_PROFILING} random points of one profile-device")
def kill_profiling(lab: Lab, record: Record) -> None:
    rng = random.Random(lab.seed)
    for lines in sorted(rng.sample(range(5, 520), KILLS_WHILE_PROFILING)):
        command = lab.hwnas(PROFILE)
        record.check(command.until(at_least(lab.journal_lines, lines)), f"killed at round {lines}")
        command.send(signal.SIGKILL)
        command.wait()
        record.code, record.said = command.code, "nothing: it was killed"
        record.check(not list(lab.here.rglob("table.csv")), "there is no part of a table")
    goes_on_measuring(lab, record)
    record.check(not list(lab.here.rglob(".*.hwnas-*")), "no half-written file is left")


@fault("kill -9 in runs", f"SIGKILL at {KILLS - KILLS_WHILE_PROFILING} random points of runs, with --resume after each")
def kill_runs(lab: Lab, record: Record) -> None:
    _ = lab.finished
    rng = random.Random(lab.seed)
    left, chains = KILLS - KILLS_WHILE_PROFILING, 0
    while left and chains < 8:
        chains += 1
        shutil.rmtree(lab.here / "run", ignore_errors=True)
        for moment in moments(lab, rng):
            command = lab.hwnas(SEARCH, *(["--resume"] if lab.begun else []))
            if left and command.until(moment):
                command.send(signal.SIGKILL)
                command.wait()
                left -= command.code == -signal.SIGKILL
                record.code, record.said = -signal.SIGKILL, "nothing: it was killed"
                continue
            command.wait()
            break
        record.goes_on(lab.hwnas(SEARCH, "--resume"))
        lab.same_as_finished(record)
    record.check(not left, f"all kills took place, {left} did not")
    record.done += f" ({chains} runs)"


def moments(lab: Lab, rng: random.Random) -> Iterator[Callable[[], bool]]:
    """Random points of one run, in order: two epochs of the search, then three later stages some time into them."""
    for epoch in sorted(rng.sample(range(1, 16), 2)):
        yield at_least(lab.epochs, epoch)
    for stage in sorted(rng.sample(list(_STAGES), 3), key=list(_STAGES).index):
        yield Delayed(partial(lab.stage, stage), rng.uniform(0, _STAGES[stage]))


def at_least(count: Callable[[], int], least: int) -> Callable[[], bool]:
    return lambda: count() >= least


class Delayed:
    """True some seconds after a count has grown."""

    def __init__(self, count: Callable[[], int], delay_s: float) -> None:
        self._count, self._delay_s, self._before, self._begun_s = count, delay_s, count(), 0.0

    def __call__(self) -> bool:
        if not self._begun_s and self._count() > self._before:
            self._begun_s = time.monotonic()
        return bool(self._begun_s) and time.monotonic() >= self._begun_s + self._delay_s


# Others on the same machine.


@fault("two processes, one run", "the same search twice at once, the second with --resume, then with --force")
def two_runs(lab: Lab, record: Record) -> None:
    _ = lab.table
    first = lab.hwnas(SEARCH, "--no-train")
    first.until(lambda: lab.epochs() >= 1)
    for option in ("--resume", "--force"):
        record.met(lab.hwnas(SEARCH, "--no-train", option), 2, "another process is working in run")
    record.goes_on(first)
    record.check((lab.here / "run" / "model.onnx").exists(), "the first one ends with a model")


@fault("two processes, one table", "profile-device for two spaces at once, into one table")
def two_tables(lab: Lab, record: Record) -> None:
    first = lab.hwnas(PROFILE)
    first.until(lambda: lab.journal_lines() >= 20)
    other = ["32" if word == "8" else word for word in PROFILE]
    second = lab.hwnas(other)
    record.met(second, 0, "another process is measuring into")
    record.goes_on(first)
    (meta,) = lab.here.rglob("meta.toml")
    spaces = tomllib.loads(meta.read_text())["calibration"]
    record.check(len(spaces) == 2, f"the table serves both spaces, it serves {list(spaces)}")
    record.met(lab.hwnas(PROFILE), 0, "")


@fault("loaded while profiling", "profile-device beside a busy loop on the second core")
def loaded_profile(lab: Lab, record: Record) -> None:
    if (os.cpu_count() or 1) < 2 or not Path("/proc/stat").exists():
        record.skipped = "needs two CPUs, and Linux to count what they do"
        return
    with busy_core():
        record.met(lab.hwnas(PROFILE), 0, "warning: other work took" if os.cpu_count() == 2 else "")
    (meta,) = lab.here.rglob("meta.toml")
    (noise,) = tomllib.loads(meta.read_text())["noise"].values()
    record.check(noise["load"] > 0.5 / max(1, (os.cpu_count() or 2) - 1), f"the table says so: {noise}")
    record.done += f" (the table says: load {noise['load']:.2f}, {noise['rejected']:.0%} of the rounds rejected)"


@fault("loaded while judging", "a search beside a busy loop on the second core, with a table made before")
def loaded_verdict(lab: Lab, record: Record) -> None:
    _ = lab.table
    with busy_core():
        record.met(lab.hwnas(SEARCH, "--no-train"), 0, "")
    result = json.loads((lab.here / "run" / "result.json").read_text())
    record.check(result["verdict"] in ("met", "unstable"), f"never missed under load, it is {result['verdict']}")
    record.said = f"verdict {result['verdict']}, {result['measured_ms']['rejected']:.0%} of the rounds rejected"
