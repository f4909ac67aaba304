"""What `bench_meta.py` writes: a page and a plot."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hwnas.files import write_bytes

HEAD = """# Meta-learned initialisations

Written by `tools/bench_meta.py`, whose first lines say what is measured and by which rules.
"""
_NAMES = {
    "scratch": "from scratch",
    "protonet": "ProtoNet, Conv-4",
    "warm": "plain warm start",
    "pooled": "search on all images of the learned classes",
    "reptile": "Reptile",
    "fomaml": "FOMAML",
    "episodes": "FOMAML without inner steps, from random weights",
    "meta": "meta-learned: the best of the three for each seed, by meta-validation",
}


def page(result: Mapping[str, Any], picture: str = "") -> str:
    """All parts that there are, as Markdown."""
    text = HEAD + (f"\n{result['note']}\n" if "note" in result else "")
    if "tasks" in result:
        text += _tasks(result["tasks"])
    if "devices" in result:
        text += _devices(result["devices"])
    if "transfer" in result:
        text += _transfer(result["transfer"])
    return text + (f"\n![curves]({picture})\n" if picture else "")


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ["---"] * len(heads), *lines)) + "\n"


def _tasks(part: Mapping[str, Any]) -> str:
    scale, seeds = part["scale"], part["seeds"]
    text = f"""
## One-shot tasks

{scale["ways"]}-way one-shot within an alphabet: one image of each class to adapt to, one to test. For each seed one
alphabet is tested on and another validated on; tested were {", ".join(part["tested"])}. Mean error ± one standard error
over the test tasks of {seeds} seed{"s" if seeds > 1 else ""}. *Images* are what the learning before the tasks saw, each
time that it went through the network. Reptile and FOMAML start from the weights of the warm start. There are
{scale["epochs"]} epochs of ordinary training, {scale["steps"]} outer steps, {scale["protonet_steps"]} episodes of the
ProtoNet. The chain is `{part["layers"]}`.

"""
    lines = []
    for row in part["rows"]:
        errors = [_plus_minus(row[norm], "{:.1f}") for norm in ("transductive", "support")]
        facts = part["networks"][row["network"]]
        size = f"{facts['mmacs']:.1f} M"
        ms = f"{facts['ms']:.3f}" if "ms" in facts else ""
        adaptations = "; ".join(row["adaptations"])
        errors.append(_plus_minus(row["less_protonet"], "{:+.1f}") if row["less_protonet"] else "")
        lines.append(
            [_NAMES[row["row"]], *errors, str(row["tasks"]), f"{row['images']:,}", facts["name"], size, ms, adaptations]
        )
    heads = ["row", "error, %, transductive batch norms", "error, %, statistics of the support set"]
    heads += ["less the ProtoNet's on the same tasks, transductive", "test tasks"]
    return text + table([*heads, "images", "network", "MACs", "ms", "adaptation, by validation tasks"], lines)


def _devices(part: Mapping[str, Any]) -> str:
    scale = part["scale"]
    text = f"""
## New devices and new classes

Half of the classes of {part["data"]} are new, with {scale["images"]} train images each, and so are the devices, whose
tables took no part in the learning: {", ".join(part["devices"])}. The budget is the middle of a device's range.
*Scratch* is a search and a training; a level is a share of the epochs that hwnas takes for so many images. The other
rows decode the architecture from what was learned, fit the classifier, and train for a share of the epochs. Accuracy on
test images ± one standard error over devices and seeds ({part["seeds"]}); cost is that of search and training. *Against
the warm start* is the mean difference at the same level, on the same device with the same seed.

What is learned on: of the other classes, {scale["images"]} images each by the first search, and {scale["learned"]:,}
each by the pooled one, from whose weights the meta-training starts ({scale["steps"]} outer steps). These two searches
took {part["learning_s"]["warm"]:.0f} and {part["learning_s"]["pooled"]:.0f} s of the processor.

"""
    lines = [
        [
            _NAMES[row["row"]].partition(":")[0],
            f"{point['level']:g}",
            str(point["runs"]),
            f"{100 * point['accuracy']:.1f} ± {100 * point['error']:.1f}",
            f"{point['images']:,.0f}",
            f"{point['seconds']:.0f}",
            "{:+.1f} ± {:.1f}".format(*(100 * value for value in point["against"])) if "against" in point else "",
        ]
        for row in part["rows"]
        for point in row["curve"]
    ]
    text += table(["row", "level", "runs", "accuracy, %", "images", "seconds of CPU", "against the warm start"], lines)
    text += "\nLeast cost at which a row is as good as scratch at level 1:\n\n"
    lines = [
        [
            _NAMES[row["row"]].partition(":")[0],
            *(_reached(row[f"{key}_to_equal"], row[f"{key}_factor"]) for key in ("images", "seconds")),
        ]
        for row in part["rows"]
    ]
    return text + table(["row", "images", "seconds of CPU"], lines)


def _transfer(part: Mapping[str, Any]) -> str:
    text = f"""
## Architectures across tasks

Architectures are decoded from the α of a search on the other data set, after 0, 10 and 100 % of a search on this one;
{part["images"]} train images of each class, budget in the middle of the range of {part["device"]}. All networks are
trained alike and no weights are transferred. Accuracy on test images ± one standard error over seeds.

"""
    lines = [
        [
            f"{row['source']} → {row['target']}",
            row["row"],
            str(row["seeds"]),
            _plus_minus(row["accuracy"], "{:.1f}"),
            _plus_minus(row["against_scratch"], "{:+.1f}") if row["row"] != "scratch" else "",
            f"{row['search_s']:.1f}",
            f"{row['use']:.0%}",
        ]
        for row in part["rows"]
    ]
    heads = ["α from → for", "row", "seeds", "accuracy, %", "against scratch", "seconds of search", "of the budget"]
    return text + table(heads, lines)


def _plus_minus(mean_and_error: Sequence[float | None], model_format: str) -> str:
    mean, error = (None if value is None else 100 * value for value in mean_and_error)
    return model_format.format(mean) + ("" if error is None else f" ± {error:.1f}")


def _reached(cost: float | None, factor: float | None) -> str:
    return "not reached" if cost is None or factor is None else f"{cost:,.0f} ({factor:.1f} × less)"


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Meta-validation accuracy against images, and accuracy on new devices against the cost."""
    parts = [name for name in ("tasks", "devices") if name in result]
    figure = Figure(figsize=(5.5 * len(parts), 4.0), layout="constrained")
    for nth, name in enumerate(parts, 1):
        axes = figure.add_subplot(1, len(parts), nth)
        if name == "tasks":
            axes.set(title="one-shot tasks, first seed", xlabel="images seen", ylabel="meta-validation accuracy")
            for row, history in result[name]["histories"].items():
                images, accuracies, errors = zip(*history, strict=True)
                axes.errorbar(images, accuracies, errors, label=_NAMES[row], capsize=2)
        else:
            axes.set(title="new devices and classes", xlabel="images seen", ylabel="test accuracy", xscale="log")
            for row in result[name]["rows"]:
                x, y, error = ([one[key] for one in row["curve"]] for key in ("images", "accuracy", "error"))
                axes.errorbar(x, y, error, label=_NAMES[row["row"]].partition(":")[0], capsize=2)
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=150, metadata={"Date": None})
    write_bytes(path, buffer.getvalue())
