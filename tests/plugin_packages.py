"""Packages with entry points of the group `hwnas.plugins`, installed in a folder by writing what pip would write."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "add-a-strategy.md"


def install(folder: Path, name: str, module: str, text: str, entries: dict[str, str]) -> Path:
    """A package of one module; `folder` then belongs on the path."""
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    facts = folder / f"{name.replace('-', '_')}-0.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = [f"{entry} = {value}" for entry, value in entries.items()]
    (facts / "entry_points.txt").write_text("\n".join(["[hwnas.plugins]", *lines, ""]))
    return folder


def documented() -> tuple[str, str]:
    """The module and the pyproject.toml that the guide shows."""
    text = GUIDE.read_text(encoding="utf-8")
    blocks = {
        kind: re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) for kind in ("python", "toml")
    }
    return blocks["python"][0], blocks["toml"][0]


def install_documented(folder: Path) -> Path:
    """The package that the guide shows."""
    module, project = documented()
    facts = tomllib.loads(project)["project"]
    entries: dict[str, str] = facts["entry-points"]["hwnas.plugins"]
    (target,) = entries.values()
    return install(folder, facts["name"], target.partition(":")[0], module, entries)
