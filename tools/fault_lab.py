"""Where `check_faults.py` breaks things: a folder per fault, the real command in processes of its own, and a record."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hwnas.devices.device import load_device
from hwnas.devices.link import condition_of

ROOT = Path(__file__).resolve().parent.parent
TOY = ["--space", "toy", "--width", "1", "--resolution", "8"]
PROFILE = ["profile-device", *TOY, "--channels", "1", "--out", "tables"]
SEARCH = ["search", *TOY, "--budget-ms", "20", "--accelerator", "cpu", "--tables", "tables", "--out", "run"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
LONGEST_S = 600.0


@dataclass
class Record:
    """What was done to the tool, what it said, and which of its promises did not hold.

    Attributes:
        code: exit code of the command that met the fault.
        said: its error, or else its warning, in one line.
        skipped: why this machine cannot produce the fault; empty if it can.
    """

    name: str
    done: str
    code: int | None = None
    said: str = ""
    problems: list[str] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0

    def check(self, holds: bool, promise: str) -> None:
        if not holds:
            self.problems.append(f"not so: {promise}")

    def met(self, command: Command, code: int, says: str) -> None:
        """The command that met the fault ended: with this code, one message about `says`, and no traceback."""
        text = command.wait()
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        warnings = [line for line in text.splitlines() if line.startswith(("warning: ", "another process"))]
        said = (errors or warnings or [""])[0]
        if self.code is None:
            self.code, self.said = command.code, said.removeprefix("error: ")
        self.check(command.code == code, f"exit code {code}, it is {command.code}: {text[-300:]}")
        self.check("Traceback" not in text, "no traceback")
        self.check(len(errors) == (code != 0), f"one error, there are {len(errors)}")
        self.check(says in said, f"the message has {says!r}: {said}")

    def goes_on(self, command: Command) -> None:
        """A later command that is to succeed."""
        text = command.wait()
        self.check(command.code == 0, f"it goes on afterwards, but exit code {command.code}: {text[-300:]}")


class Command:
    """One `hwnas` process in a session of its own, as a shell starts it."""

    def __init__(self, folder: Path, words: list[str], *, largest_file: int | None = None) -> None:
        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore Ctrl-C
            if largest_file is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))

        self._text = folder / f".stderr-{time.monotonic_ns()}"
        self._here, temporary = f"{folder}/", folder / ".tmp"
        temporary.mkdir(exist_ok=True)
        with self._text.open("wb") as stderr:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "hwnas", *words],
                stdout=subprocess.DEVNULL,
                stderr=stderr if largest_file is None else subprocess.PIPE,  # a pipe has no size to limit
                cwd=folder,
                env=ENVIRONMENT | {"TMPDIR": str(temporary)},
                start_new_session=True,
                preexec_fn=prepare,
            )

    @property
    def code(self) -> int | None:
        return self.child.returncode

    def wait(self) -> str:
        """Until it ends; what it wrote to stderr."""
        if self.child.stderr is not None and not self.child.stderr.closed:
            self._text.write_bytes(self.child.communicate(timeout=LONGEST_S)[1])
        self.child.wait(LONGEST_S)
        return self._text.read_text(errors="replace").replace(self._here, "")

    def until(self, condition: Callable[[], bool]) -> bool:
        """Wait for `condition`; False if the command ended before."""
        end_s = time.monotonic() + LONGEST_S
        while not condition():
            if self.child.poll() is not None:
                return False
            if time.monotonic() > end_s:
                self.send(signal.SIGKILL)
                raise TimeoutError(f"waited {LONGEST_S:.0f} s")
            time.sleep(0.005)
        return True

    def send(self, what: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the command, or to its whole group as Ctrl-C does."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.child.pid, what)


_Case = Callable[["Lab", Record], None]
CASES: dict[str, tuple[str, _Case]] = {}


def fault(name: str, done: str) -> Callable[[_Case], _Case]:
    """Register the function that brings that fault about; `done` says in words what it does."""

    def register(case: _Case) -> _Case:
        CASES[name] = done, case
        return case

    return register


class Lab:
    """A folder for one fault, with what all of them share in `root`."""

    def __init__(self, root: Path, name: str, seed: int) -> None:
        self.root, self.here, self.seed = root, root / name, seed
        self.here.mkdir(parents=True)

    def hwnas(self, words: list[str], *more: str, largest_file: int | None = None) -> Command:
        return Command(self.here, [*words, *more], largest_file=largest_file)

    @cached_property
    def table(self) -> Path:
        """A copy of the shared table: the folder that holds `table.csv`."""
        shared = self.root / "shared"
        if not (shared / "tables").exists():
            _succeed(shared, PROFILE)
        shutil.copytree(shared / "tables", self.here / "tables")
        return self.here / "tables" / condition_of(load_device("host")).folder

    @cached_property
    def finished(self) -> Path:
        """The run that nothing disturbs; it is shared, so copy it."""
        _ = self.table
        shared = self.root / "shared"
        if not (shared / "run").exists():
            _succeed(shared, SEARCH)
        return shared / "run"

    def cut_run(self, *gone: str) -> None:
        """A copy of the finished run without its result, as a kill leaves it: patterns say what else is gone."""
        run = Path(shutil.copytree(self.finished, self.here / "run"))
        for pattern in ("result.json", "report.html", "model.onnx", "state/reference.onnx", *gone):
            for path in run.glob(pattern):
                path.unlink()

    def same_as_finished(self, record: Record, run: Path | None = None) -> None:
        """The run ended with the architecture and the weights of the one that nothing disturbed."""
        run = run or self.here / "run"
        for name in ("architecture.json", "weights.safetensors"):
            same = (run / name).exists() and (run / name).read_bytes() == (self.finished / name).read_bytes()
            record.check(same, f"{name} is that of an undisturbed run")
        record.check(not list(self.here.rglob(".*.hwnas-*")), "no half-written file is left")

    def journal_lines(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in (self.here / "tables").rglob("rounds-*.jsonl"))

    def events(self) -> list[dict[str, Any]]:
        """The log of the run; what is being written is left out."""
        log, found = self.here / "run" / "log.jsonl", []
        for line in log.read_text().splitlines() if log.exists() else []:
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    @property
    def begun(self) -> bool:
        """Whether there is a run that could be continued."""
        return (self.here / "run" / ".hwnas-run").exists()

    def epochs(self) -> int:
        return max((int(one["epoch"]) for one in self.events() if one["event"] == "epoch"), default=0)

    def stage(self, name: str) -> int:
        """How often the run has begun that stage."""
        return sum(one["event"] == "start" and one["stage"] == name for one in self.events())

    @contextlib.contextmanager
    def small_disk(self, name: str, size: str) -> Iterator[Path]:
        """A tmpfs of that size; needs root on Linux."""
        disk = self.here / name
        disk.mkdir()
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk))
        try:
            yield disk
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


def goes_on_measuring(lab: Lab, record: Record) -> None:
    """The next process begins with the rounds of the last, and ends with a table."""
    (journal,) = (lab.here / "tables").rglob("rounds-*.jsonl")
    kept = journal.read_bytes().rpartition(b"\n")[0]
    command = lab.hwnas(PROFILE)
    begun = command.until(lambda: lab.journal_lines() > kept.count(b"\n") + 2)
    record.check(begun and journal.read_bytes().startswith(kept), "it goes on from the rounds that were taken")
    record.goes_on(command)
    record.check(len(list(lab.here.rglob("table.csv"))) == 1, "there is a table in the end")


def can_mount() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, locks left out."""
    files = (path for path in folder.rglob("*") if path.is_file() and "lock" not in path.name)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """The last CPU that may be used, kept busy by a loop."""
    program = (
        "import os\nif hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])\n"
    )
    with subprocess.Popen([sys.executable, "-c", program + "while True: sum(range(1000))"]) as child:
        try:
            yield
        finally:
            child.kill()


def _succeed(folder: Path, words: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    command = Command(folder, words)
    text = command.wait()
    if command.code:
        raise RuntimeError(f"hwnas {words[0]} ended with {command.code}: {text[-500:]}")
