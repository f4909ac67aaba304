"""The page of `bench_int8.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

HEADS = (
    "data",
    "file",
    "test images",
    "MMACs",
    "fp32",
    "int8",
    "drop, points",
    "drop on validation",
    "ways tried",
    "KiB",
    "ms fp32",
    "ms int8",
)
_PAGE = """\
# What int8 costs

Written by `tools/bench_int8.py`: networks that a short search found and trained in fp32, one seed each, exported by
`hwnas.export` in both precisions. Accuracy is that of the exported files on all test images, in percent; *drop* is
the difference in points, with the standard error of its mean over the images; at most {max_drop:g} points on the
validation images are allowed, which choose the way to int8.

{table}
## Ways to int8

The one that was taken is the last one, which is the first that costs no more than it may.

{ways}"""


def cells(row: Mapping[str, Any]) -> list[str]:
    """The texts of a row, one for each of `HEADS`."""
    if "why" in row:
        return [row["data"], f".{row['format']}", *[""] * 6, "the gate fires", "", "", ""]
    accuracy, kib = row["accuracy"], {bits: size / 1024 for bits, size in row["bytes"].items()}
    return [
        row["data"],
        f".{row['format']}",
        f"{row['images']:,}",
        f"{row['macs'] / 1e6:.2f}",
        f"{100 * accuracy['fp32']:.2f}",
        f"{100 * accuracy['int8']:.2f}",
        f"{100 * row['drop']:+.2f} ± {100 * row['error']:.2f}",
        f"{100 * row['val_drop']:+.2f}",
        str(len(row["tried"])),
        f"{kib['fp32']:.0f} → {kib['int8']:.0f}",
        *(_ms(row, bits) for bits in ("fp32", "int8")),
    ]


def markdown(rows: Sequence[Mapping[str, Any]], max_drop: float) -> str:
    """The page of all rows."""
    lines = [HEADS, ["---"] * len(HEADS), *map(cells, rows)]
    table = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    ways = "".join(f"- {row['data']}, .{row['format']}: {_tried(row)}.\n" for row in rows)
    return _PAGE.format(max_drop=max_drop, table=table, ways=ways)


def _tried(row: Mapping[str, Any]) -> str:
    return str(row["why"] if "why" in row else "; ".join(row["tried"]))


def _ms(row: Mapping[str, Any], bits: str) -> str:
    if "ms" not in row:
        return "not measured"
    measured = row["ms"][bits]
    return f"{measured['median']:.4f}"
