"""What the user sees: progress and errors on stderr, tables or one JSON object on stdout."""

from __future__ import annotations

import functools
import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, ParamSpec

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column

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


def write(console: Console, markup: str) -> None:
    """One paragraph: a terminal wraps it between words and keeps a path or a command whole, a pipe gets one line."""
    if console.is_terminal:
        wrap = functools.partial(textwrap.fill, width=console.width, break_long_words=False, break_on_hyphens=False)
        markup = "\n".join(map(wrap, markup.splitlines()))
    console.print(markup, soft_wrap=True)


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
            hint = (
                "what was done is kept: the same command with --resume goes on from there" if "resume" in kwargs else ""
            )
            _fail("interrupted", hint, INTERRUPTED_EXIT_CODE, as_json=as_json)

    return command


def _fail(message: str, hint: str, code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"error": message, "hint": hint, "exit_code": code})
    console = err()
    write(console, f"[bold red]error:[/] {escape(message)}")
    if hint:
        write(console, f"[bold]hint:[/] {escape(hint)}")
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
            BarColumn(bar_width=10),
            TimeRemainingColumn(compact=True),
            TextColumn(
                "{task.description}  {task.fields[note]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
        )
        with Bars(*columns, console=self._console, expand=True) as bars:
            task = bars.add_task(label, total=total, completed=done, note="")

            def advance(steps: int = 1, note: str = "") -> None:
                bars.update(task, advance=steps)
                if note:
                    bars.update(task, note=note)

            yield advance

    def say(self, message: str) -> None:
        write(self._console, escape(message))


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
                self.say(f"{label}: {finished} of {total}, {_duration(left)} left{note_part}")
                printed = now

        yield advance
        note_part = f" ({last_note})" if last_note else ""
        self.say(f"{label}: done in {_duration(time.monotonic() - started)}{note_part}")

    def say(self, message: str) -> None:
        write(self._console, escape(message))


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
