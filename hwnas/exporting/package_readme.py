"""The README.md of a package: how an app uses these very models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from hwnas.display import counted, ms
from hwnas.exporting.manifest import Tested
from hwnas.exporting.snippets import FOLDER, Snippet

NAME = "README.md"
_TEMPLATE = Path(__file__).with_name("templates") / f"{NAME}.tmpl"
_COLOURS = {"rgb": "in colour: red, green, blue", "gray": "in grey levels: 0.299 red + 0.587 green + 0.114 blue"}
_FITS = {
    "crop": "Of a picture of another shape it is the centre: the largest part that has this shape, resized.",
    "pad": "A picture of another shape is resized to fit inside, in the middle, on grey of the level {pad_value}.",
    "squash": "A picture of another shape is stretched to this size.",
}
_RESIZED = " Resize by bilinear interpolation that averages (antialiased) when it makes pictures smaller."
_OUTPUTS = {
    "probabilities": "The probability of each class, as floats.",
    "logits": "The logit of each class, as floats; a softmax makes probabilities of them.",
}


@dataclass(frozen=True)
class RunFacts:
    """What a run says of the model file that it shipped.

    Attributes:
        data: name of the images.
        model: name of the file, for people: format and precision.
        budget_ms, measured_ms: in milliseconds; None where it had none, or was not measured.
        device, condition: that it was measured on, and under.
    """

    data: str
    model: str
    budget_ms: float | None
    measured_ms: float | None
    device: str
    condition: str


def package_readme(
    description: Mapping[str, Any],
    facts: RunFacts,
    tested: Mapping[str, Tested],
    sources: Mapping[Snippet, tuple[str, str]],
    *,
    labels: str,
    golden: str,
) -> str:
    """The text.

    Args:
        description: what `model.json` says.
        tested: by name of the file.
        sources: the snippets, with text and model file.
        labels, golden: names of the files.
    """
    files = description["files"]
    first = next(iter(files.values()))
    preprocess = first["preprocess"]
    height, width = preprocess["resize"]
    channels = first["input"]["shape"][1 if preprocess["layout"] == "nchw" else 3]
    fit = _FITS[preprocess["fit"]].format(pad_value=preprocess.get("pad_value", 0)) + _RESIZED
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        classes=counted(len(description["labels"]), "class", "classes"),
        version=first["hwnas_version"],
        data=_plain(facts.data),
        labels=labels,
        files=_files(files, tested),
        height=height,
        width=width,
        colour=_COLOURS.get(preprocess["color"], f"of {counted(channels, 'channel')}, as the training data have them"),
        fit=fit,
        output=f"`{first['output']['name']}`, of shape 1 × {len(description['labels'])}. "
        f"{_OUTPUTS[preprocess['output']]}",
        latency=_latency(facts),
        golden=golden,
        sources=_sources(sources),
    )


def _plain(text: str) -> str:
    """Text of others, which must not end the code that it stands in."""
    return " ".join(text.replace("`", "'").split()) or "images"


def _files(files: Mapping[str, Mapping[str, Any]], tested: Mapping[str, Tested]) -> str:
    lines = ["| File | Precision | KiB | Input | Values | Test accuracy |", "|---|---|---|---|---|---|"]
    for name, one in files.items():
        shape = " × ".join(map(str, one["input"]["shape"]))
        own = tested[name]
        accuracy = f"{own.accuracy:.2%} of {counted(own.images, 'image')}"
        lines.append(
            f"| `{name}` | {one['precision']} | {one['bytes'] / 1024:.0f} | `{one['input']['name']}`, {shape}, "
            f"{one['preprocess']['layout']} | {one['input']['dtype']} | {accuracy} |"
        )
    return "\n".join(lines)


def _latency(facts: RunFacts) -> str:
    if facts.measured_ms is None:
        return "Nothing was measured. `hwnas verify FOLDER --device DEVICE --budget-ms MS` does that."
    budget = "" if facts.budget_ms is None else f", of a budget of {ms(facts.budget_ms)} ms"
    return (
        f"The search ended with {_plain(facts.model)}, which took {ms(facts.measured_ms)} ms{budget}, on the device "
        f"`{_plain(facts.device)}` (`{_plain(facts.condition)}`). Other files, devices and versions of a runtime take "
        "another time: `hwnas verify FOLDER --device DEVICE` measures it."
    )


def _sources(sources: Mapping[Snippet, tuple[str, str]]) -> str:
    if not sources:
        return "There are none for images of these channels: give arrays to the runtime, as the table of files says."
    lines = [
        "They carry the names, sizes and preprocessing of these files. For another file of the same stack, change its",
        "name and what the table says otherwise of it.",
        "",
        "| Source | For | File |",
        "|---|---|---|",
    ]
    lines += [f"| `{FOLDER}/{one.name}` | {one.stack} | `{model}` |" for one, (_, model) in sources.items()]
    return "\n".join(lines)
