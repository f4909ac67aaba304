"""A run as one self-contained page. It shows what the run's files hold, and says less where they hold less."""

from __future__ import annotations

import base64
import hashlib
import shlex
from functools import cache
from importlib.resources import files as package_files
from typing import Any

import jinja2
from markupsafe import Markup

from hwnas.errors import InputError
from hwnas.files import real_path, write_bytes
from hwnas.report import front_page, run_page
from hwnas.report.filters import FILTERS
from hwnas.report.run_files import RunFiles
from hwnas.schema import read_json


def write_report(files: RunFiles) -> None:
    """Write `report.html` of a finished run: one file that loads nothing else, in light or dark as the reader's system.

    Raises:
        InputError: `result.json` is missing or damaged.
        StorageError: the page cannot be written.
    """
    _write(files, "report.html.j2", run_page.content(files))


def write_front(files: RunFiles) -> None:
    """Write the `report.html` of a finished run with several budgets; each of them has a page of its own.

    Raises:
        InputError: `result.json` is missing or damaged.
        StorageError: the page cannot be written.
    """
    _write(files, "front.html.j2", front_page.content(files))


def is_front(files: RunFiles) -> bool:
    """Whether a finished run has several budgets."""
    try:
        result = read_json(files.result)
    except InputError:
        return False
    return isinstance(result, dict) and isinstance(result.get("front"), list)


@cache
def environment() -> jinja2.Environment:
    """Of the templates, with the filters that turn file contents into text; it keeps what it compiled of them.

    The policy of a page lets nothing run but the one script that is in it, by its checksum.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hwnas.report", ""),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = package_files("hwnas.report").joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"script": Markup(script), "script_hash": f"sha256-{digest}"}
    environment.filters |= FILTERS | {"quoted": lambda text: shlex.quote(str(text))}
    return environment


def _write(files: RunFiles, template: str, content: dict[str, Any]) -> None:
    page = environment().get_template(template).render(name=real_path(files.path).name, **content)
    write_bytes(files.report, page.encode("utf-8", "replace"))
