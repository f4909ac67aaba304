"""What the user sees: progress and errors on stderr, tables or one JSON object on stdout."""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, ParamSpec

from rich.console import Console
from rich.markup import escape

from hwnas.errors import INTERRUPTED_EXIT_CODE, HwnasError, StorageError
from hwnas.events import Events, OnEvent

_P = ParamSpec("_P")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def keep_stdout_for_results() -> None:
    """From here on, native code that prints to stdout, as HiGHS 1.12 does unasked, prints to stderr instead."""
    if sys.stdout is None or sys.stderr is None:  # closed by the caller: nobody listens
        nowhere = open(os.devnull, "w")  # noqa: PTH123, SIM115
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    else:
        sys.stdout.flush()
        sys.stdout = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
        os.dup2(2, 1)


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


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """On stdout, each fact in a paragraph after its label."""
    for label, text in facts:
        write(out(), f"[bold]{label:<9}[/] {escape(text)}")


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
            _fail(str(error), error.hint, error.exit_code, as_json=as_json, facts=error.facts())
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                _fail("a path or name is longer than the file system allows", "give a shorter one", 2, as_json=as_json)
            if error.errno not in _NO_ROOM:
                raise
            message = f"cannot write {error.filename or 'a temporary file'}: {error.strerror}"
            _fail(
                message, "free some space, or set TMPDIR to a folder with room", StorageError.exit_code, as_json=as_json
            )
        except KeyboardInterrupt:
            hint = (
                "what was done is kept: the same command with --resume goes on from there" if "resume" in kwargs else ""
            )
            _fail("interrupted", hint, INTERRUPTED_EXIT_CODE, as_json=as_json)

    return command


def _fail(
    message: str, hint: str, code: int, *, as_json: bool, facts: Mapping[str, object] = MappingProxyType({})
) -> NoReturn:
    if as_json:
        print_json({"error": message, "hint": hint, "exit_code": code} | dict(facts))
    console = err()
    write(console, f"[bold red]error:[/] {escape(message)}")
    if hint:
        write(console, f"[bold]hint:[/] {escape(hint)}")
    raise SystemExit(code)


def callbacks(*, quiet: bool) -> tuple[OnEvent, ...]:
    """Bars on a terminal, a line now and then elsewhere, nothing when quiet."""
    if quiet:
        return ()
    from hwnas.cli.progress_bars import BarProgress, LineProgress

    console = err()
    return (BarProgress(console) if console.is_terminal else LineProgress(console),)


def progress(*, quiet: bool) -> Events:
    """Events with the `callbacks`."""
    return Events(*callbacks(quiet=quiet))
