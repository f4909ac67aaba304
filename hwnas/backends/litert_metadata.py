"""The metadata of .tflite files: hwnas's own, in a zip archive behind the model, and TensorFlow Lite's.

The latter describe an image classifier for MediaPipe Tasks, the Task Library and Android Studio. Their tables and
fields are those of `metadata_schema.fbs` of tflite-support, version 1.0.0; a field goes by its number there.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hwnas.backends.interface import Interface, Output
from hwnas.backends.tflite_tables import flatbuffers
from hwnas.errors import ExportError
from hwnas.schema import json_as

METADATA = "metadata.json"
"""The file in the zip archive behind the model with what hwnas says of it."""
METADATA_NAME = "TFLITE_METADATA"
"""Of the entry of the model that holds TensorFlow Lite's."""
LABELS = "labels.txt"
"""The file in the zip archive behind the model that names the classes, one a line."""

_LARGEST_METADATA = 16 << 20
_IDENTIFIER, _PARSER = b"M001", "1.0.0"
_COLOUR_SPACES = {"rgb": 1, "gray": 2}
_FEATURES, _IMAGE = 1, 2  # content
_NORMALIZATION = 1  # a process unit
_AXIS_LABELS = 2  # an associated file


def archived(metadata: Mapping[str, str]) -> bytes:
    """A zip archive of the metadata, the same bytes for the same metadata; nothing for none.

    Of a file that reads pixels it has the names of the classes as well. Nothing is compressed, as MediaPipe wants it.
    """
    if not metadata:
        return b""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps(dict(sorted(metadata.items())), ensure_ascii=False))
        if Interface.of_metadata(metadata).pixels:
            archive.writestr(zipfile.ZipInfo(LABELS), _label_text(metadata))
    return buffer.getvalue()


def metadata_of(model: bytes) -> dict[str, str]:
    """The metadata that `litert_model` put behind the model; none where it did not.

    Raises:
        ExportError: they are damaged.
    """
    try:
        tail = model[-2 * _LARGEST_METADATA :]  # of a list of entries that fills the file, so much is read at most
        with zipfile.ZipFile(io.BytesIO(tail)) as archive, archive.open(METADATA) as file:
            content = file.read(_LARGEST_METADATA)
    except (zipfile.BadZipFile, KeyError):
        return {}
    except (ValueError, OSError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise ExportError(f"the metadata of the model are damaged: {error}") from error
    return json_as(content, dict[str, str], "the metadata of the model", error=ExportError)


def _label_text(metadata: Mapping[str, str]) -> str:
    """The class names that the metadata of a file hold, one a line; empty where they hold none."""
    names = json.loads(metadata.get("names", "{}"))
    return "".join(f"{names[str(index)]}\n" for index in range(len(names)))


def model_metadata(metadata: Mapping[str, str], output: Output) -> bytes:
    """The flatbuffer `ModelMetadata` of a classifier that reads pixels from 0 to 255 and normalises them itself.

    Args:
        metadata: of the file: description, version, author, license, names and hwnas.color.
    """
    tables = _Tables()
    given = tables.table({0: tables.text("image"), 1: tables.text("pixels from 0 to 255"), **_image(tables, metadata)})
    labels = tables.table({0: tables.text(LABELS), 1: tables.text("the classes")}, {2: _AXIS_LABELS})
    features = tables.table({1: tables.table({})}, {0: _FEATURES})
    words = {0: tables.text(output), 1: tables.text(f"{output} of the classes")}
    made = tables.table({**words, 3: features, 6: tables.vector([labels])})
    graph = tables.table({2: tables.vector([given]), 3: tables.vector([made])})
    texts = {0: "description", 1: "description", 2: "version", 4: "author", 5: "license"}
    root = {field: tables.text(metadata.get(name, "")) for field, name in texts.items()}
    return tables.file(tables.table({**root, 3: tables.vector([graph]), 7: tables.text(_PARSER)}))


def _image(tables: _Tables, metadata: Mapping[str, str]) -> dict[int, int]:
    """Content, process units and statistics of the input: (x - 0) / 1 is all that is left to do before the graph."""
    space = _COLOUR_SPACES.get(metadata.get("hwnas.color", ""))
    kind, content = (_FEATURES, tables.table({})) if space is None else (_IMAGE, tables.table({}, {0: space}))
    options = tables.table({0: tables.floats([0.0]), 1: tables.floats([1.0])})
    return {
        3: tables.table({1: content}, {0: kind}),
        4: tables.vector([tables.table({1: options}, {0: _NORMALIZATION})]),
        5: tables.table({0: tables.floats([255.0]), 1: tables.floats([0.0])}),
    }


class _Tables:
    """Writes tables, each after those that it refers to; what comes back is a place in the flatbuffer."""

    def __init__(self) -> None:
        self._builder: Any = flatbuffers.Builder(1024)

    def text(self, value: str) -> int:
        return int(self._builder.CreateString(value))

    def floats(self, values: Sequence[float]) -> int:
        return int(self._builder.CreateNumpyVector(np.array(values, np.float32)))

    def vector(self, places: Sequence[int]) -> int:
        self._builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self._builder.PrependUOffsetTRelative(place)
        return int(self._builder.EndVector())

    def table(self, places: Mapping[int, int], kinds: Mapping[int, int] | None = None) -> int:
        """A table by the numbers of its fields: `places` of what is written already, and `kinds`, which are bytes."""
        kinds = kinds or {}
        self._builder.StartObject(max([*places, *kinds], default=-1) + 1)
        for field, place in places.items():
            self._builder.PrependUOffsetTRelativeSlot(field, place, 0)
        for field, kind in kinds.items():
            self._builder.PrependUint8Slot(field, kind, 0)
        return int(self._builder.EndObject())

    def file(self, root: int) -> bytes:
        self._builder.Finish(root, _IDENTIFIER)
        return bytes(self._builder.Output())
