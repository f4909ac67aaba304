"""The page of `bench_matrix.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

HEADS = ("runtime", "version", "file", "same classes", "scores off by", "classes of torch", "off from torch by")

_ABOUT = """\
# Every file in every runtime

Written by `tools/bench_matrix.py`: a network trained on {data}, {classes} classes, {size}; {images} test images.

*Same classes* and *scores off by*, the largest difference of a probability, compare with the runtime that hwnas itself
reads the file by, which is ONNX Runtime or LiteRT. The last two columns compare with the trained network in torch, from
which an int8 file differs by what quantising does. Points of the metric that it costs on the validation images:
{drops}.
"""

_USABILITY = """
What ONNX Runtime's `check_onnx_model_mobile_usability` says: whether a provider should do well with the file as it is,
in how many partitions, and how many of the nodes it takes. The networks of spaces
are drawn at random, and written with `--providers nnapi,coreml` too.
"""


def row_of(cell: Mapping[str, Any]) -> list[str]:
    """The texts of a cell, one for each of `HEADS`."""
    if "why" in cell:
        return [cell["runtime"], "", cell["file"], f"not run: {cell['why']}", "", "", ""]
    return [
        cell["runtime"],
        cell["version"],
        cell["file"],
        str(cell["same_as_usual"]),
        f"{cell['difference_from_usual']:.1e}",
        str(cell["same_as_trained"]),
        f"{cell['difference_from_trained']:.1e}",
    ]


def markdown(found: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> str:
    """The page of all cells."""
    about, usability = found["run"], {name: one["said"] for name, one in found["usability"].items()}
    drops = ", ".join(f"`{name}` {100 * drop:.2f}" for name, drop in about["int8"].items() if drop is not None)
    providers = list(dict.fromkeys(name for said in usability.values() for name in said))
    checked = [[file, *(said.get(one, "") for one in providers)] for file, said in usability.items()]
    parts = [
        _ABOUT.format(**about, drops=drops),
        _table(HEADS, map(row_of, cells)),
        _USABILITY,
        _table(("file", *providers), checked),
    ]
    return "\n".join(parts)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(one.replace("|", "\\|") for one in line) + " |\n" for line in lines)
