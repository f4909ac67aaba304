"""Figures as SVG whose colours are those of the page around it, so that they follow light and dark."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import style
from matplotlib.figure import Figure

INK, MUTED, LINE, ACCENT, BUDGET = "#010101", "#020202", "#030303", "#040404", "#050505"
SECOND, THIRD = "#060606", "#070707"
"""Colours to draw with; each stands for a variable of the style sheet."""

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    BUDGET: "var(--budget)",
    SECOND: "var(--second)",
    THIRD: "var(--third)",
}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hwnas",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
}


def plot_style() -> AbstractContextManager[None]:
    """What to draw a figure in: fixed fonts and ids, whatever the user's settings are, and colours that `svg` knows."""
    return style.context(["default", _STYLE])


def svg(figure: Figure, label: str, prefix: str) -> Markup:
    """The figure as an `<svg>` element for a page.

    Args:
        label: the text that stands for the figure where it is not seen.
        prefix: keeps its ids apart from those of other figures.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(buffer.getvalue())
    view_box = root.get("viewBox", "")
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = dict(_for_page(_local(key), value, prefix) for key, value in element.attrib.items())
        if element.tag == "g":
            element.attrib.pop("id", None)
    root.attrib = {"viewBox": view_box, "role": "img", "aria-label": label}
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str) -> str:
    """A name without its namespace: a page needs none."""
    return name.rpartition("}")[2]


def _for_page(key: str, value: str, prefix: str) -> tuple[str, str]:
    """An attribute with prefixed ids, in the page's colours and font."""
    if key == "id":
        value = f"{prefix}-{value}"
    elif key == "href":
        value = value.replace("#", f"#{prefix}-", 1)
    elif key == "style":
        pairs = [one.strip().partition(": ") for one in value.split(";") if one.strip()]
        value = "; ".join(f"{name}: {_VARIABLES.get(of, of)}" for name, _, of in pairs if name != "font-family")
    return key, _VARIABLES.get(value, value).replace("url(#", f"url(#{prefix}-")
