"""What the user sees: progress and errors on stderr, tables or one JSON object on stdout."""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import io
import json
import os
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, ParamSpec, TextIO

from rich.console import Console
from rich.markup import escape

from hwnas.errors import INTERRUPTED_EXIT_CODE, ArgumentError, HwnasError, InputError, StorageError
from hwnas.events import Events, OnEvent
from hwnas.torchrun import alone

_P = ParamSpec("_P")
_TOGETHER = ("search",)  # commands that divide their work among the processes of torchrun
_PIPE_EXIT_CODE = 141  # what a shell tells of a program that SIGPIPE ends
_WRONG_PATH = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class _Results(io.TextIOWrapper):
    """Stdout, of which a lost byte is told: by a `StorageError`, or the exit code where nobody reads any more."""

    def write(self, text: str) -> int:
        with self._told():
            return super().write(text)

    def flush(self) -> None:
        with self._told():
            super().flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), self.fileno())  # for what is left in the buffer
            if error.errno == errno.EPIPE:
                raise SystemExit(_PIPE_EXIT_CODE) from None
            raise StorageError(f"cannot write the output: {error.strerror}", hint="send it elsewhere") from error


class _Messages(io.TextIOWrapper):
    """Stderr; where it cannot be written, nobody listens."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def keep_stdout_for_results() -> None:
    """From here on, native code that prints to stdout, as HiGHS 1.12 does unasked, prints to stderr instead.

    What the encoding of the terminal lacks is printed as a backslash and its number.
    """
    whole = sys.stdout is not None and sys.stderr is not None
    sys.stdout = _stream(_Results, sys.stdout)
    sys.stderr = _stream(_Messages, sys.stderr)
    if whole:
        os.dup2(2, 1)


def silence() -> None:
    """From here on, say nothing but defects: another process of the same command says what there is to say."""
    stderr = sys.stderr
    sys.stdout, sys.stderr = _stream(_Results, None), _stream(_Messages, None)
    sys.excepthook = lambda _, error, __: traceback.print_exception(error, file=stderr)


def _stream(kind: type[io.TextIOWrapper], standard: TextIO | None) -> io.TextIOWrapper:
    """Stands for stdout or stderr, of which the caller may have closed one: then nobody listens."""
    if standard is None:
        return kind(open(os.devnull, "wb"), encoding="utf-8", errors="backslashreplace")  # noqa: PTH123
    standard.flush()
    raw = os.fdopen(os.dup(standard.fileno()), "wb")
    lines = kind is _Messages or raw.isatty()
    return kind(raw, encoding=standard.encoding, errors="backslashreplace", line_buffering=lines)


def run(app: Callable[[], object]) -> NoReturn:
    """Run the program to its end, which is when all that it printed is written."""
    _end_as_by_ctrl_c()
    code: Any = 0
    try:
        try:
            app()
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
    except HwnasError as error:
        fail(error, as_json=False)
    sys.exit(code)


def _end_as_by_ctrl_c() -> None:
    """From here on, SIGTERM and SIGHUP end a command as Ctrl-C does; a second one, as `timeout` sends, is ignored."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def interrupt(*_: object) -> None:
        for number in numbers:
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    for number in numbers:
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has SIGHUP ignored
            signal.signal(number, interrupt)


def out(*, wide: bool = False) -> Console:
    """Where results go. What is printed is plain text, in tables too; `write` is for markup.

    Args:
        wide: tables are as wide as what is in them, whatever the terminal is.
    """
    width = 1_000_000 if wide else None
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, markup=False, emoji=False, width=width)


def err() -> Console:
    """Where everything else goes, likewise."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def write(console: Console, markup: str) -> None:
    """One paragraph with markup, so that text which is not ours has to be escaped.

    A terminal wraps it between words and keeps a path or a command whole, a pipe gets one line.
    """
    if console.is_terminal:
        wrap = functools.partial(textwrap.fill, width=console.width, break_long_words=False, break_on_hyphens=False)
        markup = "\n".join(map(wrap, markup.splitlines()))
    console.print(markup, soft_wrap=True, markup=True)


def can_ask() -> bool:
    """Whether somebody sits at a terminal who can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str) -> str:
    """One line that the user types; the question goes to stderr, so that stdout holds results alone.

    Raises:
        InputError: stdin ended before an answer.
    """
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise InputError("stdin ended before the answer", hint="give the options instead: --help describes them")
    return line.strip()


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """On stdout, each fact in a paragraph after its label; further lines of it are below its first."""
    for label, text in facts:
        write(out(), f"[bold]{label:<9}[/] {escape(text)}".replace("\n", f"\n{' ' * 10}"))


def print_json(content: Any) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


def failed(error: HwnasError) -> dict[str, Any]:
    """What `--json` says of an error that ends a command."""
    return error.to_json()


def verb(function: Callable[_P, None]) -> Callable[_P, None]:
    """A command: an error of hwnas becomes one message and its exit code, never a traceback.

    With `--json` every ending is one object on stdout, that of a defect, which keeps its traceback, as well.
    Its help says each paragraph of the docstring in one line, which the terminal wraps.
    """

    @functools.wraps(function)
    def command(*args: _P.args, **kwargs: _P.kwargs) -> None:
        as_json = bool(kwargs.get("json_"))
        try:
            if function.__name__ not in _TOGETHER:
                alone("this command")
            function(*args, **kwargs)
        except HwnasError as error:
            if isinstance(error, ArgumentError):
                from hwnas.cli.flags import as_option

                error = as_option(error, function)
            fail(error, as_json=as_json)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                _fail("a path or name is longer than the file system allows", "give a shorter one", 2, as_json=as_json)
            if error.errno in _WRONG_PATH and error.filename is not None:
                message = f"cannot use {os.fsdecode(error.filename)}: {error.strerror}"
                _fail(message, "correct the path, or its permissions", 2, as_json=as_json)
            if error.errno not in _NO_ROOM:
                _tell_defect(error, as_json=as_json)
                raise
            message = f"cannot write {error.filename or 'a temporary file'}: {error.strerror}"
            _fail(
                message, "free some space, or set TMPDIR to a folder with room", StorageError.exit_code, as_json=as_json
            )
        except KeyboardInterrupt:
            hint = (
                "what was done is kept: the same command with --resume goes on from there"
                if "resume" in kwargs and not kwargs.get("dry_run")
                else ""
            )
            fail_interrupted(hint, as_json=as_json)
        except Exception as error:
            _tell_defect(error, as_json=as_json)
            raise

    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    command.__doc__ = "\n\n".join(" ".join(one.split()) for one in paragraphs)
    return command


def fail(error: HwnasError, *, as_json: bool) -> NoReturn:
    """End with the message and the exit code of an error."""
    _fail(str(error), error.hint, error.exit_code, as_json=as_json, facts=error.facts())


def fail_interrupted(hint: str = "", *, as_json: bool) -> NoReturn:
    """End after Ctrl-C, or a signal that stands for it."""
    _fail("interrupted", hint, INTERRUPTED_EXIT_CODE, as_json=as_json)


def _tell_defect(error: Exception, *, as_json: bool) -> None:
    """One JSON object, where such is asked for; the traceback follows on stderr."""
    if as_json:
        hint = "this is a defect of hwnas: please report it with the traceback on stderr"
        with contextlib.suppress(StorageError):
            print_json({"error": f"{type(error).__name__}: {error}", "hint": hint, "exit_code": HwnasError.exit_code})


def _fail(
    message: str, hint: str, code: int, *, as_json: bool, facts: Mapping[str, object] = MappingProxyType({})
) -> NoReturn:
    if as_json:
        with contextlib.suppress(StorageError):  # stdout is lost, of which there is no more to say than stderr does
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
