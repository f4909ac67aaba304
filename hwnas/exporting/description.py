"""`model.json`: what model files say of themselves, for those who cannot ask them, such as a page in a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwnas.backends.model_facts import READERS, Tensor, describe
from hwnas.backends.model_format import format_of
from hwnas.files import sha256

NAME, FORMAT, VERSION = "model.json", "hwnas model", 1


def description(files: Sequence[Path], quantised: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of files of one network that hwnas exported: the classes, and by name what each reads and writes.

    Args:
        quantised: how files came to be int8, by their names.

    Raises:
        InputError: one of them cannot be read.
        ExportError: its metadata are damaged.
    """
    facts = {path.name: _metadata(path) for path in files}
    names = json.loads(next(iter(facts.values()))["names"])
    return {
        "format": FORMAT,
        "version": VERSION,
        "labels": [names[str(index)] for index in range(len(names))],
        "files": {path.name: _file(path, facts[path.name], quantised.get(path.name)) for path in files},
    }


def _metadata(path: Path) -> dict[str, str]:
    return dict(format_of(READERS[path.suffix][0]).metadata(path.read_bytes()))


def _file(path: Path, metadata: dict[str, str], int8: Mapping[str, Any] | None) -> dict[str, Any]:
    found = describe(path)
    (given,), (made,) = found.inputs, found.outputs
    own = {name.removeprefix("hwnas."): text for name, text in metadata.items() if name.startswith("hwnas.")}
    return {
        "bytes": found.size_bytes,
        "sha256": sha256(path.read_bytes()),
        "precision": own.get("precision", found.precision),
        "input": _tensor(given),
        "output": _tensor(made),
        "preprocess": json.loads(own["preprocess"]),
        "hwnas_version": own["version"],
        **({} if int8 is None else {"int8": int8}),
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape or ())}
