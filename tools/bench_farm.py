"""Fifty simulated devices profiled at once: what it takes, what one after the other would take, and what failures cost.

    python tools/bench_farm.py --devices 50 --failing 3

Devices are the real runner on a made-up clock (`simulated_devices.py`), each at a speed of its own. Some cannot be
reached, and some die in the midst. Every row of the others is compared with the time that it was made up to take.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from simulated_devices import Simulated, write_toml

import hwnas
from hwnas.api.profiling import FarmResult
from hwnas.arch import space_instance
from hwnas.devices import link
from hwnas.devices.device import Device
from hwnas.errors import DeviceError, UnreachableError
from hwnas.latency.build import whole_networks

REFERENCE_US, FIXED_US, SLOPE = 2000.0, 50.0, 0.9
SPACE = {"space": "mobile", "width": 0.25, "resolution": 32}
INSTANCE = space_instance("mobile", width=0.25, resolution=32, channels=3, classes=10)


@functools.cache
def row_us(key: str) -> float:
    """Of an op at speed 1: 400 to 1,400 microseconds."""
    return 400.0 + int(hashlib.sha256(key.encode()).hexdigest(), 16) % 1_000_000 / 1e3


class Farm:
    """Simulated devices by id, of which the first ones fail, and how many measure at once."""

    def __init__(self, count: int, failing: int) -> None:
        whole = whole_networks(INSTANCE, 0)
        self.networks_us = {
            name: FIXED_US + SLOPE * sum(row_us(spec.key) for _, spec in network.ops if spec.graph.nodes)
            for name, network in whole.items()
        }
        self.speeds = {f"simulated-{index}": 1.0 + index / count for index in range(count)}
        self.failing = list(self.speeds)[:failing]
        self.devices: dict[str, Simulated] = {}
        self.measuring: set[int] = set()
        self.most_at_once = 0

    def open(self, device: Device) -> Simulated:
        """Stands for `open_transport`."""
        name = device.id
        if name in self.failing[::2]:
            raise UnreachableError(f"{name} cannot be reached: it is not there", hint="switch it on")
        calls = itertools.count()

        def latency_us(model: str) -> float:
            if name in self.failing and next(calls) > 300:
                raise DeviceError("the device went dark", hint="see that its power supply is strong enough")
            us = REFERENCE_US if model == "reference" else self.networks_us.get(model) or row_us(model)
            return us * self.speeds[name]

        def begun() -> None:
            self.measuring.add(threading.get_ident())
            self.most_at_once = max(self.most_at_once, len(self.measuring))

        self.devices[name] = Simulated(latency_us, f"Simulated {name[10:]}", begun)
        return self.devices[name]

    def largest_error(self, result: FarmResult) -> float:
        """Of all rows, as a share of the time that they were made up to take."""
        return max(
            abs(row.median_us / (row_us(key) * self.speeds[Path(name).stem]) - 1.0)
            for name, table in result.tables.items()
            for key, row in table.table.rows.items()
        )


def main(
    devices: Annotated[int, typer.Option(help="How many.")] = 50,
    failing: Annotated[
        int, typer.Option(help="Of these, how many fail: the first cannot be reached, the next dies.")
    ] = 3,
) -> None:
    """Profile them all, and print what it took."""
    farm = Farm(devices, failing)
    link.open_transport = farm.open
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = [str(write_toml(folder, name)) for name in farm.speeds]
        begun, cpu_s = time.monotonic(), time.process_time()
        result = hwnas.profile_devices(names, out=folder / "tables", **SPACE)  # type: ignore[arg-type]
        wall_s, cpu_s = time.monotonic() - begun, time.process_time() - cpu_s
        done_s = [one.clock.monotonic() for one in farm.devices.values()]
        rows = len(INSTANCE.ops)
        print(
            f"{len(result.tables)} of {devices} devices have their table of {rows} rows; exit code {result.exit_code}"
        )
        for name, error in result.errors.items():
            print(f"  {Path(name).stem}: exit code {error.exit_code}: {error}")
        print(f"largest error of a row: {farm.largest_error(result):.1e}")
        print(f"measuring at once: up to {farm.most_at_once} devices")
        print(f"on the devices: {max(done_s) / 60:.1f} min at once, {sum(done_s) / 60:.1f} min one after the other")
        print(f"on this machine: {wall_s:.1f} s, of which {cpu_s:.1f} s of one core")


if __name__ == "__main__":
    typer.run(main)
