"""Hooks of mkdocs, which builds the documentation site: `make docs`.

Pages that are not files of docs/ come from here: the index of the decisions, the error messages, and the files outside
of docs/ that pages link to, such as the README of an example. In the site these lie below `repository/`, and links to
them are turned there.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OUTSIDE = "repository"
WRITTEN = ("decisions/index.md", "reference/errors.md")
"""Pages that `on_files` writes, from docs/."""
LINK = re.compile(r"(\]\()([^)\s#]+)([^)\s]*\))")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def decisions_index(folder: Path = DOCS / "decisions") -> str:
    """A table of all decisions: number, title with a link."""
    lines = ["# Decisions", "", "Why hwnas is built as it is: what was decided, measured and rejected.", ""]
    lines += ["| Number | Decision |", "|---|---|"]
    for path in sorted(folder.glob("[0-9]*.md")):
        heading = path.read_text(encoding="utf-8").splitlines()[0]
        title = re.sub(r"^# \d+[.:]\s+", "", heading)
        lines.append(f"| {int(path.name[:4])} | [{title}]({path.name}) |")
    return "\n".join(lines) + "\n"


def linked(path: Path, markdown: str) -> list[Path]:
    """The files that a page links to, each as a path that may not exist."""
    targets = [target for _, target, _ in LINK.findall(FENCE.sub("", markdown)) if "://" not in target]
    return [Path(posixpath.normpath((path.parent / target).as_posix())) for target in targets]


def outside_files() -> list[Path]:
    """Files outside of docs/ that pages of docs/ link to, or that such files link to."""
    found: set[Path] = set()
    waiting = list(DOCS.rglob("*.md"))
    while waiting:
        path = waiting.pop()
        new = {one for one in linked(path, path.read_text(encoding="utf-8")) if one.is_file()} - found
        new = {one for one in new if not one.is_relative_to(DOCS)}
        found |= new
        waiting += [one for one in new if one.suffix == ".md"]
    return sorted(found)


def in_site(path: Path) -> str:
    """Where a file of the repository lies in the site."""
    inside = path.is_relative_to(DOCS)
    place = path.relative_to(DOCS if inside else ROOT).as_posix()
    return place if inside else f"{OUTSIDE}/{place}"


def relinked(path: Path, markdown: str) -> str:
    """The text of a page with the links that it needs in the site."""
    start = posixpath.dirname(in_site(path))

    def turned(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if "://" in target:
            return match[0]
        (file,) = linked(path, match[0])
        return before + posixpath.relpath(in_site(file), start or ".") + after

    return LINK.sub(turned, markdown)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not files of docs/."""
    from mkdocs.structure.files import File

    sys.path.insert(0, str(Path(__file__).parent))
    import reference_errors

    texts = dict(zip(WRITTEN, (decisions_index(), reference_errors.page()), strict=True))
    for place, text in texts.items():
        files.append(File.generated(config, place, content=text))
    for path in outside_files():
        files.append(File.generated(config, in_site(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the links of pages that are files."""
    if page.file.src_uri in WRITTEN:
        return markdown
    return relinked(Path(page.file.abs_src_path).resolve(), markdown)
