"""Where `fuzz_commands.py` runs things: what all cases share, and commands in forks of one warm process."""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
LONGEST_S, MOST_BYTES = 60.0, 2 << 30
IMPORT = ("--format", "csv", "--device", "board", "--out", "tables", "--unit", "us")
_SEARCH = (
    "search --data images --budget-ms 50% --device board --space toy --width 1 --resolution 8 --accelerator cpu "
    "--no-train --no-baseline --tables tables --set search.warmup_epochs=1 --set search.epochs=1 "
    "--set search.candidates=2 --threads 1"
)
SEARCH = _SEARCH.split()
CODES = {0, 2, 3, 4, 5, 6, 7, 8, 9, 130}
_WARM = (
    "hwnas.cli",
    "hwnas.api.searches",
    "hwnas.api.tables",
    "hwnas.api.model_files",
    "hwnas.api.verification",
    "hwnas.api.learning",
    "hwnas.latency.plot",
    "hwnas.latency.diff",
    "hwnas.latency.imported",
    "hwnas.latency.trust",
    "hwnas.latency.fresh",
    "hwnas.report.page",
    "hwnas.report.plots",
    "scipy.stats",
    "torch._dynamo",
    "hwnas.backends.onnx_runtime",
    "hwnas.cli.result_view",
    "rich.table",
    "rich.progress",
    "pydantic",
    "tomli_w",
    "hwnas.backends.litert_runtime",
    "hwnas.devices.device_check",
    "matplotlib.figure",
)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code, or minus the signal that ended it.
        peak_bytes: most memory of the process, what it shares with the warm one included.
        timed_out: it was killed after `LONGEST_S`.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak_bytes: int
    timed_out: bool = False


def environment(root: Path) -> dict[str, str]:
    """No command touches caches or data of whoever runs the fuzzer."""
    own = {"HWNAS_CACHE": root / "cache", "XDG_DATA_HOME": root / "data", "TMPDIR": root / "tmp", "PYTHONPATH": ROOT}
    return os.environ | {name: str(path) for name, path in own.items()} | {"OMP_NUM_THREADS": "1"}


def warm() -> None:
    """Import what commands import, so that a fork has it; nothing is computed, as threads do not survive a fork.

    Candidates are scored on each image once, not on 1,000.
    """
    for name in _WARM:
        try:
            importlib.import_module(name)
        except ImportError:  # an extra that is not installed
            continue
    importlib.import_module("torch").set_num_threads(1)
    select = importlib.import_module("hwnas.nas.select")
    select._passes = lambda images: 1  # type: ignore[attr-defined]
    gc.freeze()


def forked(words: Sequence[str], folder: Path, root: Path, longest_s: float = LONGEST_S) -> Ended:
    """`hwnas` in a fork of this process."""
    return _ended(lambda: _start(words, folder, root), folder, longest_s)


def fresh(words: Sequence[str], folder: Path, root: Path, longest_s: float = LONGEST_S) -> Ended:
    """`hwnas` in an interpreter of its own."""

    def start() -> int:
        with (folder / ".out").open("wb") as out, (folder / ".err").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "hwnas", *map(os.fsencode, words)],
                cwd=folder,
                env=environment(root),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                preexec_fn=_limits,
                start_new_session=True,
            ).pid

    return _ended(start, folder, longest_s)


def _start(words: Sequence[str], folder: Path, root: Path) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _limits()
        os.chdir(folder)
        for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, ".out", _NEW), (2, ".err", _NEW)):
            descriptor = os.open(name, flags, 0o600)
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        os.environ.update(environment(root))
        sys.argv = ["hwnas", *words]
        _main()
    finally:
        os._exit(1)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def _main() -> NoReturn:
    from hwnas.cli import main

    code = 1
    try:
        main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            traceback.print_exc()
            code = 1
    os._exit(code)


def _limits() -> None:
    """Not of the address space, most of which is never used."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _ended(start: Callable[[], int], folder: Path, longest_s: float) -> Ended:
    began = time.monotonic()
    pid = start()
    timed_out = False
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            break
        if not timed_out and time.monotonic() - began > longest_s:
            timed_out = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.003)
    seconds = time.monotonic() - began
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)  # what it left behind
    files = (folder / ".out", folder / ".err")
    out, err = (path.read_text("utf-8", "replace") if path.exists() else "" for path in files)
    return Ended(os.waitstatus_to_exitcode(status), out, err, seconds, usage.ru_maxrss * 1024, timed_out)


def wrong(words: Sequence[str], ended: Ended) -> str:
    """What must not be: the sort of defect in a word or two; empty if there is none."""
    if ended.timed_out:
        return "hang"
    if ended.peak_bytes > MOST_BYTES or "MemoryError" in ended.err or "DefaultCPUAllocator" in ended.err:
        return "memory"
    if ended.code < 0:
        return "signal"
    if "Traceback (most recent call last)" in ended.err + ended.out:
        return "traceback"
    if ended.code not in CODES:
        return "exit code"
    if ended.code and "rror" not in ended.err + ended.out:
        return "no message"
    if not ended.code and "--json" in words and "--help" not in words:
        try:
            json.loads(ended.out, parse_constant=lambda name: json.loads("refused"))
        except ValueError:
            return "json"
    return ""


class Base:
    """What cases are made from, in a folder of its own: made once by the real commands, after `warm`."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "base"
        for name in ("cases", "tmp"):
            (root / name).mkdir(parents=True, exist_ok=True)
        if not (self.folder / "done").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            self._make()
            (self.folder / "done").touch()

    def _make(self) -> None:
        from hwnas.arch import space_instance

        rng = np.random.default_rng(0)
        for colour in (200, 40), (40, 200):
            name = "ab"[colour[0] > colour[1]]
            (self.folder / "images" / name).mkdir(parents=True)
            for index in range(20):
                pixels = np.clip(rng.normal([*colour, 90], 30, (10, 10, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(self.folder / "images" / name / f"{index:02d}.png")
        space = space_instance("toy", width=1.0, resolution=8, channels=3, classes=2)
        rows = [f'"{spec.key}",{100 + 7 * index}' for index, spec in enumerate(space.ops)]
        (self.folder / "board.csv").write_text("\n".join(["key,latency_us", *rows, ""]))
        shipped = next(path.parent for path in sorted((ROOT / "latency_tables").glob("*/*fp32/meta.toml")))
        shutil.copytree(shipped, self.folder / "measured" / shipped.parent.name / shipped.name)
        self.succeed("table", "import", "board.csv", *IMPORT)
        self.succeed(*SEARCH, "--out", "run")
        front = [word if word != "50%" else "40%,80%" for word in SEARCH]
        front[front.index("--budget-ms")] = "--budgets-ms"
        self.succeed(*front, "--out", "front")

    def succeed(self, *words: str) -> None:
        done = forked(words, self.folder, self.root, 600.0)
        if done.code:
            raise RuntimeError(f"hwnas {' '.join(words)} ended with {done.code}: {done.err[-2000:]}")

    def copy(self, name: str, folder: Path) -> Path:
        """A copy of a file or folder of the base, to be damaged."""
        source, target = self.folder / name, folder / name
        if source.is_dir():
            return Path(shutil.copytree(source, target))
        return Path(shutil.copy(source, target))

    def link(self, name: str, folder: Path) -> None:
        """What stays whole."""
        if not (folder / name).exists():
            (folder / name).symlink_to(self.folder / name)
