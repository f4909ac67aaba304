"""The documentation site without its generator: every page is in the navigation, every link and picture is there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))

import reference_errors
import site_hooks
import style_report

ROOT = site_hooks.ROOT
NAV = re.findall(r"^ +- [^:\n]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
PAGES = sorted((ROOT / "docs").rglob("*.md"))
ANCHORED = re.compile(r"\]\(([^)\s#]*)#([^)\s]+)\)")
FROM_THE_PROGRAM = {"configuration.md", "commands.md", "faults.md"}
BY_HAND = [path for path in style_report.pages() if path.name not in {*FROM_THE_PROGRAM, "style.md"}]


def anchors(path: Path) -> set[str]:
    """Of the headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", site_hooks.FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_navigation_has_every_page_once() -> None:
    listed = {path.relative_to(ROOT / "docs").as_posix() for path in PAGES}
    expected = {name for name in listed if not name.startswith(("decisions/", "results/"))} | set(site_hooks.WRITTEN)
    assert sorted(NAV) == sorted(expected)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_to_sections_lead_somewhere(path: Path) -> None:
    for target, anchor in ANCHORED.findall(site_hooks.FENCE.sub("", path.read_text(encoding="utf-8"))):
        if "://" not in target:
            assert anchor in anchors(path.parent / target if target else path), f"{target}#{anchor}"


def test_files_outside_of_the_docs_are_linked_within_the_site() -> None:
    page = ROOT / "docs/guides/android-app.md"
    assert ROOT / "examples/android/README.md" in site_hooks.outside_files()
    assert site_hooks.relinked(page, "[an app](../../examples/android/README.md#x)") == (
        "[an app](../repository/examples/android/README.md#x)"
    )
    example = ROOT / "examples/android/README.md"
    assert site_hooks.relinked(example, "[files](../../docs/export.md)") == "[files](../../../export.md)"
    assert site_hooks.relinked(page, "[a phone](phone.md)") == "[a phone](phone.md)"


def test_the_index_has_every_decision() -> None:
    index = site_hooks.decisions_index()
    files = [path for path in PAGES if path.parent.name == "decisions"]
    assert len(files) == index.count("\n| ") - 1
    assert all(f"({path.name})" in index for path in files)


@pytest.mark.parametrize("path", sorted((ROOT / "docs/concepts").glob("*.svg")), ids=lambda path: path.name)
def test_pictures_are_used_and_load_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "<title>" in text
    assert not re.search(r"href|url\(|<script|@import", text)
    assert f"]({path.name})" in path.with_suffix(".md").read_text(encoding="utf-8")


def test_errors_are_listed_with_their_remedies(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        'raise InputError(f"{name} | is no number", hint="give a number")\n'
        'error = StorageError("cannot write " + shown(path))\n'
        "raise InputError(computed())\n"
        'raise ValueError("not ours")\n'
    )
    assert reference_errors.messages(tmp_path) == {
        "InputError": [reference_errors.Said("… | is no number", "give a number")],
        "StorageError": [reference_errors.Said("cannot write …", "")],
    }
    page = reference_errors.page(tmp_path)
    assert "## InputError\n\nUsage or bad input. Exit code 2." in page
    assert "| … \\| is no number | give a number |" in page


def test_clauses_with_what_are_found() -> None:
    found = style_report.clauses("What it costs is shown.\nIt says what is there, and tells that.\n`what` is code.\n")
    assert [line for line, _ in found] == [1, 2]
    assert style_report.clauses("Which one costs less?\n\n```text\nwhat it printed\n```\n") == []


@pytest.mark.parametrize("path", BY_HAND, ids=lambda path: path.name)
def test_pages_have_no_clauses_with_what(path: Path) -> None:
    assert style_report.clauses(path.read_text(encoding="utf-8")) == []
