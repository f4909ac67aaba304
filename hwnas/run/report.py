"""A run as one self-contained page."""

from __future__ import annotations

from hwnas.files import read_json, write_text
from hwnas.run.folder import RunFolder


def write_report(folder: RunFolder) -> None:
    """Write `report.html`."""
    write_text(folder.report, str(read_json(folder.result)))
