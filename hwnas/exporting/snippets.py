"""Sources for apps that classify with the files of a package: with the right names, shapes and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

FOLDER = "snippets"
_TEMPLATES = Path(__file__).with_name("templates")
_SUFFIX = ".tmpl"
_PARTS = {".py": ("head", "pixels"), ".kt": ("head", "pixels", "fitted", "named")}
"""What sources of a language have in common, by its ending."""
_ONNX, _TFLITE = (".onnx", ".ort"), (".tflite",)
_CHANNELS = {"gray": 1, "rgb": 3}


@dataclass(frozen=True)
class Snippet:
    """A source that an app can take.

    Attributes:
        name: of the file.
        stack: what it uses, for people.
        reads: endings of the model files that this stack reads, the better one first.
        colours: of the images that it reads.
    """

    name: str
    stack: str
    reads: tuple[str, ...]
    colours: tuple[str, ...] = ("gray", "rgb")


SNIPPETS = (
    Snippet("OnnxRuntimeClassifier.kt", "Kotlin, ONNX Runtime on Android", _ONNX),
    Snippet("LiteRtClassifier.kt", "Kotlin, LiteRT on Android", _TFLITE),
    Snippet("MediaPipeClassifier.kt", "Kotlin, MediaPipe Tasks on Android", _TFLITE, ("rgb",)),
    Snippet("OnnxRuntimeClassifier.swift", "Swift, ONNX Runtime on iOS and macOS", _ONNX),
    Snippet("classify.mjs", "JavaScript, onnxruntime-web in browsers and onnxruntime-node", _ONNX),
    Snippet("classify_onnxruntime.py", "Python, ONNX Runtime", _ONNX),
    Snippet("classify_litert.py", "Python, LiteRT", _TFLITE),
    Snippet("classify.cpp", "C++, ONNX Runtime", _ONNX),
)


def snippets(files: Mapping[str, Mapping[str, Any]], labels: str) -> dict[Snippet, tuple[str, str]]:
    """Each source that fits a package, with its text and the model file that it uses: the first that its stack reads.

    Images of other channels than grey and RGB are arrays, which every app has in its own way: there is no source for
    them.

    Args:
        files: by name, as `model.json` describes them.
        labels: name of the file with the class names.
    """
    found = {}
    for one in SNIPPETS:
        model = _first(one, files)
        if model is not None:
            found[one] = (_text(one.name, _values(model, files[model], labels)), model)
    return found


def _first(one: Snippet, files: Mapping[str, Mapping[str, Any]]) -> str | None:
    for suffix in one.reads:
        for name, facts in files.items():
            if name.endswith(suffix) and facts["preprocess"]["color"] in one.colours:
                return name
    return None


def _values(model: str, facts: Mapping[str, Any], labels: str) -> dict[str, str]:
    """What templates name, from what `model.json` says of a file."""
    preprocess, dtype = facts["preprocess"], facts["input"]["dtype"]
    height, width = preprocess["resize"]
    planar = preprocess["layout"] == "nchw"
    return {
        "model": model,
        "labels": labels,
        "input": facts["input"]["name"],
        "output": facts["output"]["name"],
        "height": str(height),
        "width": str(width),
        "channels": str(_CHANNELS[preprocess["color"]]),
        "classes": str(facts["output"]["shape"][-1]),
        "dtype": dtype,
        "layout": preprocess["layout"],
        "nchw": _truth(planar),
        "is_float": _truth(dtype == "float32"),
        "logits": _truth(preprocess["output"] == "logits"),
        "cpp_type": {"float32": "float", "uint8": "std::uint8_t"}[dtype],
        "colours": {"gray": "grey levels", "rgb": "red, green and blue of a pixel beside each other"}[
            preprocess["color"]
        ],
        "fit": preprocess["fit"],
        "pad_value": str(preprocess.get("pad_value", 0)),
    }


def _truth(value: bool) -> str:
    """As C++, Kotlin and Swift write it."""
    return "true" if value else "false"


def _text(name: str, values: Mapping[str, str]) -> str:
    """Of a template, with the parts that its language has in common."""
    parts = {part: _filled(f"{part}{Path(name).suffix}", values) for part in _parts(name)}
    return _filled(name, {**values, **parts}) + "\n"


def _parts(name: str) -> Sequence[str]:
    return _PARTS.get(Path(name).suffix, ())


def _filled(name: str, values: Mapping[str, str]) -> str:
    return Template((_TEMPLATES / f"{name}{_SUFFIX}").read_text(encoding="utf-8")).substitute(values).rstrip("\n")
