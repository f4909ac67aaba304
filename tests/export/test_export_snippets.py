"""The sources of packages: run, compiled, or their names and constants compared with what the files are."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hwnas.arch import space_instance
from hwnas.backends import npm
from hwnas.backends.interface import Interface
from hwnas.backends.model_format import format_of
from hwnas.backends.parity import trained_like
from hwnas.backends.torch import export_weights, network_module
from hwnas.data import image
from hwnas.data.dataset import Dataset, Images
from hwnas.data.reading import Reading
from hwnas.exporting.description import description
from hwnas.exporting.model_metadata import file_metadata
from hwnas.exporting.snippets import SNIPPETS, snippets
from hwnas.image_size import Size

STUB = Path(__file__).with_name("onnxruntime_stub")
HEADERS = [Path("/usr/include/onnxruntime"), Path("/usr/local/include/onnxruntime"), STUB]
"""Of ONNX Runtime's C++ API: the real ones where they are installed."""
CLASSES = ("a", "b", "c", "d")
KINDS = [
    ("onnx", 3, "crop", {}),
    ("onnx", 1, "pad", {"layout": "nhwc", "output": "logits"}),
    ("onnx", 3, "squash", {"input": "uint8"}),
    ("tflite", 3, "pad", {}),
    ("tflite", 1, "crop", {"input": "uint8", "output": "logits"}),
]


class Written:
    """A file with its sources, below a folder as a package has them; random pixels, and what it makes of them."""

    def __init__(self, folder: Path, suffix: str, channels: int, fit: Any, interface: dict[str, Any]) -> None:
        space = space_instance("toy", width=1.0, resolution=Size(8, 12), channels=channels, classes=len(CLASSES))
        network = space.network(next(iter(space.enumerate())))
        model_format = format_of("onnxruntime" if suffix == "onnx" else "litert")
        given: dict[str, Any] = {"input": "float", "output": "probabilities", "layout": model_format.layout}
        own = Interface(**given | interface, mean=(0.4,) * channels, std=(0.2,) * channels)
        pixels = np.random.default_rng(0).integers(0, 256, (4, channels, 8, 12), dtype=np.uint8)
        part = Images(pixels, np.arange(4))
        data = Dataset("noise", CLASSES, part, part, part, own.mean, own.std, flip=False, reading=Reading(fit))
        torch.manual_seed(0)
        module = network_module(network)
        trained_like(module, network, 0)
        weights = export_weights(module)
        metadata = file_metadata(data, network, own, {})
        self.model = folder / f"model.{suffix}"
        self.model.write_bytes(model_format.model(network, weights, metadata=metadata, interface=own))
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
        self.facts = description([self.model], {})["files"][self.model.name]
        self.pixels, self.fit, self.folder = pixels, fit, folder
        self.rows = model_format.run(self.model.read_bytes(), pixels)
        assert np.ptp(self.rows, axis=0).max() > 0.01
        self.texts = {}
        for one, (text, model) in snippets({self.model.name: self.facts}, "labels.txt").items():
            assert model == self.model.name
            path = folder / "snippets" / one.name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            self.texts[one.name] = text

    @property
    def probabilities(self) -> np.ndarray:
        if self.facts["preprocess"]["output"] == "probabilities":
            return self.rows
        powers = np.exp(self.rows - self.rows.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def picture(self, index: int = 0) -> Image.Image:
        own = self.pixels[index]
        return Image.fromarray(own[0] if len(own) == 1 else np.ascontiguousarray(own.transpose(1, 2, 0)))


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}-{kind[2]}")
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return Written(tmp_path, *request.param)


def loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_stack_that_reads_a_file_has_a_source(written: Written) -> None:
    colour = "rgb" if written.pixels.shape[1] == 3 else "gray"
    fitting = {one.name for one in SNIPPETS if written.model.suffix in one.reads and colour in one.colours}
    assert set(written.texts) == fitting
    assert len(fitting) >= 2
    assert not [name for name, text in written.texts.items() if re.search(r"\$[a-z_]", text) and "mjs" not in name]


def test_python_reads_pictures_as_training_does(written: Written) -> None:
    (name,) = [name for name in written.texts if name.endswith(".py")]
    module = loaded(written.folder / "snippets" / name)
    rng = np.random.default_rng(1)
    for height, width in ((31, 17), (8, 12), (5, 40)):
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        buffer = BytesIO()
        picture.save(buffer, "png")
        wanted = image.read(buffer, resolution=Size(8, 12), reading=Reading(written.fit)).astype(np.float64)
        if written.pixels.shape[1] == 1:
            wanted = np.tensordot([0.299, 0.587, 0.114], wanted, 1)[None]
        found = module.pixels(picture)
        assert found.dtype == written.facts["input"]["dtype"]
        assert list(found.shape) == written.facts["input"]["shape"]
        planes = found[0] if written.facts["preprocess"]["layout"] == "nchw" else found[0].transpose(2, 0, 1)
        np.testing.assert_allclose(planes, wanted, atol=0 if written.pixels.shape[1] == 3 else 1.5)


def test_python_runs_as_printed(written: Written) -> None:
    (name,) = [name for name in written.texts if name.endswith(".py")]
    written.picture().save(written.folder / "golden.png")
    expected = {"scores": written.rows[0].tolist(), "tolerance": 1e-3}
    for change, code in ((0.0, 0), (0.01, 1)):
        own = {**expected, "scores": [score + change for score in expected["scores"]]}
        (written.folder / "golden.json").write_text(json.dumps({"files": {written.model.name: own}}))
        ended, said = run_python(written, name)
        assert ended == code
        assert "golden image: off by" in said
    ended, said = run_python(written, name, "golden.png")
    assert ended == 0
    best = int(written.probabilities[0].argmax())
    shown, label = said.splitlines()[0].split()[-2:]
    assert (label, float(shown)) == (CLASSES[best], pytest.approx(written.probabilities[0][best], abs=1e-4))


def run_python(written: Written, name: str, *words: str) -> tuple[Any, str]:
    """Exit code and output of the program, in this process; tests/run/test_run_package.py starts others."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said:
        patch.chdir(written.folder)
        patch.setattr(sys, "argv", [name, *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(f"snippets/{name}", run_name="__main__")
    return ended.value.code, said.getvalue()


@pytest.mark.usefixtures("ort_web")
def test_javascript_runs_as_printed(written: Written) -> None:
    if "classify.mjs" not in written.texts:
        assert written.model.suffix == ".tflite"
        return
    rgba, path = written.picture().convert("RGBA").tobytes(), written.folder / "rgba"
    path.write_bytes(rgba)
    driver = Path(__file__).with_name("snippet_driver.mjs")
    words = ["node", driver, npm.folder(), written.folder / "snippets/classify.mjs", written.model, path]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), written.probabilities[0], atol=1e-4)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
@pytest.mark.parametrize("written", [*KINDS[1:3], pytest.param(KINDS[0], marks=pytest.mark.dear)], indirect=True)
def test_cpp_compiles_as_printed(written: Written) -> None:
    include = next(path for path in HEADERS if (path / "onnxruntime_cxx_api.h").is_file())
    source = written.folder / "snippets/classify.cpp"
    words = ["g++", "-std=c++17", "-fsyntax-only", "-Wall", "-Werror=conversion-null", f"-I{include}", str(source)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if include != STUB and list(Path("/usr/lib").rglob("libonnxruntime.so")):
        check_cpp(written, source, include)


def check_cpp(written: Written, source: Path, include: Path) -> None:
    """Where ONNX Runtime's library is installed, the source is run."""
    program = written.folder / "classify"
    words = ["g++", "-std=c++17", f"-I{include}", str(source), "-lonnxruntime", "-o", str(program)]
    subprocess.run(words, check=True)
    (written.folder / "pixels").write_bytes(written.pixels[0].transpose(1, 2, 0).tobytes())
    done = subprocess.run([program, "pixels"], capture_output=True, text=True, check=True, cwd=written.folder)
    np.testing.assert_allclose([float(line) for line in done.stdout.split()], written.probabilities[0], atol=1e-4)


CONSTANT = re.compile(
    r"^(?:private const val|let|constexpr[\w:* ]+?|export const) ?([A-Z_]+) ?= ?(.+?);?$", re.MULTILINE
)


def constants(text: str) -> dict[str, Any]:
    """Names and values at the top level of a source, as JSON reads the latter."""
    found = {}
    for name, value in CONSTANT.findall(text):
        try:
            found[name] = json.loads(value.removeprefix("ORT_TSTR(").removesuffix(")"))
        except ValueError:
            continue
    return found


@pytest.mark.parametrize("ending", [".kt", ".swift", ".mjs"])
def test_every_constant_is_that_of_model_json(written: Written, ending: str) -> None:
    preprocess, shape = written.facts["preprocess"], written.facts["input"]["shape"]
    planar = preprocess["layout"] == "nchw"
    known = {
        "MODEL": written.model.name,
        "LABELS": "labels.txt",
        "INPUT": written.facts["input"]["name"],
        "OUTPUT": written.facts["output"]["name"],
        "HEIGHT": shape[2 if planar else 1],
        "WIDTH": shape[3 if planar else 2],
        "CHANNELS": shape[1 if planar else 3],
        "CLASSES": written.facts["output"]["shape"][1],
        "NCHW": planar,
        "FLOAT": written.facts["input"]["dtype"] == "float32",
        "LOGITS": preprocess["output"] == "logits",
        "DTYPE": written.facts["input"]["dtype"],
        "LAYOUT": preprocess["layout"],
        "FIT": preprocess["fit"],
        "PAD_VALUE": preprocess.get("pad_value", 0),
    }
    for name, text in written.texts.items():
        if not name.endswith(ending):
            continue
        found = constants(text)
        assert {key: known[key] for key in found} == found, name
        assert {"MODEL", "HEIGHT", "WIDTH", "FIT"} <= set(found)
        used = set(re.findall(r"\b[A-Z][A-Z_]{2,}\b", re.sub(r"//.*|/\*\*.*|\"[^\"]*\"", "", text)))
        assert used & set(known) == set(found), f"{name} declares all that it uses"


def test_channels_that_are_no_colours_have_no_sources(tmp_path: Path) -> None:
    facts = Written(tmp_path, "onnx", 3, "crop", {}).facts
    assert snippets({"model.onnx": facts | {"preprocess": facts["preprocess"] | {"color": "none"}}}, "labels.txt") == {}


def test_a_stack_takes_the_first_file_that_it_reads(tmp_path: Path) -> None:
    facts = Written(tmp_path, "onnx", 3, "crop", {}).facts
    names = ("model.ort", "model-int8.onnx", "model.onnx", "model-fp16.tflite", "model.tflite")
    for order in itertools.permutations(names, 5):
        found = {one.name: model for one, (_, model) in snippets(dict.fromkeys(order, facts), "labels.txt").items()}
        assert found["classify.cpp"] == next(name for name in order if name.endswith(".onnx"))
        assert found["LiteRtClassifier.kt"] == next(name for name in order if name.endswith(".tflite"))
    only = {one.name: model for one, (_, model) in snippets({"model.ort": facts}, "labels.txt").items()}
    assert set(only.values()) == {"model.ort"}
    assert "LiteRtClassifier.kt" not in only
