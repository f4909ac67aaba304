"""Runs models by onnxruntime-web in a Node process, which answers in JSON lines (`ort_web.mjs`).

It needs nothing of hwnas: `hwnas/devices/runner.py`, which measures, runs it from here.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("ort_web.mjs")
_LARGEST_SIZE = 2**31 - 1  # an open one without a name is -1, unsigned
STAT = "/proc/{}/stat"


class NodeError(RuntimeError):
    """Node ended by itself, or was ended."""


class OrtWeb:
    """The WASM build on one thread, with all graph optimisations; a call is `session.run` on tensors of JavaScript.

    Raises:
        RuntimeError: from every method, where onnxruntime-web fails; as `NodeError` where Node does.
    """

    ended: tuple[type[Exception], ...] = (NodeError,)
    errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, MemoryError)

    def __init__(self, folder: str) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 as it lives as long as the process
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._stderr}
        self._node = subprocess.Popen(["node", str(SCRIPT), folder], **pipes, text=True, encoding="utf-8")

    def load(
        self, path: str, values: Callable[[str, Sequence[int], str], Any]
    ) -> Callable[[int, int, float, int], list[float]]:
        """A function that times the model; see `sample` in runner.py."""
        model, inputs = self.open(path)
        self.run(model, {name: values(name, shape, dtype) for name, (dtype, shape) in inputs.items()})

        def sample(batch: int, fewest: int, for_ms: float, warmup: int) -> list[float]:
            answer = self._ask(time=model, batch=batch, fewest=fewest, for_ms=for_ms, warmup=warmup)
            samples_us: list[float] = answer["samples_us"]
            return samples_us

        return sample

    def open(self, path: str) -> tuple[int, dict[str, tuple[str, list[int]]]]:
        """The model's number, and type and shape of each of its inputs; an open dimension is 1."""
        answer = self._ask(load=path)
        inputs = {
            name: (dtype, [size if isinstance(size, int) and size <= _LARGEST_SIZE else 1 for size in shape])
            for name, dtype, shape in answer["inputs"]
        }
        return answer["model"], inputs

    def run(self, model: int, feeds: Mapping[str, Any]) -> list[Any]:
        """The outputs of a model, as arrays; None for text."""
        import numpy as np

        sent = {
            name: [one.dtype.name, one.shape, base64.b64encode(one.tobytes()).decode()] for name, one in feeds.items()
        }
        outputs = self._ask(run=model, feeds=sent)["outputs"]
        return [
            None if dtype == "string" else np.frombuffer(base64.b64decode(data), dtype).reshape(shape)
            for dtype, shape, data in outputs
        ]

    def drop_models(self) -> None:
        """Free all models but the first one that was opened."""
        self._ask(keep=1)

    def evict(self, size: int) -> None:
        """Read and write so many bytes in Node, so that nothing else is left in the caches."""
        self._ask(evict=size)

    def cpu_s(self) -> float:
        """Seconds of CPU time that this process and Node have taken."""
        return time.process_time() + cpu_s(self._node.pid)

    def close(self) -> None:
        """End Node."""
        self._node.communicate()
        self._stderr.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        try:
            self._node.stdin.write(json.dumps(request) + "\n")
            self._node.stdin.flush()
            line = self._node.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._node.wait()
            self._stderr.seek(0)
            said = re.findall(r"^\w*Error\b.*", self._stderr.read().decode(errors="replace"), re.MULTILINE)
            raise NodeError(f"node ended with code {code}: {said[0] if said else 'no message'}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def cpu_s(pid: int) -> float:
    """Seconds of CPU time that a process has taken, all threads together; 0 where the system does not say."""
    try:
        fields = Path(STAT.format(pid)).read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
