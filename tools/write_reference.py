"""Write the pages of the reference that follow from the program: docs/configuration.md from the declaration of the
options, and docs/reference/commands.md from the command line.

python tools/write_reference.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated

import reference_commands
import typer

from hwnas.config import Configuration, Declared, Section
from hwnas.files import write_text

_DOCS = Path(__file__).parents[1] / "docs"
PAGE = _DOCS / "configuration.md"
_INTRODUCTION = """\
# Configuration

Every option of `hwnas search`, by section. This page is written by `tools/write_reference.py` from the declaration in
`hwnas/config/`.

An option is set by its flag, if it has one, by `--set`, or in a TOML file for `--config`. The `config.toml` of any run
is such a file; one that you write may hold any part of it:

```toml
[target]
budget = "50%"

[search]
lr = 0.01
epochs = 20
```

```console
$ hwnas search --config mine.toml --set search.beta_decay=0.5 --set train.batch_size=128 --dry-run
```

Defaults come first, then the file, then `--set` and flags. One option by both `--set` and a flag, or twice by either,
is an error. Where the default says that an option follows something, `--set` with an empty value brings that back
against a file.
"""


def page(sections: Iterable[type[Section]] = Configuration.sections().values()) -> str:
    """The page as Markdown."""
    return _INTRODUCTION + "".join(map(_section, sections))


def _section(section: type[Section]) -> str:
    lines = ["", f"## [{section.title}]", "", section.about, ""]
    lines += ["| Option | Flag | Default | Value | Meaning |", "|---|---|---|---|---|"]
    lines += [_row(one) for one in section.options()]
    return "\n".join(lines) + "\n"


def _row(one: Declared) -> str:
    flags = ", ".join(f"`{flag}`" for flag, said in one.flags.items() if said)
    rule = one.rule + (f"; {one.option.unit}" if one.option.unit else "")
    said = one.option.help if one.option.settable else f"{one.option.help} Filled in by the run."
    if one.kind == "switch" and one.option.flag.startswith("--no-"):
        said = f"Off: {said[0].lower()}{said[1:]}"
    return f"| `{one.name}` | {flags} | {_default(one)} | {rule} | {said} |"


def _default(one: Declared) -> str:
    if one.required:
        return "none: it must be set"
    if one.default in (None, "", ()):
        return one.option.by_default
    return f"`{str(one.default).lower() if one.kind == 'switch' else one.default}`"


PAGES: Mapping[Path, Callable[[], str]] = {PAGE: page, _DOCS / "reference/commands.md": reference_commands.page}


def stale() -> list[Path]:
    """Pages that are not as the program would have them."""
    return [path for path, text in PAGES.items() if not path.is_file() or path.read_text(encoding="utf-8") != text()]


def main(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 where a page is stale.")] = False,
) -> None:
    """Write the pages."""
    found = stale()
    if check and found:
        raise SystemExit(f"run tools/write_reference.py: {', '.join(path.name for path in found)} is stale")
    for path in found:
        write_text(path, PAGES[path]())


if __name__ == "__main__":
    typer.run(main)
