"""A run as one self-contained page. It shows what the run's files hold, and says less where they hold less."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import betaincinv

from hwnas.arch import OpSpec
from hwnas.arch.costs import macs
from hwnas.config.read import sections_of
from hwnas.errors import InputError
from hwnas.files import read_json, write_bytes
from hwnas.run.run_folder import RunFolder

_UNKNOWN = "–"
_INK, _MUTED, _LINE, ACCENT, BUDGET = "#010101", "#020202", "#030303", "#040404", "#050505"
_COLOURS = {_INK: "--ink", _MUTED: "--muted", _LINE: "--line", ACCENT: "--accent", BUDGET: "--budget"}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hwnas",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
}


def write_report(folder: RunFolder) -> None:
    """Write `report.html` of a finished run: one file that loads nothing else, in light or dark as the reader's system.

    Raises:
        InputError: `result.json` is missing or damaged.
        StorageError: the page cannot be written.
    """
    result = _result(folder)
    architecture = _optional(read_json, folder.architecture)
    events = _events(folder.log_file)
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            name=folder.path.resolve().name,
            result=result,
            config=_optional(_asked, folder.config),
            machine=_optional(read_json, folder.environment),
            layers=_layers(architecture),
            stages=_stages(events),
            candidates=_candidates_plot(
                _candidates(folder.evaluated), _winner(architecture), number(result, "budget_ms")
            ),
            epochs=_epochs_plot(events, number(result, "budget_ms")),
        )
    )
    write_bytes(folder.report, page.encode("utf-8", "replace"))


# What the files hold. Others may have edited them, so nothing is taken for granted.


def _result(folder: RunFolder) -> dict[str, Any]:
    try:
        result = read_json(folder.result)
    except InputError as error:
        raise InputError(
            f"{folder.path} holds no finished run: {error}",
            hint="finish it with the same hwnas search command and --resume, or name another run directory",
        ) from error
    if not isinstance(result, dict):
        raise InputError(
            f"{folder.path} holds no finished run: result.json holds a {type(result).__name__}, not an object",
            hint="run the same hwnas search command again with --force",
        )
    return result


def _optional(read: Callable[[Path], Any], path: Path) -> dict[str, Any]:
    try:
        content = read(path)
    except (InputError, OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _asked(path: Path) -> dict[str, Any]:
    """The options of a run by their places, such as `search.lr`."""
    options: dict[str, Any] = {}
    for section, values in sections_of(path).items():
        named = {f".{name}": value for name, value in values.items()} if isinstance(values, dict) else {"": values}
        options |= {f"{section}{name}": value for name, value in named.items()}
    return options


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _events(path: Path) -> list[dict[str, Any]]:
    events = []
    for line in _lines(path):
        with suppress(ValueError):
            events.append(json.loads(line))
    return [event for event in events if isinstance(event, dict)]


def number(content: Any, *keys: str) -> float | None:
    """The finite number under `keys` in nested dictionaries, or None."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    if isinstance(content, bool) or not isinstance(content, int | float | str):
        return None
    try:
        value = float(content)
    except (ValueError, OverflowError):
        return None
    return value if abs(value) < 1e18 else None


def _candidates(path: Path) -> list[tuple[str, float, float]]:
    """Choices, predicted milliseconds and validation accuracy of every candidate that was scored."""
    rows = []
    with suppress(csv.Error):
        for row in csv.DictReader(_lines(path)):
            predicted_ms, accuracy = number(row, "predicted_ms"), number(row, "val_accuracy")
            if predicted_ms is not None and accuracy is not None:
                rows.append((str(row.get("choices")), predicted_ms, accuracy))
    return rows


def _winner(architecture: dict[str, Any]) -> str:
    choices = architecture.get("choices")
    return "-".join(map(str, choices)) if isinstance(choices, list) else ""


def _stages(events: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Seconds per stage; a stage that was repeated counts every time."""
    seconds: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("event") == "end":
            seconds[str(event.get("stage"))] += max(0.0, number(event, "seconds") or 0.0)
    return seconds


@dataclass(frozen=True, slots=True)
class _Layer:
    """One slot of the network; `option` is what was chosen for it, empty where there was no choice."""

    name: str
    option: str
    text: str
    shape: str = ""
    macs: int = 0
    skipped: bool = False


def _layers(architecture: dict[str, Any]) -> list[_Layer]:
    network, options = architecture.get("network"), architecture.get("options")
    options = options if isinstance(options, dict) else {}
    layers = []
    for entry in network if isinstance(network, list) else []:
        if isinstance(entry, dict):
            name, key = str(entry.get("name")), str(entry.get("op"))
            layers.append(_layer(name, str(options.get(name, "")), key))
    return layers


def _layer(name: str, option: str, key: str) -> _Layer:
    try:
        spec = OpSpec.parse(key)
        graph = spec.graph
    except InputError:  # an op of a plug-in that is not installed here
        return _Layer(name, option, key)
    parts = (
        f"{spec.kind} {spec.kernel} × {spec.kernel}" if spec.kernel > 1 else spec.kind,
        f"expansion {spec.expand}" if spec.expand > 1 else "",
        "squeeze-excite" if spec.se else "",
        f"stride {spec.stride}" if spec.stride > 1 else "",
    )
    shape = " × ".join(map(str, graph.output_shape))
    return _Layer(name, option, ", ".join(filter(None, parts)), shape, macs(graph), skipped=not graph.nodes)


# How numbers are written.


def _ms(value: object) -> str:
    number_ms = number(value)
    if number_ms is None:
        return _UNKNOWN
    return f"{number_ms:,.0f}" if abs(number_ms) >= 1000 else f"{number_ms:#.4g}"


def _percent(value: object) -> str:
    share = number(value)
    return _UNKNOWN if share is None else f"{share * 100:.1f} %"


def _scaled(value: object, base: int, units: str) -> str:
    amount = number(value)
    if amount is None:
        return _UNKNOWN
    power = min(len(units.split()), int(math.log(max(abs(amount), 1), base)))
    unit = ["", *units.split()][power]
    return f"{amount / base**power:.3g} {unit}" if power else f"{amount:.0f}"


def _count(value: object) -> str:
    return _scaled(value, 1000, "k M G T")


def _size(value: object) -> str:
    text = _scaled(value, 1024, "KiB MiB GiB")
    return text if "iB" in text or text == _UNKNOWN else f"{text} B"


def _seconds(value: object) -> str:
    seconds = number(value)
    if seconds is None:
        return _UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(entry)}" for key, entry in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not known" if value is None or isinstance(value, jinja2.Undefined) else str(value)


def _binomial(share: object, images: object) -> tuple[float, float] | None:
    """The exact 95 % interval of Clopper and Pearson (1934) of a share of so many images."""
    accuracy, n = number(share), number(images)
    if accuracy is None or n is None or n < 1 or not 0 <= accuracy <= 1:
        return None
    hits = round(accuracy * n)
    low = float(betaincinv(hits, n - hits + 1, 0.025)) if hits else 0.0
    high = float(betaincinv(hits + 1, n - hits, 0.975)) if hits < n else 1.0
    return low, high


def environment() -> jinja2.Environment:
    """Of the templates, with the filters that turn what files hold into text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hwnas.run", ""),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (number, _ms, _percent, _count, _size, _seconds, _text, _binomial)
    environment.filters |= {function.__name__.strip("_"): function for function in filters}
    return environment


# Plots: SVG whose colours are the page's, so that they follow light and dark.


def _candidates_plot(rows: list[tuple[str, float, float]], winner: str, budget_ms: float | None) -> Markup | None:
    if not rows:
        return None
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(5.0, 3.5), layout="constrained")
        axes = figure.add_subplot(xlabel="predicted latency, ms", ylabel="validation accuracy, %")
        looks: dict[str, dict[str, Any]] = {
            "candidate": {"marker": "o", "markersize": 6, "alpha": 0.55},
            "chosen": {"marker": "D", "markersize": 8, "markeredgecolor": _INK},
        }
        for label, look in looks.items():
            points = [
                (ms, 100 * accuracy) for choices, ms, accuracy in rows if (choices == winner) is (label == "chosen")
            ]
            if points:
                axes.plot(*zip(*points, strict=True), linestyle="none", color=ACCENT, label=label, **look)
        if budget_ms is not None:
            axes.axvline(budget_ms, color=BUDGET, linestyle="--", linewidth=1.4, label="budget")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        decorate(figure, [axes])
        return svg(figure, "Candidates: validation accuracy against predicted latency", "candidates")


def _epochs_plot(events: Iterable[dict[str, Any]], budget_ms: float | None) -> Markup | None:
    epochs = [event for event in events if event.get("event") == "epoch"]
    loss, expected = (_series(epochs, key) for key in ("loss", "expected_ms"))
    curves = [(values, label) for values, label in ((loss, "loss"), (expected, "expected latency, ms")) if values]
    if not curves:
        return None
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(5.0, 3.5), layout="constrained")
        panels = list(figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0])
        for axes, (values, label) in zip(panels, curves, strict=True):
            marker = "o" if len(values) == 1 else ""
            axes.plot(*zip(*sorted(values.items()), strict=True), marker=marker, color=ACCENT, linewidth=1.8)
            axes.set_ylabel(label)
            if values is expected and budget_ms is not None:
                axes.axhline(budget_ms, color=BUDGET, linestyle="--", linewidth=1.4, label="budget")
        panels[-1].set_xlabel("epoch of the search")
        panels[-1].xaxis.set_major_locator(MaxNLocator(6, integer=True))
        decorate(figure, panels)
        return svg(figure, "The search: loss and expected latency per epoch", "epochs")


def _series(epochs: Iterable[dict[str, Any]], key: str) -> dict[float, float]:
    pairs = ((number(event, "epoch"), number(event, key)) for event in epochs)
    return {epoch: value for epoch, value in pairs if epoch is not None and value is not None}


def decorate(figure: Figure, panels: list[Axes]) -> None:
    """The look that all plots share."""
    for axes in panels:
        axes.patch.set_visible(False)
        axes.tick_params(length=0)
        axes.grid(color=_LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(0.06, 0.08)
    figure.patch.set_visible(False)
    if any(axes.get_legend_handles_labels()[0] for axes in panels):
        figure.legend(loc="outside upper left", ncols=3, frameon=False, borderpad=0, handletextpad=0.5)


def svg(figure: Figure, label: str, prefix: str) -> Markup:
    """The figure as SVG for a page, in the colours of its style sheet; `prefix` keeps its ids apart from others."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue().partition("<svg ")[2]
    view_box = text[text.index("viewBox") : text.index(">")].split('"')[1]
    for pattern, replacement in (
        (r"\A.*?</style>\s*</defs>", f'<svg viewBox="{view_box}" role="img" aria-label="{label}">'),
        (r"font-family: [^;]*; ", ""),
        (r'<g id="[^"]*">', "<g>"),
        (r' id="', f' id="{prefix}-'),
        (r'xlink:href="#', f'href="#{prefix}-'),
        (r"url\(#", f"url(#{prefix}-"),
        *((colour, f"var({variable})") for colour, variable in _COLOURS.items()),
    ):
        text = re.sub(pattern, replacement, text, flags=re.DOTALL)
    return Markup(text)
