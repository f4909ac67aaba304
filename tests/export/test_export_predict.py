"""`hwnas predict` on models and images that nobody vouches for: what is refused, and what goes on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import hwnas
from hwnas.arch import space_instance
from hwnas.backends.interface import Interface
from hwnas.backends.model_format import format_of
from hwnas.backends.weights import random_weights
from hwnas.cli import app
from hwnas.errors import DataError, ExportError, InputError
from hwnas.exporting.model_metadata import with_interface
from hwnas.exporting.predict import ModelReader

CLASSES = ("[red]", "q[/b]", ":cat:")
METADATA = {"names": json.dumps(dict(enumerate(CLASSES))), "imgsz": "[8, 8]", "hwnas.color": "rgb"}
SCALE = {"hwnas.mean": "[0.5, 0.5, 0.5]", "hwnas.std": "[0.2, 0.2, 0.2]"}


def exported(folder: Path, runtime: str = "onnxruntime", *, damaged: bool = False, **changes: str) -> Path:
    """A model of three classes, with weights that are no numbers where it is damaged."""
    space = space_instance("toy", width=1.0, resolution=8, channels=3, classes=3)
    network, model_format = space.network(next(iter(space.enumerate()))), format_of(runtime)
    weights = random_weights(network.graph, 0)
    if damaged:
        weights = {name: np.full_like(value, np.nan) for name, value in weights.items()}
    path = folder / f"model{model_format.suffix}"
    path.write_bytes(model_format.model(network, weights, metadata=METADATA | SCALE | changes))
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), "red").save(path)
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, words)])


def documented() -> Callable[[Path, dict[str, Any]], np.ndarray]:
    """`read` of docs/export.md."""
    text = (Path(hwnas.__file__).parents[1] / "docs/export.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    return names["read"]


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize(("color", "channels"), [("rgb", 3), ("gray", 1)])
def test_an_app_that_does_what_is_documented_gets_the_same_pixels(
    fit: str, color: str, channels: int, tmp_path: Path
) -> None:
    said = {"hwnas.color": color, "hwnas.fit": fit, "imgsz": "[24, 40]"}
    scale = {"hwnas.mean": json.dumps([0.5] * channels), "hwnas.std": json.dumps([0.2] * channels)}
    metadata = with_interface(METADATA | said | scale, Interface("float", "probabilities", "nhwc"))
    space = space_instance("toy", width=1.0, resolution="24x40", channels=channels, classes=3)
    network, onnx = space.network(next(iter(space.enumerate()))), format_of("onnxruntime")
    model = tmp_path / "model.onnx"
    model.write_bytes(onnx.model(network, random_weights(network.graph, 0), metadata=metadata))
    reader, read = ModelReader(model), documented()
    noise = np.random.default_rng(0).integers(0, 256, (333, 507, 4), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise[..., :3]).save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(noise[:65, :42]).save(tmp_path / "transparent.png")
    for name in ("turned.jpg", "transparent.png"):
        ((_, found),) = reader.images(tmp_path / name)
        wanted = read(tmp_path / name, json.loads(metadata["hwnas.preprocess"]))
        assert (wanted.shape, wanted.dtype) == ((1, 24, 40, channels), np.float32)
        assert np.array_equal(wanted[0].transpose(2, 0, 1), found)


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_model_that_computes_no_numbers_is_refused(runtime: str, tmp_path: Path) -> None:
    model, image = exported(tmp_path, runtime, damaged=True), picture(tmp_path / "a.png")
    for words in ((), ("--json",)):
        done = run(model, image, *words)
        assert done.exit_code == 6, done.output
        assert "computes what is no number" in done.stderr
        assert "nan" not in done.stdout.lower()
    assert json.loads(done.stdout)["exit_code"] == 6
    with pytest.raises(ExportError):
        hwnas.predict(model, image)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"names": '{"0": "a"}'}, "names 1 class but computes 3 numbers"),
        ({"imgsz": "[1000000, 8]"}, "imgsz must be from 1 to 2048"),
        ({"imgsz": "[-8, 8]"}, "imgsz must be from 1"),
        ({"hwnas.mean": "[0.5]"}, "mean must be 3 finite numbers"),
        ({"hwnas.std": "[0.2, 0.0, 0.2]"}, "above 0"),
        ({"hwnas.normalised_inside": '{"mean": [0.5], "std": [0.2]}'}, "mean must be 3 finite numbers"),
        ({"hwnas.normalised_inside": '{"mean": [0.5, 0.5, 0.5]}'}, "lacks the metadata that hwnas writes: 'std'"),
        ({"hwnas.normalised_inside": "[0.5]"}, "lacks the metadata that hwnas writes: hwnas.normalised_inside"),
        ({"imgsz": "[16, 16]"}, "cannot use the model"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(changes: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        hwnas.predict(exported(tmp_path, **changes), picture(tmp_path / "a.png"))


def test_folders_are_gone_through_and_names_are_printed_as_they_are(tmp_path: Path) -> None:
    model, root = exported(tmp_path), tmp_path / "images"
    names = ["[red]/IMG[a].png", "[red]/q[/b]/1.png", "a:cat:.PNG", os.fsdecode(b"x\xff.png"), ".hidden/a.png", "b.txt"]
    for name in names:
        picture(root / name) if name != "b.txt" else (root / name).write_text("text")
    os.mkfifo(root / "pipe.png")
    (root / "loop").symlink_to(root)
    shown = sorted(str(root / name) for name in names[:4])
    found = json.loads(run(model, root, "--json").stdout)["predictions"]
    assert [one["image"] for one in found] == shown
    assert all(set(one["classes"]) == set(CLASSES) for one in found)
    shown.remove(str(root / names[3]))
    (root / names[3]).unlink()  # the runner of the tests, unlike the command line, cannot print it
    done = run(model, root, "--top", 1)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()[1:]
    assert [line.rsplit(None, 2)[0] for line in lines] == shown
    assert {line.split()[-2] for line in lines} <= set(CLASSES)


def test_it_goes_on_past_what_is_no_image(tmp_path: Path) -> None:
    model, good, bad = exported(tmp_path), picture(tmp_path / "good.png"), tmp_path / "[bad].png"
    bad.write_text("no image")
    (tmp_path / "empty").mkdir()
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    words = (
        model,
        bad,
        good,
        pipe,
        "/dev/zero",
        tmp_path / "missing.png",
        "~nobody/a.png",
        "n" * 300,
        tmp_path / "empty",
    )
    done = run(*words, "--top", 1)
    assert done.exit_code == 2
    assert "QOI" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [str(good)]
    assert done.stderr.count("warning: ") == 7
    for said in ("[bad].png: cannot identify", "pipe.png: it is not a regular file", "no images in the folder"):
        assert said in done.stderr
    assert "error: 7 images could not be read" in done.stderr
    content = json.loads(run(*words, "--json").stdout)
    assert (content["exit_code"], len(content["predictions"]), len(content["unreadable"])) == (2, 1, 7)
    assert content["unreadable"][0]["image"] == str(bad)


def test_a_missing_image_is_a_matter_of_its_path(tmp_path: Path) -> None:
    done = run(exported(tmp_path), tmp_path / "missing.png")
    assert done.exit_code == 2
    assert "hint: check the path" in done.stderr


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    model, empty = exported(tmp_path), tmp_path / "empty.png"
    empty.write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.png: the file is empty"):
        hwnas.predict(model, empty)


def test_a_model_of_a_terabyte_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(2**40)
    done = run(tmp_path / "model.onnx", picture(tmp_path / "good.png"))
    assert done.exit_code == 2
    assert "it has more than 2047 MiB" in " ".join(done.stderr.split())


def test_the_front_door_raises_or_tells(tmp_path: Path) -> None:
    model, good = exported(tmp_path), picture(tmp_path / "good.png")
    images: list[Any] = ["a\0.png", good]
    with pytest.raises(DataError, match="cannot read the image"):
        hwnas.predict(model, images)
    told: list[Path] = []
    found = hwnas.predict(model, images, on_unreadable=lambda path, error: told.append(path))
    assert ([one.image for one in found], told) == ([good], [Path("a\0.png")])
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(InputError, match="not a regular file"):
        hwnas.predict(tmp_path / "pipe.onnx", good)


GREY = np.arange(3 * 64, dtype=np.uint8).reshape(1, 3, 8, 8)
DARK = GREY % 2


@pytest.mark.parametrize(
    ("trained", "images", "same"),
    [
        (None, GREY.astype(np.float32), GREY),
        (None, GREY / 255, GREY),
        (None, DARK, DARK),
        (None, DARK / 255, DARK),
        (None, DARK * 0.0, DARK * 0),
        (None, DARK > 0, DARK * 255),
        ("0..1", DARK * 1.0, DARK * 255),
        ("0..1", GREY, GREY),
        ("0..1", DARK, DARK),
        ("0..255", DARK * 1.0, DARK),
        ("0..255", GREY * 1.0, GREY),
        (None, DARK * 1.0, "all in .* are 0 or 1, which could be either"),
        ("0..1", GREY * 1.0, "trained on floats from 0 to 1, but those of .* go up to 191"),
    ],
)
def test_arrays_are_on_the_scale_of_the_training(
    tmp_path: Path, trained: str | None, images: np.ndarray, same: np.ndarray | str
) -> None:
    model = exported(tmp_path, **({} if trained is None else {"hwnas.scale": trained}))
    np.save(tmp_path / "images.npy", images)
    if isinstance(same, str):
        with pytest.raises(DataError, match=same):
            hwnas.predict(model, tmp_path / "images.npy")
        return
    Image.fromarray(same[0].transpose(1, 2, 0)).save(tmp_path / "same.png")
    found, expected = hwnas.predict(model, [tmp_path / "images.npy", tmp_path / "same.png"])
    assert found.classes == expected.classes
