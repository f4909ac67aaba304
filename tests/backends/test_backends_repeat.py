"""The same network is the same bytes in every process, whatever its hash seed: what tables and checksums go by."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from networks import SPECS

from hwnas.arch import OpSpec, mobilenet_v2
from hwnas.backends import litert, onnx
from hwnas.backends.model_format import format_of
from hwnas.files import sha256

KEYS = list(dict.fromkeys(spec.key for spec in (*SPECS[:20], *SPECS[::9])))
PROGRAM = """
import json, sys
sys.path[:] = sys.argv[1:]
from test_backends_repeat import written
print(json.dumps(written()))
"""


def written() -> dict[str, Any]:
    """Fingerprints and files of every sort that is repeatable, made in this process."""
    specs = [OpSpec.parse(key) for key in KEYS]
    return {
        "onnx": [onnx.fingerprint(spec) for spec in specs],
        "litert": [litert.fingerprint(spec) for spec in specs],
        "onnx models": [sha256(onnx.micro_model(spec)) for spec in specs],
        "litert models": [sha256(litert.micro_model(spec)) for spec in specs],
        "int8": [
            sha256(format_of(name, "int8").random_model(mobilenet_v2(0.25, 16))) for name in ("onnxruntime", "litert")
        ],
    }


def test_the_same_bytes_in_another_process() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *sys.path], capture_output=True, text=True, check=True)
    here = written()
    assert here == json.loads(done.stdout.splitlines()[-1])
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in (*here["onnx"], *here["litert"]))
