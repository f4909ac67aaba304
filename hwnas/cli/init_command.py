"""`hwnas init`: four questions, and the command that they come to."""

from __future__ import annotations

from collections.abc import Callable

from rich.markup import escape

from hwnas.cli import console, options
from hwnas.display import few, printable
from hwnas.errors import InputError

_OPTIONS = "hwnas search takes the answers as options: --data, --device, --budget-ms and --minutes"


@console.verb
def init(json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """Ask for data, device, budget and minutes, and print the command of a search; nothing is run.

    Enter takes the answer in brackets, which comes from looking: folders of images here, and devices that are known.
    """
    if not console.can_ask():
        raise InputError("hwnas init asks questions, and stdin is no terminal", hint=_OPTIONS)
    import hwnas

    found = hwnas.suggest_search()
    data = _answer(f"Images: {_few(found.found_data)}", found.data, lambda text: hwnas.suggest_search(data=text).data)
    device = _answer(
        f"Device to run on: {_few(found.found_devices)}",
        found.device,
        lambda text: hwnas.suggest_search(device=text).device,
    )
    budget = _answer(
        "Budget: milliseconds of one call, or a share of what networks take there",
        found.budget,
        lambda text: hwnas.suggest_search(budget_ms=text).budget,
    )
    minutes = _answer("Minutes that the whole run may take", f"{found.minutes:g}", _minutes)
    asked = hwnas.suggest_search(data=data, device=device, budget_ms=budget, minutes=float(minutes))
    if json_:
        console.print_json({"command": asked.command})
    else:
        console.out(wide=True).print(asked.command)


def _answer(question: str, usual: str, check: Callable[[str], str]) -> str:
    """An answer that holds; one that does not is told why, and asked for again."""
    while True:
        text = console.ask(f"{question}\n[{printable(usual)}] ")
        try:
            return check(text or usual)
        except InputError as error:
            console.write(console.err(), f"[yellow]{escape(printable(str(error)))}[/]")
            if error.hint:
                console.write(console.err(), escape(printable(error.hint)))


def _few(names: tuple[str, ...]) -> str:
    return printable(few(list(names)))


def _minutes(text: str) -> str:
    """Minutes as text.

    Raises:
        InputError: it is no number above 0.
    """
    import hwnas

    try:
        number = float(text.removesuffix("min").strip())
    except ValueError:
        raise InputError(f"minutes must be a number, not {printable(text, 60)!r}") from None
    return f"{hwnas.suggest_search(minutes=number).minutes:g}"
