"""How plain the pages of the documentation are: the grade of each by Flesch and Kincaid, and clauses with "what".

python tools/style_report.py

It needs textstat, of the extra `hwnas[docs]`. docs/style.md says how to mend a sentence.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

DOCS = Path(__file__).resolve().parents[1] / "docs"
_LIMIT = 9.0  # of guides: what people of 15 years read with ease
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CLAUSE = re.compile(r"\bwhat\b(?![^\n.]*\?)", re.IGNORECASE)
_CODE = re.compile(r"`[^`]*`")
_CODE_OR_ADDRESS = re.compile(r"`[^`\n]*`|\]\([^)]*\)")
_NOT_PROSE = re.compile(r"^(#|\||!\[|- \[|$)")


def clauses(markdown: str) -> list[tuple[int, str]]:
    """Lines with a clause that begins with "what", which a noun says better: (number, line).

    Code, addresses of links and questions do not count.
    """
    text = _CODE_OR_ADDRESS.sub("", _FENCE.sub(lambda match: "\n" * match[0].count("\n"), markdown))
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if _CLAUSE.search(line)]


def prose(markdown: str) -> str:
    """The sentences of a page: no headings, tables, code, pictures or addresses of links."""
    text = re.sub(r"\]\([^)]*\)", "", _FENCE.sub("", markdown)).replace("[", "").replace("*", "")
    text = re.sub(r"(?<=\d)[.,](?=\d)", "", text)  # no sentence ends in a number
    text = re.sub(r"^#+ .*$", "", text, flags=re.MULTILINE)
    lines = [re.sub(r"^(?:- |\d+\. )", "", line.strip()) for line in text.splitlines()]
    paragraphs = re.split(r"\n{2,}", "\n".join("" if _NOT_PROSE.match(line) else line for line in lines))
    sentences = [" ".join(_CODE.sub("it", one).split()) for one in paragraphs if one.strip()]
    return "\n".join(one if one[-1] in ".?!" else f"{one.rstrip(':;,')}." for one in sentences)


def grade(markdown: str) -> float:
    """Years of school that a page asks for, by words a sentence and syllables a word (Kincaid et al., 1975)."""
    import textstat

    return float(textstat.flesch_kincaid_grade(prose(markdown)))


def pages() -> list[Path]:
    """All pages but decisions and results, which are records."""
    records = (DOCS / "decisions", DOCS / "results")
    return sorted(path for path in DOCS.rglob("*.md") if not any(path.is_relative_to(one) for one in records))


def main(
    show: Annotated[bool, typer.Option("--show", help="Show the lines with clauses.")] = False,
) -> None:
    """Print a line for each page; exit code 1 where a guide is too hard."""
    hard = []
    print("grade  what  page")
    for path in pages():
        markdown = path.read_text(encoding="utf-8")
        found, years = clauses(markdown), grade(markdown)
        name = path.relative_to(DOCS).as_posix()
        print(f"{years:5.1f} {len(found):5}  {name}")
        if show:
            print("".join(f"             {number}: {line.strip()}\n" for number, line in found), end="")
        if years > _LIMIT and (name.startswith("guides/") or name in ("index.md", "start.md", "choose.md")):
            hard.append(name)
    if hard:
        raise SystemExit(f"above grade {_LIMIT:g}: {', '.join(hard)}")


if __name__ == "__main__":
    typer.run(main)
