"""Work of runner.py that runs one model without pause; needs what that needs.

The job has one model and {"sustained_s": 600.0, "slices": 20}. Instead of rounds it writes {"event": "reference",
"when": "before", "median_us"}, then for every slice {"event": "slice", "start_s", "seconds", "median_us", "p90_us",
"p99_us", "calls", "load", "temperature_c", "governor", "mhz"}, and the reference model again with "after". Every call
is timed alone. The reference model does not run in between: that would cool the device.
"""

from __future__ import annotations

import gc
import time
from array import array
from typing import Any, Callable  # noqa: UP035 as Python 3.8 has it

REFERENCE_WINDOWS, REFERENCE_MS, CHUNK_S = 5, 100.0, 1.0
FREQUENCY = "cpufreq/scaling_cur_freq"


def state(runner: Any, pin: int | None) -> dict[str, Any]:
    """Temperature, governor and clock of the CPU as they are now; None where the system does not say."""
    cpu = runner.CPUS / f"cpu{pin or 0}"
    khz = runner.line(cpu / FREQUENCY)
    return {
        "temperature_c": runner.temperature_c(),
        "governor": runner.line(cpu / runner.GOVERNOR),
        "mhz": int(khz) / 1e3 if khz and khz.isdigit() else None,
    }


def times_us(sampler: Callable[[int, int, float, int], Any], seconds: float) -> Any:
    """Microseconds of each call, for so long, and of at least one; kept in little memory."""
    times, end = array("d"), time.monotonic() + seconds
    while not times or time.monotonic() < end:
        times.extend(sampler(1, 1, 1e3 * max(0.0, min(CHUNK_S, end - time.monotonic())), 0))
    return times


def work(runner: Any, job: dict[str, Any]) -> None:
    """Load reference model and model, and run the model for `sustained_s`; `runner` is the module runner.py."""
    runtime = runner.AID["runtime_of"](runner.RUNTIMES, job)
    import numpy as np

    generator = np.random.default_rng(job["seed"])
    ((name, path),) = job["models"]

    def load(name: str, path: str) -> Any:
        """What times the model; see `sample` in runner.py."""
        runner.emit(event="loading", name=name)
        inputs = runner.AID["Inputs"](generator, job["inputs"].get(name, {}))
        sampler = attempt(name, lambda: runtime.load(path, inputs))
        runner.emit(event="loaded", n=1)
        return sampler

    def attempt(name: str, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except getattr(runtime, "ended", ()) as error:
            return runner.fail(f"{error} while it ran model {name!r}", "try another version of the runtime")
        except runtime.errors as error:
            text = str(error).strip() or type(error).__name__
            return runner.fail(f"model {name!r}: {text}", getattr(error, "hint", "check that model file"), model=name)

    def reference_time(when: str) -> None:
        windows = [
            attempt("reference", lambda: reference.samples_us(REFERENCE_MS, 0)) for _ in range(REFERENCE_WINDOWS)
        ]
        runner.emit(event="reference", when=when, median_us=min(float(np.median(window)) for window in windows))

    reference = runner.Model(load("reference", job["reference"]))
    sampler = load(name, path)
    attempt(name, lambda: sampler(1, 1, 0.0, 0))
    gc.collect()
    gc.disable()
    runner.emit(event="warm", **attempt("reference", lambda: runner.warm_up(reference, job["warmup"])))
    reference_time("before")
    others = runner.AID["OtherWork"](getattr(runtime, "cpu_s", None))
    runner.emit(event="running", names=[name])
    start, slice_s = time.monotonic(), job["sustained_s"] / job["slices"]
    begun, left = start, job["sustained_s"]
    while left > slice_s / 100:
        seconds = min(slice_s, left)
        samples = np.array(attempt(name, lambda: times_us(sampler, seconds)))  # noqa: B023 as it is called at once
        median, p90, p99 = np.percentile(samples, [50, 90, 99]).tolist()
        now = time.monotonic()
        runner.emit(
            event="slice",
            start_s=round(begun - start, 3),
            seconds=round(now - begun, 3),
            median_us=median,
            p90_us=p90,
            p99_us=p99,
            calls=len(samples),
            load=others.share(),
            **state(runner, job["pin"]),
        )
        begun, left = now, job["sustained_s"] - (now - start)
    reference_time("after")
