"""Packages that somebody forged: refused with one message, and nothing outside of them is read."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from package_files import command, resealed
from PIL import Image

from hwnas.api import verification
from hwnas.exporting.manifest import NAME
from hwnas.exporting.package_reader import open_package


def edited(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Changes a JSON file."""

    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        changed = change(content)
        text = json.dumps(content if changed is None else changed)
        (folder / name).write_text(text)

    return apply


def listing(name: str) -> Callable[[Path], None]:
    """The manifest lists a file of that name."""
    return edited(NAME, lambda content: content["files"].__setitem__(name, {"bytes": 4, "sha256": "0" * 64}))


def linked(name: str) -> Callable[[Path], None]:
    """A part is a link to an equal file outside."""

    def apply(folder: Path) -> None:
        outside = folder.parent / f"outside-{Path(name).name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return apply


def picture(size: tuple[int, int], mode: str = "RGB") -> Callable[[Path], None]:
    """Another golden image, with its checksum."""

    def apply(folder: Path) -> None:
        buffer = io.BytesIO()
        Image.new(mode, size).save(buffer, "png")
        (folder / "golden.png").write_bytes(buffer.getvalue())
        resealed(folder)

    return apply


def bomb(folder: Path) -> None:
    """A golden image of 400 million pixels in 100 bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    (folder / "golden.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    resealed(folder)


def sealed(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """Checksums fit the change."""

    def apply(folder: Path) -> None:
        change(folder)
        resealed(folder)

    return apply


def outside_weights(folder: Path) -> None:
    """The model keeps a constant of a node in a file outside."""
    model = onnx.load(folder / "model.onnx")
    constant = onnx.helper.make_node("Constant", [], ["unused"], value=numpy_helper.from_array(np.zeros(4, np.float32)))
    one = constant.attribute[0].t
    one.ClearField("raw_data")
    one.data_location = TensorProto.EXTERNAL
    entry = one.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    model.graph.node.insert(0, constant)
    onnx.save(model, folder / "model.onnx")
    resealed(folder)


def metadata_bomb(folder: Path) -> None:
    """Metadata of 40 MB behind a model, in 40 KB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", bytes(40_000_000))
    with (folder / "model.tflite").open("ab") as file:
        file.write(buffer.getvalue())
    resealed(folder)


def without_metadata(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, folder / "model.onnx")
    resealed(folder)


def sparse(folder: Path) -> None:
    """A README of a terabyte, of which nothing is on the disk."""
    with (folder / "README.md").open("wb") as file:
        file.truncate(2**40)
    edited(NAME, lambda content: content["files"]["README.md"].__setitem__("bytes", 2**31 - 1))(folder)


def piped(folder: Path) -> None:
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a part cut short": (lambda folder: os.truncate(folder / "model.tflite", 1000), "must have [0-9]+ bytes"),
    "another byte": (
        lambda folder: (folder / "README.md").write_bytes((folder / "README.md").read_bytes()[:-1] + b"!"),
        "SHA-256",
    ),
    "a part gone": (lambda folder: (folder / "golden.png").unlink(), r"cannot read .*golden\.png"),
    "a name outside": (listing("../secret.bin"), "files must be names"),
    "a name far outside": (listing("/etc/hostname"), "files must be names"),
    "a name with a drive": (listing("C:\\secret"), "files must be names"),
    "a name too deep": (listing("a/b/c"), "files must be names"),
    "a name with markup": (listing("[red]<b>x[/]"), "files must be names"),
    "a name of controls": (listing("x\x1b[2J\ny"), "files must be names"),
    "a hidden name": (listing(".bashrc"), "files must be names"),
    "a dot": (listing("."), "files must be names"),
    "itself": (listing(NAME), "files must be names"),
    "a part that is a link": (linked("model.onnx"), "not a symbolic link"),
    "a small part that is a link": (linked("labels.txt"), "not a symbolic link"),
    "a folder that is a link": (linked("snippets"), "must be a folder, not a link"),
    "a manifest that is a link": (linked(NAME), "not a symbolic link"),
    "a pipe": (piped, "regular file"),
    "a terabyte": (sparse, "must have at most 16 MiB"),
    "many files": (
        edited(NAME, lambda own: own["files"].update({f"f{k}": own["files"]["README.md"] for k in range(300)})),
        "from 1 to 256",
    ),
    "models of terabytes": (
        edited(
            NAME,
            lambda own: own["files"].update({f"{k}.onnx": {"bytes": 2**31 - 1, "sha256": "0" * 64} for k in range(9)}),
        ),
        "at most 4 GiB",
    ),
    "a negative size": (edited(NAME, lambda own: own["files"]["README.md"].__setitem__("bytes", -1)), "at least 0"),
    "no checksum": (edited(NAME, lambda own: own["files"]["README.md"].__setitem__("sha256", "x")), "hexadecimal"),
    "a later version": (edited(NAME, lambda own: own.__setitem__("version", 2)), "version must be 1"),
    "another format": (edited(NAME, lambda own: own.__setitem__("format", "zip")), "must be one of hwnas package"),
    "a budget that is no number": (edited(NAME, lambda own: own.__setitem__("budget_ms", float("nan"))), "finite"),
    "a budget of infinity": (
        lambda folder: (folder / NAME).write_text(
            (folder / NAME).read_text().replace('"budget_ms": ', '"budget_ms": 1e999, "x": ')
        ),
        "finite|not valid JSON",
    ),
    "a list": (edited(NAME, lambda own: [own]), "must be a table"),
    "deep nesting": (lambda folder: (folder / NAME).write_text("[" * 100_000), "nested|not valid JSON"),
    "no JSON": (lambda folder: (folder / NAME).write_bytes(b"\xff\xfe"), "not valid JSON"),
    "scores that are no numbers": (
        sealed(edited("golden.json", lambda own: own["files"]["model.onnx"].__setitem__("scores", [float("nan")] * 3))),
        "finite",
    ),
    "too few scores": (
        sealed(edited("golden.json", lambda own: own["files"]["model.onnx"]["scores"].__delitem__(0))),
        "must have 3 scores, not 2",
    ),
    "a wide tolerance": (
        sealed(edited("golden.json", lambda own: own["files"]["model.onnx"].__setitem__("tolerance", 2.0))),
        "tolerance of model.onnx must be at most 0.1",
    ),
    "an unknown class": (
        sealed(edited("golden.json", lambda own: own.__setitem__("label", 3))),
        "label must be below 3",
    ),
    "an image outside": (
        sealed(edited("golden.json", lambda own: own.__setitem__("image", "../golden.png"))),
        "must be one of golden.png",
    ),
    "an image that is not there": (
        sealed(edited("golden.json", lambda own: own.__setitem__("image", "golden.npy"))),
        r"files must have golden\.npy",
    ),
    "a file that is not described": (
        sealed(edited("golden.json", lambda own: own["files"].pop("model.onnx") and None)),
        "must name the model files",
    ),
    "an image of another size": (picture((9, 8)), "must be an image of 3 × 8 × 8 bytes"),
    "an image of another mode": (picture((8, 8), "L"), "must be an image of 3 × 8 × 8 bytes"),
    "a bomb of an image": (bomb, "must be an image|cannot be read"),
    "an image that is none": (
        sealed(lambda folder: (folder / "golden.png").write_bytes(b"BM" + bytes(60))),
        "cannot be read: cannot identify the kind of image",
    ),
    "a budget for a path": (
        edited(NAME, lambda own: own["searched"].__setitem__("file", "../model.onnx")),
        "the name of a model file",
    ),
    "a budget for a device of controls": (
        edited(NAME, lambda own: own["searched"].__setitem__("device", "\x1b[2J")),
        "the id of a device",
    ),
    "other classes": (
        sealed(lambda folder: (folder / "labels.txt").write_text("[red]\nx\ny\n")),
        "must have the classes",
    ),
    "values that an app is to normalise": (
        sealed(edited("model.json", lambda own: own["files"]["model.onnx"]["preprocess"].__setitem__("scale", 0.5))),
        "must be 1, as the model scales",
    ),
    "another input": (
        sealed(edited("model.json", lambda own: own["files"]["model.onnx"]["input"].__setitem__("name", "x"))),
        "must have one input",
    ),
    "another size of input": (
        sealed(
            edited("model.json", lambda own: own["files"]["model.onnx"]["preprocess"].__setitem__("resize", [8, 9]))
        ),
        "must be what its preprocess says",
    ),
    "a side of a million": (
        sealed(
            edited(
                "model.json", lambda own: own["files"]["model.onnx"]["preprocess"].__setitem__("resize", [10**6] * 2)
            )
        ),
        "at most 2048",
    ),
    "a bomb of metadata": (
        metadata_bomb,
        "model.tflite: must say that it reads pixels from 0 to 255, but the metadata of",
    ),
    "no metadata": (without_metadata, "model.onnx: must say that it reads pixels from 0 to 255 "),
    "weights outside": (outside_weights, "must hold its weights itself"),
    "no model": (sealed(lambda folder: (folder / "model.onnx").write_bytes(b"no model")), "is not an ONNX model"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_package_is_refused_with_one_message(
    kind: str, own_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 at once, and nothing outside of the folder is opened."""
    spoil, said = HOSTILE[kind]
    (own_package.parent / "secret.bin").write_bytes(b"abcd")
    spoil(own_package)
    opened: list[str] = []
    for place in (os, io):
        real = place.open

        def spied(path: Any, *rest: Any, real: Any = real, **more: Any) -> Any:
            opened.append(str(path))
            return real(path, *rest, **more)

        monkeypatch.setattr(place, "open", spied)
    monkeypatch.setattr(verification, "measure_file", lambda *_, **__: pytest.fail("it was run"))
    done = command("verify", own_package, "--quiet")
    assert done.exit_code == 2, done.output
    assert re.search(said, " ".join(done.stderr.split())), done.stderr
    assert done.stderr.count("error:") == 1
    assert "\x1b" not in done.stderr
    assert not [path for path in opened if "secret" in path or "outside" in path or "hostname" in path]
    assert [path for path in opened if NAME in path] or "manifest" in kind


def test_a_file_beside_the_parts_does_no_harm(own_package: Path) -> None:
    (own_package / ".DS_Store").write_bytes(b"x")
    (own_package / "notes").mkdir()
    assert len(open_package(own_package).models) == 4
