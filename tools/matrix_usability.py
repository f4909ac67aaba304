"""What ONNX Runtime's checker for phones says of a model file, and of one network of every kind of space."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hwnas.arch import space_instance
from hwnas.arch.spaces import usual_constants
from hwnas.backends.weights import random_weights
from hwnas.exporting.file_kind import PROVIDERS, FileKind

SPACES = (
    "chain",
    "darts",
    "fbnet",
    "macro",
    "mobile",
    "nasbench201",
    "efficientnet-lite0",
    "mobilenet-v2",
    "mobilenet-v3-large",
    "tf-mobilenet-v3-large",
    "mobilenet-v4-conv-small",
    "ofa-mobilenet-v3",
)
"""Those of other sizes of a parent have the same operators."""
_CHECKER = "onnxruntime.tools.check_onnx_model_mobile_usability"
_MEAN, _STD = (0.5, 0.4, 0.3), (0.3, 0.2, 0.1)


def usability(path: Path) -> dict[str, str]:
    """Whether the model should do well as it is, by provider, in how many parts and nodes; or why that is not told."""
    words = [sys.executable, "-m", _CHECKER, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    parts = re.findall(r"(\d+) partitions with a total of (\d+)/(\d+) nodes can be handled by the (.+?) EP", text)
    words_of = dict(re.findall(r"should perform well with (.+?) as is: (\w+)", text))
    said = {name: f"{words_of[name]}: {count}, {taken} of {nodes}" for count, taken, nodes, name in parts}
    return said or {"not told": (done.stderr.strip().splitlines() or ["nothing"])[-1]}


def files_of_spaces(folder: Path) -> Iterator[tuple[str, Path]]:
    """A drawn network of every kind of space, written with `--providers nnapi,coreml`, by the name of its instance.

    Args:
        folder: for the files.
    """
    kind = FileKind("onnx", providers=PROVIDERS)
    for name in SPACES:
        width, size = usual_constants(name)
        space = space_instance(name, width=width, resolution=size, channels=len(_MEAN), classes=10)
        network = space.network(space.drawn(random.Random(0).randrange))
        path = folder / f"{name}.onnx"
        weights = random_weights(network.graph, 0)
        path.write_bytes(kind.model_format().model(network, weights, interface=kind.interface(_MEAN, _STD)))
        yield f"a network of `{space.name}`", path
