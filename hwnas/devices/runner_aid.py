"""What runner.py needs beside itself: limits, inputs, load of the machine, cold caches, execution providers.

Python 3.8 and numpy suffice.

The job says of a model, under "inputs", {"shapes": {input: [size, ...]}, "ranges": {input: [low, high]}, "arrays":
[input, ...], "file": path or null}; each may be missing. `file` is an .npz file with the arrays of these inputs under
"arr_0", "arr_1" and so on. Whatever is not said is random.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence  # noqa: UP035 as Python 3.8 has them

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
LOAD_WINDOW_S = 0.25  # 25 ticks of the kernel's clock, so that one tick more or less does not matter
STAT, CACHES = Path("/proc/stat"), Path("/sys/devices/system/cpu/cpu0/cache")
ORT_PROVIDERS = {
    "openvino": "OpenVINOExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
    "qnn": "QNNExecutionProvider",
}
ORT_CPU = "CPUExecutionProvider"
ONE_BY_ONE = ("xnnpack", "cuda")  # take a graph node by node; the others compile each part of it into one node


class Guard:
    """Limits on this process, which hold in native code too; what ends it is told on its stderr.

    The job says "stall_s": the process ends when `alive` is not called for so many seconds; and "memory_bytes": the
    most that it may allocate, null for no limit. Linux limits that by RLIMIT_DATA, which counts what is allocated, not
    what is reserved; other systems do not.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.stall_s, memory_bytes, self.since = job["stall_s"], job["memory_bytes"], 0.0
        faulthandler.enable(all_threads=False)
        self.alive()
        if memory_bytes is not None:
            with contextlib.suppress(ImportError, ValueError, OSError):
                import resource  # not on Windows

                hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
                resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, hard))

    def alive(self) -> None:
        """Something was done; costs nothing within a second of the last time."""
        now = time.monotonic()
        if not self.since or now - self.since > 1.0:
            faulthandler.dump_traceback_later(self.stall_s, exit=True)
            self.since = now


def runtime_of(kinds: Mapping[str, Any], job: Mapping[str, Any]) -> Any:
    """What runs the models of a job. Asked before numpy is loaded, as the environment then says how many threads."""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    os.environ.update(dict.fromkeys(variables, str(job["threads"])))
    if job.get("web"):
        program, folder = job["web"]
        return runpy.run_path(program)["OrtWeb"](folder)
    runtime = kinds[job["runtime"]](job["threads"])
    runtime.provider = job.get("provider")
    return runtime


def offered(kinds: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, list[str]]:
    """What 'hello' tells of providers, where the job is about them; what their native code prints goes to stderr."""
    if not job.get("provider") and not job.get("offers"):
        return {}
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with contextlib.suppress(ImportError):
        return {"providers": offers(runtime_of(kinds, job))}
    return {}


def offers(runtime: Any) -> list[str]:
    """Names of the providers that this build of a runtime has, the usual one first. If one starts, a model shows."""
    if not hasattr(runtime, "module"):  # LiteRT
        return ["xnnpack"]
    there = runtime.module.get_available_providers()
    return ["cpu", *(name for name, own in ORT_PROVIDERS.items() if own in there)]


class ProviderError(RuntimeError):
    """A provider cannot run what it is measured by."""

    hint = "hwnas devices check tells what each provider takes: install what this one needs, or leave it out"


def ort_session(runtime: Any, path: str) -> Any:
    """A session by the runtime's provider, and by the CPU for what that leaves.

    Raises:
        ProviderError: the provider does not start, or takes nothing of the first model.
    """
    provider, options = runtime.provider, runtime.options()
    if provider is None:
        return runtime.module.InferenceSession(path, options, providers=[ORT_CPU])
    own = {
        "openvino": {"device_type": "CPU", "num_of_threads": str(runtime.threads)},
        "xnnpack": {"intra_op_num_threads": str(runtime.threads)},
        "qnn": {"backend_type": "htp"},
    }
    listed = [(ORT_PROVIDERS[provider], own.get(provider, {}))]
    if provider == "tensorrt" and "cuda" in offers(runtime):
        listed.append((ORT_PROVIDERS["cuda"], {}))
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = runtime.module.InferenceSession(path, options, providers=[*listed, ORT_CPU], enable_fallback=0)
    if not vars(runtime).setdefault("took", ort_share(session, provider)["taken"] != 0):
        raise ProviderError(f"the provider {provider} does not start here, or takes nothing of it")
    return session


def ort_share(session: Any, provider: str) -> dict[str, Any]:
    """What a provider takes of the graph, as ONNX Runtime optimises it for all of them, and in how many partitions.

    None for what is not told: versions before 1.24 tell no more than that a provider did not start.
    """
    name, told = ORT_PROVIDERS[provider], getattr(session, "get_provider_graph_assignment_info", None)
    if name not in session.get_providers():
        return {"partitions": 0, "taken": 0, "operators": None}
    if told is None:
        return {"partitions": None, "taken": None, "operators": None}
    parts = [(one.ep_name, len(one.get_nodes())) for one in told()]
    own = [count for owner, count in parts if owner == name]
    taken, operators = sum(own), sum(count for _, count in parts)
    partitions = len(own) if provider not in ONE_BY_ONE else min(taken, 1) if taken in (0, operators) else None
    return {"partitions": partitions, "taken": taken, "operators": operators}


class Inputs:
    """Makes the inputs of one model; `generator` is numpy's."""

    def __init__(self, generator: Any, given: Mapping[str, Any]) -> None:
        self.generator = generator
        self.shapes, self.ranges = given.get("shapes", {}), given.get("ranges", {})
        self.arrays: dict[str, Any] = {}
        if given.get("file"):
            import numpy as np

            with np.load(given["file"], allow_pickle=False) as stored:
                self.arrays = {name: stored[f"arr_{index}"] for index, name in enumerate(given["arrays"])}

    def __call__(self, name: str, shape: Sequence[int], dtype: str) -> Any:
        """The array of that input: a given one, or a random one of the shape that is given or of the file's `shape`.

        Random are standard-normal floats, integers from 0 to 255 (-128 to 127 for int8), and truth values; within a
        range that is given, both ends included, all values are as likely.
        """
        import numpy as np

        if name in self.arrays:
            return self.arrays[name]
        shape, kind = tuple(self.shapes.get(name, shape)), dtype.rstrip("_")
        if kind in FLOATS:
            if name not in self.ranges:
                return np.asarray(self.generator.standard_normal(shape)).astype(kind)
            low, high = map(float, self.ranges[name])
            share = np.asarray(self.generator.random(shape))
            return np.clip(low * (1 - share) + high * share, low, high).astype(kind)
        if kind not in (*INTEGERS, "bool"):
            raise ValueError(f"input {name!r} has the unsupported type {dtype}")
        low, high = self.ranges.get(name, {"bool": (0, 1), "int8": (-128, 127)}.get(kind, (0, 255)))
        drawn = "uint8" if kind == "bool" else kind
        return np.asarray(self.generator.integers(low, high, shape, dtype=drawn, endpoint=True)).astype(kind)


class Loaded:
    """The models that are in memory: all of them where their files are small together, else those asked for last.

    `load` makes one of its name and path; `drop`, where the runtime has it, frees all but the reference model.
    """

    def __init__(
        self, load: Callable[[str, str], Any], paths: Mapping[str, str], kept_bytes: int, drop: Callable[[], Any] | None
    ) -> None:
        files = (Path(path) for path in paths.values())
        self.keeps = sum(file.stat().st_size for file in files if file.is_file()) <= kept_bytes
        self._load, self._paths, self._drop = load, paths, drop
        self._models: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        return self._models[name]

    def have(self, names: Sequence[str]) -> bool:
        """Have these models in memory; tells whether one had to be loaded for it."""
        lacking = [name for name in names if name not in self._models]
        if lacking and self._models and not self.keeps:
            self._models.clear()
            if self._drop is not None:
                self._drop()
            lacking = list(names)
        self._models.update({name: self._load(name, self._paths[name]) for name in lacking})
        return bool(lacking)


class Evict:
    """Work that reads and writes so many bytes, more than the caches hold, so that nothing else is left in them."""

    def __init__(self) -> None:
        self.buffer: Any = None

    def __call__(self, size: int) -> None:
        import numpy as np

        if self.buffer is None:
            self.buffer = np.ones(size, np.uint8)
        self.buffer += 1


def evicting_bytes() -> int:
    """Twice the largest cache, from 16 to 256 MiB; 64 MiB where the system does not say."""
    sizes = []
    with contextlib.suppress(OSError):
        sizes = [path.read_text().strip() for path in CACHES.glob("index*/size")]
    kib = max((int(size[:-1]) for size in sizes if size.endswith("K") and size[:-1].isdigit()), default=32 << 10)
    return min(max(2 * kib << 10, 16 << 20), 256 << 20)


class OtherWork:
    """How busy the machine is with work that is not this process's, nor of those that it started.

    The CPUs that other processes and the hypervisor (steal) take, as a share of the CPUs but one: 1.0 is the second
    core of two. Read from the kernel's counters over the last quarter of a second; None where there are none.
    """

    def __init__(self, own_s: Callable[[], float] | None = None) -> None:
        self._own_s = own_s or time.process_time  # seconds of CPU time
        self._marks = [self._mark()]

    def share(self) -> float | None:
        now = self._mark()
        while len(self._marks) > 1 and now[0] - self._marks[1][0] >= LOAD_WINDOW_S:
            del self._marks[0]
        then = self._marks[0]
        self._marks.append(now)
        if now[1] is None or then[1] is None:
            return None
        return max(0.0, (now[1] - then[1]) / (now[0] - then[0]) / max(1, (os.cpu_count() or 1) - 1))

    def _mark(self) -> tuple[float, float | None]:
        """Seconds: of the clock, and of all CPUs that were busy with other work."""
        others_s = None
        with contextlib.suppress(OSError, ValueError):
            user, nice, system, _idle, _wait, irq, soft, *steal = map(int, STAT.read_text().split("\n")[0].split()[1:9])
            ticks = user + nice + system + irq + soft + sum(steal)
            others_s = ticks / os.sysconf("SC_CLK_TCK") - self._own_s()
        return time.perf_counter(), others_s
