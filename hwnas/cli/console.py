"""What the user sees: progress and errors on stderr, tables or one JSON object on stdout."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, ParamSpec

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from hwnas.errors import INTERRUPTED_EXIT_CODE, HwnasError
from hwnas.progress import Advance, Progress, Silent

_P = ParamSpec("_P")
_LINE_EVERY_S = 10.0


def out() -> Console:
    """Where results go."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def err() -> Console:
    """Where everything else goes."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def print_json(content: Any) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


def verb(function: Callable[_P, None]) -> Callable[_P, None]:
    """A command: an error of hwnas becomes one message and its exit code, never a traceback."""

    @functools.wraps(function)
    def command(*args: _P.args, **kwargs: _P.kwargs) -> None:
        as_json = bool(kwargs.get("json_"))
        try:
            function(*args, **kwargs)
        except HwnasError as error:
            _fail(str(error), error.hint, error.exit_code, as_json=as_json)
        except KeyboardInterrupt:
            hint = "what was done is kept: the same command with --resume goes on from there"
            _fail("interrupted", hint, INTERRUPTED_EXIT_CODE, as_json=as_json)

    return command


def _fail(message: str, hint: str, code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"error": message, "hint": hint, "exit_code": code})
    console = err()
    console.print(f"[bold red]error:[/] {escape(message)}")
    if hint:
        console.print(f"[bold]hint:[/] {escape(hint)}")
    raise SystemExit(code)


def progress(*, quiet: bool) -> Progress:
    """Bars on a terminal, a line now and then elsewhere, nothing when quiet."""
    if quiet:
        return Silent()
    console = err()
    return _BarProgress(console) if console.is_terminal else _LineProgress(console)


class _BarProgress:
    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
        )
        with Bars(*columns, console=self._console) as bars:
            task = bars.add_task(label, total=total, completed=done, note="")

            def advance(steps: int = 1, note: str = "") -> None:
                bars.update(task, advance=steps)
                if note:
                    bars.update(task, note=note)

            yield advance

    def say(self, message: str) -> None:
        self._console.print(escape(message))


class _LineProgress:
    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        started = printed = time.monotonic()
        finished, last_note = done, ""

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal finished, printed, last_note
            finished, last_note = finished + steps, note or last_note
            now = time.monotonic()
            if now - printed >= _LINE_EVERY_S and finished > done:
                left = (now - started) / (finished - done) * (total - finished)
                note_part = f", {last_note}" if last_note else ""
                self.say(f"{label}: {finished} of {total}, {left:.0f} s left{note_part}")
                printed = now

        yield advance
        note_part = f" ({last_note})" if last_note else ""
        self.say(f"{label}: done in {time.monotonic() - started:.1f} s{note_part}")

    def say(self, message: str) -> None:
        self._console.print(escape(message))
