"""Every file that `hwnas export` writes, in every runtime that apps use: the same classes, and scores how far off?

    python tools/bench_matrix.py RUN --out matrix.json --page docs/results/matrix.md

Exports the network of a run, and gives at least 200 test images to each runtime, in a process and mostly in a Python of
its own that the tool makes below --cache. Cells that are in --out already, of the same files and images, are not run
again; one that cannot be run says why. `--only` takes the runtimes whose names it is in. Python on arm64 is the command
--arm64, such as 'qemu-aarch64 -L arm64 arm64/usr/bin/python3', which needs numpy and onnxruntime. In Debian 12's qemu
7.2 that is ONNX Runtime 1.27 at most: versions from 1.28 to 1.32 end by signal 11 as they are imported.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matrix_report import HEADS, markdown, row_of
from matrix_usability import files_of_spaces, usability
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Screen

import hwnas
from hwnas.config import load_configuration
from hwnas.exporting.predict import ModelReader
from hwnas.files import cache_folder, sha256, sha256_of, write_json, write_text
from hwnas.run.images import images_of
from hwnas.run.run_folder import RunFolder
from hwnas.schema import read_json

CELL = Path(__file__).with_name("matrix_cell.py")
PRECISIONS = ("fp32", "fp16", "int8")
OLD_NUMPY = "numpy<2"
_INSTALL_S, _RUN_S = 1800, 600


@dataclass(frozen=True)
class Runtime:
    """A column of the matrix.

    Attributes:
        name: as people call it.
        function: of matrix_cell.py.
        suffix: of the files that it reads.
        packages: that pip installs into a Python of its own; none where it is this one.
        colour: whether it reads colour images alone.
    """

    name: str
    function: str
    suffix: str
    packages: tuple[str, ...] = ()
    colour: bool = False


RUNTIMES = (
    Runtime("ONNX Runtime, newest", "onnxruntime", ".onnx", ("onnxruntime", "numpy")),
    Runtime("ONNX Runtime, oldest", "onnxruntime", ".onnx", ("onnxruntime==OLDEST", OLD_NUMPY)),
    Runtime("ONNX Runtime Web in Node", "ort_web_node", ".onnx"),
    Runtime("ONNX Runtime Web in Chromium", "ort_web_chromium", ".onnx"),
    Runtime("ONNX Runtime on arm64", "onnxruntime", ".onnx"),
    Runtime("Ultralytics AutoBackend", "ultralytics", ".onnx", ("torch==2.13.0", "ultralytics", "onnx", "onnxruntime")),
    Runtime("LiteRT", "litert", ".tflite", ("ai-edge-litert", "numpy")),
    Runtime("tflite-runtime", "tflite_runtime", ".tflite", ("tflite-runtime", OLD_NUMPY)),
    Runtime("MediaPipe Tasks", "mediapipe", ".tflite", ("mediapipe",), colour=True),
    Runtime("TFLite Task Library", "task_library", ".tflite", ("tflite-support", OLD_NUMPY), colour=True),
)
ARM64 = RUNTIMES[4].name


class CannotRunError(Exception):
    """Why a cell has no scores."""


def main(
    run: Annotated[Path, typer.Argument(help="A finished run, best on colour images: some runtimes read no others.")],
    out: Annotated[Path, typer.Option(help="JSON file of the cells.")] = Path("matrix.json"),
    page: Annotated[Path | None, typer.Option(help="Markdown file for the tables.")] = None,
    images: Annotated[int, typer.Option(min=200, help="Test images, at most.")] = 256,
    only: Annotated[str, typer.Option(help="Part of the name of the runtimes to run.")] = "",
    arm64: Annotated[str, typer.Option(help="Command of a Python for arm64.")] = "",
    max_drop: Annotated[float, typer.Option(help="Percentage points that int8 may cost.")] = 5.0,
    cache: Annotated[Path | None, typer.Option(help="Folder of the Pythons.")] = None,
) -> None:
    """Run what is missing, and print the matrix."""
    bench = Bench(run, images, max_drop, (cache or cache_folder() / "matrix").absolute(), arm64)
    found: dict[str, Any] = read_json(out) if out.exists() else {}
    found["run"] = bench.about()
    cells = found.setdefault("cells", {})
    for runtime in RUNTIMES:
        for file in bench.files(runtime.suffix):
            key, marks = f"{file.name} in {runtime.name}", bench.marks(file)
            known = cells.get(key, {})
            if only.lower() not in runtime.name.lower() or (known.get("marks") == marks and "why" not in known):
                continue
            cells[key] = {"file": file.name, "runtime": runtime.name, "marks": marks} | bench.cell(file, runtime)
            write_json(out, found)
            print(f"{key}: {cells[key].get('why', 'done')}", file=sys.stderr)
    found["usability"] = dict(bench.usability(found.get("usability", {})))
    write_json(out, found)
    rows = [cells[key] for key in sorted(cells, key=_place)]
    screen = Screen(*HEADS)
    for cell in rows:
        screen.add_row(*row_of(cell))
    Console(width=180).print(screen)
    for name, one in found["usability"].items():
        print(f"{name}: " + ", ".join(f"{provider} {word}" for provider, word in one["said"].items()))
    if page is not None:
        write_text(page, markdown(found, rows))


class Bench:
    """The files of a run, and what they are given."""

    def __init__(self, run: Path, images: int, max_drop: float, cache: Path, arm64: str) -> None:
        self._cache, self._arm64 = cache, arm64
        folder, self._work = RunFolder(run), cache / "work"
        reader = ModelReader(folder.exported)
        dataset = images_of(load_configuration(folder.config), reader.size, counted=1, tell=lambda _: None)
        chosen = np.linspace(0, len(dataset.test) - 1, min(images, len(dataset.test))).astype(np.int64)
        part = dataset.test.subset(chosen)
        if len(part) < 200:
            raise SystemExit(f"the run has {len(part)} test images, but the matrix takes at least 200")
        self._pixels, self._names, self._data = np.asarray(part.pixels), reader.names, dataset.name
        self._given = self._work / "images.npz"
        self._work.mkdir(parents=True, exist_ok=True)
        np.savez(self._given, images=self._pixels.transpose(0, 2, 3, 1), names=np.array(self._names))
        plain, whole = self._work / "plain", self._work / "providers"
        result = hwnas.export(run, formats=["onnx", "tflite"], precisions=PRECISIONS, max_drop=max_drop, out=plain)
        self._drops = {Path(one["path"]).name: one["val_drop"] for one in result.to_json()["files"]}
        self._files = [one.path for one in result.files]
        providers = ["nnapi", "coreml"]
        self._whole = [one.path for one in hwnas.export(run, providers=providers, out=whole).files]
        self._wanted = _trained(folder, reader, self._pixels)
        self._usual = {path: self._here(path) for path in self._files}

    def about(self) -> dict[str, Any]:
        """What the matrix is of."""
        count, channels, height, width = self._pixels.shape
        size = f"{height} × {width} × {channels}"
        return {"data": self._data, "images": count, "size": size, "classes": len(self._names), "int8": self._drops}

    def files(self, suffix: str) -> list[Path]:
        return [path for path in self._files if path.suffix == suffix]

    def marks(self, file: Path) -> list[str]:
        """What a cell is of."""
        return [sha256_of(file)[:16], sha256(self._pixels.tobytes())[:16]]

    def cell(self, file: Path, runtime: Runtime) -> dict[str, Any]:
        """Version of the runtime, share of equal classes, and largest differences of scores; or why there are none."""
        try:
            if runtime.colour and self._pixels.shape[1] != 3:
                raise CannotRunError("it reads colour images alone")
            scores, version = self._scores(file, runtime)
        except CannotRunError as error:
            return {"why": str(error)}
        same = int((scores.argmax(1) == self._usual[file].argmax(1)).sum())
        return {
            "version": version,
            "same_as_usual": same,
            "difference_from_usual": float(np.abs(scores - self._usual[file]).max()),
            "same_as_trained": int((scores.argmax(1) == self._wanted.argmax(1)).sum()),
            "difference_from_trained": float(np.abs(scores - self._wanted).max()),
        }

    def usability(self, known: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """What ONNX Runtime's checker for phones says: of the usual file, of that with --providers, of all spaces.

        Args:
            known: what it said before, which holds for equal files.
        """
        plain, whole = self._files[0], self._whole[0]
        named = [(plain.name, plain), (f"{plain.name}, --providers nnapi,coreml", whole), *files_of_spaces(self._work)]
        for name, path in named:
            mark, before = sha256_of(path)[:16], known.get(name, {})
            yield name, before if before.get("mark") == mark else {"mark": mark, "said": usability(path)}

    def _here(self, file: Path) -> NDArray[np.float32]:
        return ModelReader(file).probabilities(list(self._pixels))

    def _scores(self, file: Path, runtime: Runtime) -> tuple[NDArray[np.float32], str]:
        out = self._work / "scores.npz"
        out.unlink(missing_ok=True)
        words = [*self._python(runtime), str(CELL), runtime.function, str(file), str(self._given), str(out)]
        said = _run(words, _RUN_S)
        if not out.exists():
            raise CannotRunError(said or "it ended without a word")
        with np.load(out) as archive:
            return archive["scores"], f"{archive['version']}"

    def _python(self, runtime: Runtime) -> list[str]:
        """The command of a Python that has the runtime."""
        if runtime.name == ARM64:
            if not self._arm64:
                raise CannotRunError("no --arm64 was given")
            return shlex.split(self._arm64)
        if not runtime.packages:
            return [sys.executable]
        folder = self._cache / re.sub(r"\W+", "-", runtime.name.lower())
        python, mark = folder / "bin" / "python", folder / "installed.json"
        if not mark.exists():
            packages = [one.replace("OLDEST", self._oldest()) if "OLDEST" in one else one for one in runtime.packages]
            _must([sys.executable, "-m", "venv", "--clear", str(folder)])
            _must([str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *packages])
            write_json(mark, packages)
        return [str(python)]

    def _oldest(self) -> str:
        """The oldest ONNX Runtime that pip has for this Python."""
        done = subprocess.run(
            [sys.executable, "-m", "pip", "index", "versions", "onnxruntime"],
            capture_output=True,
            text=True,
            check=False,
        )
        listed = re.search(r"Available versions: (.+)", done.stdout)
        if listed is None:
            raise CannotRunError(f"pip does not list the versions of onnxruntime: {_last(done.stderr)}")
        return listed[1].split(", ")[-1].strip()


def _trained(folder: RunFolder, reader: ModelReader, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities that the trained network gives in torch."""
    import torch

    from hwnas.arch.network import Network
    from hwnas.backends.torch import load_weights, network_module
    from hwnas.data import to_input
    from hwnas.train import checkpoint

    network = Network.from_json(read_json(folder.architecture)["network"])
    module = network_module(network).eval()
    load_weights(module, {name: one.numpy() for name, one in checkpoint.load(folder.weights)[0].items()})
    with torch.inference_mode():
        logits = module(to_input(torch.from_numpy(pixels), reader.mean, reader.std))
        return np.asarray(logits.softmax(1).numpy(), np.float32)


def _run(words: list[str], longest_s: float) -> str:
    """The last line that a command says of its failure; '' where it ended well."""
    environment = {"YOLO_AUTOINSTALL": "false", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=longest_s,
            check=False,
            env=os.environ | environment,
        )
    except subprocess.TimeoutExpired:
        return f"it was not done after {longest_s:g} s"
    except OSError as error:
        return f"{words[0]} cannot be started: {error.strerror or error}"
    if done.returncode < 0:
        return f"its process was ended by signal {-done.returncode}: {_last(done.stderr)}"
    return "" if done.returncode == 0 else _last(done.stderr)


def _must(words: list[str]) -> None:
    if said := _run(words, _INSTALL_S):
        raise CannotRunError(f"it cannot be installed: {said}")


def _last(text: str) -> str:
    """The last line, which is the error of a Python program, without paths of this machine."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(\w+\.)*\w*(Error|Exception)\b|ERROR", line)]
    line = (errors or lines or ["it said nothing"])[-1]
    return re.sub(r"/[\w./-]*/", "", line)[:300]


def _place(key: str) -> tuple[int, int]:
    file, _, runtime = key.partition(" in ")
    names = [one.name for one in RUNTIMES]
    precision = next((index for index, one in enumerate(PRECISIONS) if one in file), 0)
    return names.index(runtime), precision


if __name__ == "__main__":
    typer.run(main)
