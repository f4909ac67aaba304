"""The program that measures where it runs; needs Python 3.8, numpy, a runtime and runner_aid.py, nothing of hwnas.

Reads one job from stdin:

    {"runtime": "onnxruntime", "provider": null, "threads": 1, "pin": null, "governor": null, "session": null,
     "web": null, "models": [[name, path], ...], "reference": path, "rounds": 7, "first_round": 0, "round_ms": 15.0,
     "warmup": 2, "group": 8, "seed": 0, "singles": false, "cold": 0, "inputs": {}, "aid": path, "stall_s": 120.0,
     "memory_bytes": null, "kept_bytes": 134217728, "work": null, "offers": false}

"web" is null or, on the host only, the Python file that drives onnxruntime-web in Node and the folder that it is in.
Writes one JSON object a line: {"event": "hello"} with the keys of `facts` and, where a provider or "offers" is asked
for, "providers", the names of those that the runtime has; then, where there are models, {"event": "loading", "name"}
before and {"event": "loaded", "n"} after each, {"event": "warm", "seconds", "stable"}, {"event": "running", "names"}
before each group, then for every model and round {"event": "round", "name", "round", "process", "median_us", "p10_us",
"p90_us", "calls", "reference_us", "load"}; {"event": "done"} at the end; or {"event": "error", "message", "hint"}, with
"model" if that one fails, and exit code 1. Times are microseconds of one call. `process` is the job's first round,
`reference_us` the worse of the two medians of the reference model around the model's group; for `load` see `OtherWork`
in runner_aid.py. With `singles`, a round has "singles_us", the times of single calls; with `cold` "cold_us", the times
of so many calls that each came after work that evicts caches. `aid` is the path of runner_aid.py, which says what
`inputs` are, by model, and sees to `provider`, `stall_s` and `memory_bytes`. An open size is 1.
`work` is the path of a program that does something else with the models than time rounds of them, or null.

Every round visits the models in a new order, in groups, with the reference model between them, so that a disturbance
hits a few rounds of many models and is seen, instead of all rounds of one. Where their files have more than
`kept_bytes` in all, each group is loaded before it is timed and dropped after; no other models are in memory then.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.metadata
import json
import math
import os
import platform
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator, NoReturn, Sequence  # noqa: UP035 as Python 3.8 has them

BATCH_BELOW_US, BATCH_US, PILOT_CALLS, FEWEST_SAMPLES = 300.0, 1000.0, 5, 3
WARM_MS, WARM_WITHIN, MOST_WARM = 100.0, 0.03, 30
ORPHAN_S = 10.0
PACKAGES = ("numpy", "onnxruntime", "onnxruntime-openvino", "onnxruntime-gpu", "ai-edge-litert", "tflite-runtime")
CPUINFO, BOARD = Path("/proc/cpuinfo"), Path("/proc/device-tree/model")
CPUS, GOVERNOR, THERMAL = Path("/sys/devices/system/cpu"), "cpufreq/scaling_governor", Path("/sys/class/thermal")
NAMES = ("model name", "Model", "Hardware")
FIELDS = (*NAMES, "cpu family", "model", "CPU implementer", "CPU part")
AID: dict[str, Any] = {}  # what runner_aid.py defines, and the guard of this process
Sampler = Callable[[int, int, float, int], Sequence[float]]  # what times a model: see `sample`
Values = Callable[[str, Sequence[int], str], Any]  # what makes its inputs: see runner_aid.py


class OnnxRuntime:
    """Sequential, all graph optimisations, no profiling, inputs and outputs bound to fixed memory.

    Threads may spin within a call, as in any program that keeps the default, but not after it: a session that is
    loaded and idle must not take a core from the one being timed. With one thread there is nothing that spins.
    """

    provider: Any = None  # its name; see `ort_session` in runner_aid.py

    def __init__(self, threads: int) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        self.module, self.threads = onnxruntime, threads
        own = (kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
        self.errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, MemoryError, *own)

    def load(self, path: str, values: Values) -> Sampler:
        """What times the model, with inputs that `values` makes."""
        session = self.session(path)
        binding, feeds = session.io_binding(), {}
        for node in session.get_inputs():
            dtype = {"float": "float32", "double": "float64"}.get(node.type[7:-1], node.type[7:-1])  # of tensor(...)
            shape = [size if isinstance(size, int) else 1 for size in node.shape]
            feeds[node.name] = values(node.name, shape, dtype)
            binding.bind_ortvalue_input(node.name, self.aligned(feeds[node.name]))
        for node, value in zip(session.get_outputs(), session.run(None, feeds)):  # noqa: B905
            numbers = getattr(getattr(value, "dtype", None), "kind", "O") in "biuf"  # else the runtime makes a new one
            bind = binding.bind_ortvalue_output if numbers else binding.bind_output
            bind(node.name, self.aligned(value) if numbers else "cpu")
        run = session.run_with_iobinding
        return functools.partial(sample, lambda: run(binding))

    def session(self, path: str) -> Any:
        return AID["ort_session"](self, path)

    def options(self) -> Any:
        result = self.module.SessionOptions()
        result.intra_op_num_threads, result.inter_op_num_threads = self.threads, 1
        result.execution_mode = self.module.ExecutionMode.ORT_SEQUENTIAL
        result.graph_optimization_level = self.module.GraphOptimizationLevel.ORT_ENABLE_ALL
        result.log_severity_level = 3
        result.add_session_config_entry("session.force_spinning_stop", "1")
        return result

    def aligned(self, array: Any) -> Any:
        """The array in memory of the runtime's own allocator, aligned alike in every process."""
        value = self.module.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype, "cpu")
        value.update_inplace(array)
        return value


class LiteRt:
    """LiteRT with its default kernels (XNNPACK), or its predecessor tflite-runtime where a board has only that.

    Nothing but the interpreter is held: it refuses to run while a view of a tensor, or its inner `Invoke`, is.
    """

    errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, MemoryError)

    def __init__(self, threads: int) -> None:
        package = "ai_edge_litert" if package_version("ai-edge-litert") else "tflite_runtime"
        self.interpreter, self.threads = importlib.import_module(f"{package}.interpreter").Interpreter, threads

    def load(self, path: str, values: Values) -> Sampler:
        """What times the model; inputs keep their values from call to call."""
        model = self.interpreter(model_path=path, num_threads=self.threads)
        feeds = {d["index"]: values(d["name"], d["shape"], d["dtype"].__name__) for d in model.get_input_details()}
        for index, array in feeds.items():
            model.resize_tensor_input(index, array.shape)
        model.allocate_tensors()
        for index, array in feeds.items():
            model.set_tensor(index, array)
        return functools.partial(sample, model.invoke)


RUNTIMES: dict[str, Any] = {"onnxruntime": OnnxRuntime, "litert": LiteRt}


def sample(call: Callable[[], Any], batch: int, fewest: int, for_ms: float, warmup: int) -> list[float]:
    """Microseconds of one call, in batches of so many: for so long, and at least so many times."""
    for _ in range(warmup):
        call()
    samples: list[float] = []
    end = time.perf_counter_ns() + for_ms * 1e6
    while len(samples) < fewest or time.perf_counter_ns() < end:
        start = time.perf_counter_ns()
        for _ in range(batch):
            call()
        samples.append((time.perf_counter_ns() - start) / batch / 1e3)
    return samples


class Model:
    """Times a model by `sampler`, see `sample`, in batches of calls: of 1, or of 1 ms where a call is below 0.3 ms."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        call_us = min(sampler(1, PILOT_CALLS, 0.0, 0))
        self.batch = 1 if call_us >= BATCH_BELOW_US else math.ceil(BATCH_US / max(call_us, 1e-3))

    def samples_us(self, round_ms: float, warmup: int, batch: int = 0, fewest: int = FEWEST_SAMPLES) -> Sequence[float]:
        """Samples of one round, in microseconds: for `round_ms`, and at least three."""
        return self.sampler(batch or self.batch, fewest, round_ms, warmup)


def facts(pin: int | None = None) -> dict[str, Any]:
    """What this machine says of itself, None where it does not; the clock's smallest step, the disk of this file."""
    times = [time.perf_counter_ns() for _ in range(1000)]
    return {
        "cpu": cpu(pin),
        "logical_cores": os.cpu_count(),
        "governor": line(CPUS / f"cpu{pin or 0}" / GOVERNOR),
        "temperature_c": temperature_c(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES for version in [package_version(name)] if version},
        "clock_ns": min(times[i + 1] - times[i] for i in range(999) if times[i + 1] > times[i]),
        "free_bytes": shutil.disk_usage(Path(__file__).resolve().parent).free,
    }


def cpu(pin: int | None) -> dict[str, str]:
    """The fields that name this machine's CPU; where there are none, its board, phone's chip or Mac's CPU does."""
    text = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.is_file() else ""
    fields = {name: value for name, value in cpu_fields(text, pin).items() if name in FIELDS}
    if not any(name in fields for name in NAMES):
        named = line(BOARD)
        for command in (["getprop", "ro.soc.model"], ["sysctl", "-n", "machdep.cpu.brand_string"]):
            with contextlib.suppress(OSError):
                named = named or subprocess.run(command, capture_output=True, check=False).stdout.decode().strip()
        fields["model name"] = named or platform.processor() or platform.machine()
    return fields


def cpu_fields(cpuinfo: str, pin: int | None = None) -> dict[str, str]:
    """Of the text of /proc/cpuinfo: fields of one processor (`pin`, else the first), and of the board (ARM)."""
    fields: dict[str, str] = {}
    for block in cpuinfo.split("\n\n"):
        pairs = (entry.partition(":")[::2] for entry in block.splitlines())
        own = {key.strip(): value.strip() for key, value in pairs if value.strip()}
        if pin is None or own.get("processor", str(pin)) == str(pin):
            fields = {**own, **fields}
    return fields


def package_version(name: str) -> str | None:
    """Installed version of a package, without importing it; None where it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def temperature_c() -> float | None:
    """Of the first zone that is the CPU's or the whole chip's, in degrees Celsius."""
    for zone in sorted(THERMAL.glob("thermal_zone*")):
        kind, value = line(zone / "type") or "", line(zone / "temp") or ""
        if any(part in kind.lower() for part in ("cpu", "soc", "pkg")) and value.lstrip("-").isdigit():
            return int(value) / 1e3
    return None


def line(path: Path) -> str | None:
    """What a file of one line says; None where there is no such file, or it is empty."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0") or None
    return None


@contextlib.contextmanager
def settings(pin: int | None, governor: str | None) -> Iterator[None]:
    """Bind this process to a CPU; set the governor where the system allows it, and put it back at the end."""
    if pin is not None and hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, [pin])
        except OSError:
            fail(f"measuring cannot be bound to CPU {pin} of this device", "correct pin in the device's TOML")
    paths = CPUS.glob(f"cpu{'[0-9]*' if pin is None else pin}/{GOVERNOR}") if governor else []
    before = {path: line(path) or "" for path in paths}
    try:
        for path in before:
            with contextlib.suppress(OSError):
                path.write_text(str(governor))
        yield
    finally:
        for path, own in before.items():
            with contextlib.suppress(OSError):
                path.write_text(own)


def alone(session: str) -> Any:
    """Hold the folder of this file until this process ends, so that no two measurements disturb each other.

    A runner of the same session that still holds it was cut off from its host, and is ended; another is waited for.
    """
    import fcntl  # not on Windows

    file, end = Path(__file__).resolve().with_name("lock").open("a+"), time.monotonic() + ORPHAN_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            file.seek(0)
            owner, _, pid = file.read().partition(" ")
        if time.monotonic() > end:
            fail(f"another program is measuring on this device (process {pid or 'unknown'})", "wait until it has ended")
        if owner == session:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM if time.monotonic() < end - ORPHAN_S / 2 else signal.SIGKILL)
        time.sleep(0.05)
    file.truncate(0)
    file.write(f"{session} {os.getpid()}")
    file.flush()
    return file


def emit(**content: Any) -> None:
    print(json.dumps(content), flush=True)
    if AID:
        AID["guard"].alive()


def fail(message: str, hint: str, **more: str) -> NoReturn:
    emit(event="error", message=message, hint=hint, **more)
    raise SystemExit(1)


def groups(names: Sequence[str], size: int, seed: int, turn: int) -> list[list[str]]:
    """The names in the order of round `turn`, in groups of `size`."""
    order = list(names)
    random.Random(f"{seed}-{turn}").shuffle(order)
    return [order[start : start + size] for start in range(0, len(order), size)]


def warm_up(reference: Model, warmup: int) -> dict[str, Any]:
    """Run the reference model until three windows of 0.1 s in a row agree within 3 %, for 3 s at most."""
    medians: list[float] = []
    start, stable = time.monotonic(), False
    while not stable and len(medians) < MOST_WARM:
        samples = sorted(reference.samples_us(WARM_MS, warmup))
        medians.append(samples[len(samples) // 2])
        stable = len(medians) >= 3 and max(medians[-3:]) <= min(medians[-3:]) * (1 + WARM_WITHIN)
    return {"seconds": round(time.monotonic() - start, 3), "stable": stable}


def measure(job: dict[str, Any]) -> None:
    """Load the models, and emit a round of each for every turn."""
    runtime = AID["runtime_of"](RUNTIMES, job)
    import numpy as np

    generator = np.random.default_rng(job["seed"])

    def attempt(name: str, step: Callable[[], Any]) -> Any:
        """Do `step`; what the runtime raises ends the program, with the model's name in the error."""
        try:
            return step()
        except getattr(runtime, "ended", ()) as error:
            fail(f"{error} while it ran model {name!r}", "try another version of the runtime")
        except runtime.errors as error:
            hint = getattr(error, "hint", "check that model file")
            fail(f"model {name!r}: {str(error).strip() or type(error).__name__}", hint, model=name)

    def load(name: str, path: str) -> Model:
        emit(event="loading", name=name)
        inputs = AID["Inputs"](generator, job["inputs"].get(name, {}))
        model: Model = attempt(name, lambda: Model(runtime.load(path, inputs)))
        emit(event="loaded", n=1)
        return model

    def timed(name: str, model: Model) -> dict[str, Any]:
        """One round of one model: its statistics as the 'round' event has them."""
        samples = attempt(name, lambda: model.samples_us(job["round_ms"], job["warmup"]))
        p10, median, p90 = np.percentile(samples, [10, 50, 90]).tolist()
        result = {"median_us": median, "p10_us": p10, "p90_us": p90, "calls": len(samples) * model.batch}
        if job["singles"]:
            single = samples if model.batch == 1 else attempt(name, lambda: model.samples_us(job["round_ms"], 0, 1))
            result["singles_us"] = [round(one, 3) for one in single]
        return result

    def cold(model: Model) -> float:
        """Microseconds of the first call after work that evicts caches."""
        evict(evicting)
        return model.samples_us(0.0, 0, 1, 1)[0]

    def with_cold(name: str, result: dict[str, Any]) -> dict[str, Any]:
        calls_us = [attempt(name, functools.partial(cold, models[name])) for _ in range(job["cold"])]
        return dict(result, cold_us=[round(one, 3) for one in calls_us]) if calls_us else result

    evict, evicting = getattr(runtime, "evict", None) or AID["Evict"](), AID["evicting_bytes"]()
    reference, names = load("reference", job["reference"]), [name for name, _ in job["models"]]
    models = AID["Loaded"](load, dict(job["models"]), job["kept_bytes"], getattr(runtime, "drop_models", None))
    models.have(names if models.keeps else [])
    gc.collect()
    gc.disable()
    first, others = job["first_round"], AID["OtherWork"](getattr(runtime, "cpu_s", None))
    emit(event="warm", **attempt("reference", lambda: warm_up(reference, job["warmup"])))
    before_us = timed("reference", reference)["median_us"]
    for turn in range(first, first + job["rounds"]):
        for group in groups(names, job["group"], job["seed"], turn):
            if models.have(group):
                before_us = timed("reference", reference)["median_us"]
            emit(event="running", names=group)
            results = {name: with_cold(name, timed(name, models[name])) for name in group}
            after_us = timed("reference", reference)["median_us"]
            around = {"reference_us": max(before_us, after_us), "load": others.share()}
            for name, result in results.items():
                emit(event="round", name=name, round=turn, process=first, **result, **around)
            before_us = after_us


def main() -> int:
    job: dict[str, Any] = json.load(sys.stdin)
    AID.update(runpy.run_path(job["aid"]))
    if job["cold"] and job["memory_bytes"] is not None:
        job["memory_bytes"] += AID["evicting_bytes"]()  # the model keeps all that it may take
    AID["guard"] = AID["Guard"](job)
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, lambda *_: sys.exit(143))  # so that the governor is put back
    held = alone(job["session"]) if job["session"] else None  # on the host, each sees the other's load instead
    with held or contextlib.nullcontext(), settings(job["pin"], job["governor"]):
        emit(event="hello", **facts(job["pin"]), **AID["offered"](RUNTIMES, job))
        if job["models"] and job.get("work"):
            runpy.run_path(job["work"])["work"](sys.modules[__name__], job)
        elif job["models"]:
            measure(job)
    emit(event="done")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as end:
        if end.code == 143:
            os._exit(143)  # a host that was cut off reads nothing any more: to flush would take for ever
        raise
