"""The program that times models where it runs; it needs Python, numpy and onnxruntime, and nothing of hwnas.

Reads one job from stdin:

    {"models": [[name, path], ...], "canary": path, "threads": 1, "rounds": 7, "first_round": 0,
     "round_ms": 15.0, "warmup": 2, "group": 8, "seed": 0, "pin": null}

Writes one JSON object a line: {"event": "loaded", "n"}, then for every model and round {"event": "round", "name",
"round", "process", "median_us", "p10_us", "p90_us", "calls", "canary_us", "load"}, and {"event": "done"} at the end;
or {"event": "error", "message"} and exit code 1. All times are microseconds of one call. `process` is the job's first
round. `canary_us` is the worse of the two medians of the canary around the model's group. `load` is how busy other
work kept the machine at that time; see `OtherWork`.

Every round visits the models in a new order, in groups, with the canary between them, so that a disturbance hits a
few rounds of many models and is seen, instead of all rounds of one.
"""

from __future__ import annotations

import gc
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_state

BATCH_BELOW_NS = 300_000
BATCH_NS = 1_000_000
PILOT_CALLS = 5
FEWEST_SAMPLES = 3
LOAD_WINDOW_S = 0.25  # 25 ticks of the kernel's clock, so that one tick more or less does not matter
STAT = "/proc/stat"
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    MemoryError,
    *(kind for kind in vars(runtime_state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
)
Result = TypeVar("Result")


class Model:
    """A loaded model with its inputs and outputs bound to fixed memory.

    `batch` is how many calls one timed sample takes: 1, or enough for 1 ms where a call takes less than 0.3 ms, so
    that reading the clock costs nothing.
    """

    def __init__(self, path: str, threads: int, generator: np.random.Generator) -> None:
        self.session = onnxruntime.InferenceSession(path, options(threads), providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        feeds = {}
        for node in self.session.get_inputs():
            feeds[node.name] = random_input(node, generator)
            self.binding.bind_ortvalue_input(node.name, aligned(feeds[node.name]))
        for node, value in zip(self.session.get_outputs(), self.session.run(None, feeds), strict=True):
            self.binding.bind_ortvalue_output(node.name, aligned(value))
        call_ns = min(self.sample_ns(1) for _ in range(PILOT_CALLS))
        self.batch = 1 if call_ns >= BATCH_BELOW_NS else math.ceil(BATCH_NS / max(call_ns, 1))

    def sample_ns(self, calls: int) -> float:
        """Nanoseconds of one call, over `calls` of them."""
        run, binding = self.session.run_with_iobinding, self.binding
        start = time.perf_counter_ns()
        for _ in range(calls):
            run(binding)
        return (time.perf_counter_ns() - start) / calls

    def samples_us(self, round_ms: float, warmup: int) -> list[float]:
        """Samples of one round, in microseconds: for `round_ms`, and at least three."""
        for _ in range(warmup):
            self.session.run_with_iobinding(self.binding)
        samples: list[float] = []
        end = time.perf_counter_ns() + round_ms * 1e6
        while len(samples) < FEWEST_SAMPLES or time.perf_counter_ns() < end:
            samples.append(self.sample_ns(self.batch) / 1e3)
        return samples


class OtherWork:
    """How busy the machine is with work that is not this process's.

    The CPUs that other processes and the hypervisor (steal) take, as a share of the CPUs but one: 1.0 is the second
    core of two. Read from the kernel's counters over the last quarter of a second; None where there are none.
    """

    def __init__(self) -> None:
        self._marks = [self._mark()]

    def share(self) -> float | None:
        now = self._mark()
        while len(self._marks) > 1 and now[0] - self._marks[1][0] >= LOAD_WINDOW_S:
            del self._marks[0]
        then = self._marks[0]
        self._marks.append(now)
        if now[1] is None or then[1] is None:
            return None
        others_s = (now[1] - then[1]) - (now[2] - then[2])
        return max(0.0, others_s / (now[0] - then[0]) / max(1, (os.cpu_count() or 1) - 1))

    @staticmethod
    def _mark() -> tuple[float, float | None, float]:
        """Seconds: of the clock, of all CPUs that were busy, and of this process."""
        try:
            with open(STAT, encoding="ascii") as file:  # noqa: PTH123
                user, nice, system, _idle, _wait, irq, soft, *steal = map(int, file.readline().split()[1:9])
            ticks = user + nice + system + irq + soft + sum(steal)
            return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()
        except (OSError, ValueError):
            return time.perf_counter(), None, time.process_time()


def options(threads: int) -> Any:
    """Sequential, all graph optimisations, no profiling.

    Threads may spin within a call, as in any program that keeps the default, but not after it: a session that is
    loaded and idle must not take a core from the one being timed. With one thread there is nothing that spins.
    """
    result = onnxruntime.SessionOptions()
    result.intra_op_num_threads = threads
    result.inter_op_num_threads = 1
    result.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    result.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    result.log_severity_level = 3
    result.add_session_config_entry("session.force_spinning_stop", "1")
    return result


def random_input(node: Any, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    """Standard-normal floats or uniform bytes in the shape the model states; an open dimension is 1."""
    if node.type not in TYPES:
        raise ValueError(f"input {node.name!r} has the unsupported type {node.type}")
    shape = [size if isinstance(size, int) else 1 for size in node.shape]
    dtype: np.dtype[Any] = np.dtype(TYPES[node.type])
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(-128 if dtype == np.int8 else 0, 128 if dtype == np.int8 else 256, shape, dtype=dtype)


def aligned(array: np.ndarray[Any, Any]) -> Any:
    """The array in memory of the runtime's own allocator, whose alignment does not change from process to process."""
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype, "cpu")
    value.update_inplace(np.ascontiguousarray(array))
    return value


def attempt(name: str, step: Callable[[], Result]) -> Result:
    """Do `step`; what the runtime raises ends the program, with the model's name in the error."""
    try:
        return step()
    except RUNTIME_ERRORS as error:
        emit(event="error", message=f"model {name!r}: {str(error).strip() or type(error).__name__}")
        raise SystemExit(1) from None


def emit(**content: Any) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def groups(names: list[str], size: int, seed: int, turn: int) -> Iterator[list[str]]:
    """The names in the order of round `turn`, in groups of `size`."""
    order = list(names)
    random.Random(f"{seed}-{turn}").shuffle(order)
    for start in range(0, len(order), size):
        yield order[start : start + size]


def load(name: str, path: str, threads: int, generator: np.random.Generator) -> Model:
    return attempt(name, lambda: Model(path, threads, generator))


def timed(name: str, model: Model, job: dict[str, Any]) -> dict[str, float]:
    """One round of one model: its statistics as the 'round' event has them."""
    samples = attempt(name, lambda: model.samples_us(job["round_ms"], job["warmup"]))
    p10, median, p90 = np.percentile(samples, [10, 50, 90]).tolist()
    return {"median_us": median, "p10_us": p10, "p90_us": p90, "calls": len(samples) * model.batch}


def main() -> int:
    job: dict[str, Any] = json.load(sys.stdin)
    if job.get("pin") is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [job["pin"]])
    generator = np.random.default_rng(job["seed"])
    canary = load("canary", job["canary"], job["threads"], generator)
    models = {name: load(name, path, job["threads"], generator) for name, path in job["models"]}
    emit(event="loaded", n=len(models))
    gc.collect()
    gc.disable()
    first = job["first_round"]
    others = OtherWork()
    canary.samples_us(1e3 * LOAD_WINDOW_S, job["warmup"])  # so that the first round has a load too
    before_us = timed("canary", canary, job)["median_us"]
    for turn in range(first, first + job["rounds"]):
        for group in groups(list(models), job["group"], job["seed"], turn):
            results = {name: timed(name, models[name], job) for name in group}
            after_us = timed("canary", canary, job)["median_us"]
            canary_us, other_work = max(before_us, after_us), others.share()
            for name, result in results.items():
                emit(
                    event="round", name=name, round=turn, process=first, **result, canary_us=canary_us, load=other_work
                )
            before_us = after_us
    emit(event="done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
