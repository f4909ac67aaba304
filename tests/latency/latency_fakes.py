"""A device whose latencies are known by construction: intercept + slope · (sum of rows + per op · their number)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from hwnas.arch import Network, OpSpec, SlotSpace, space_instance
from hwnas.backends.onnx import fingerprint
from hwnas.devices.device import Condition, Device
from hwnas.devices.rounds import Round
from hwnas.latency.table import LatencyTable, Row

HOST = Device("host", "this machine", "local", "onnxruntime", 1, "fp32")
CONDITION = Condition("cpu", "onnxruntime", "1.32.0", 1, "fp32")
TOY: SlotSpace = space_instance("toy", width=1.0, resolution=8, channels=1, classes=10)
SLOPE, INTERCEPT_US, PER_OP_US = 0.9, 20.0, -3.0
REFERENCE_US = 400.0


def row_us(key: str) -> float:
    """A made-up latency of an op, between 50 and 150 microseconds, in whole thousandths as a table keeps them."""
    return 50.0 + int(hashlib.sha256(key.encode()).hexdigest(), 16) % 100_000 / 1000


def network_us(network: Network) -> float:
    """What such a network takes on the made-up device."""
    rows = [row_us(spec.key) for _, spec in network.ops if spec.graph.nodes]
    return INTERCEPT_US + SLOPE * sum(row + PER_OP_US for row in rows)


def table_of(specs: Sequence[OpSpec] = TOY.ops, condition: Condition = CONDITION) -> LatencyTable:
    """A table of the made-up device."""
    rows = {
        spec.key: Row(
            spec.key, fingerprint(spec), row_us(spec.key), 49.5, 160.25, 7, "2026-01-01T00:00:00+00:00", REFERENCE_US
        )
        for spec in specs
    }
    return LatencyTable(condition, rows=rows, reference_us=REFERENCE_US)


class FakeRounds:
    """Stands for `profile_rounds`: rows take `row_us`, whole networks `network_us`; `dies_after` new rounds it raises.

    The second process runs 1 % slower, so that repeatability is known too.
    """

    def __init__(self, space: SlotSpace, networks: Mapping[str, Network], dies_after: int | None = None) -> None:
        self.networks, self.dies_after = networks, dies_after
        self.keys = {spec.key for spec in space.ops}
        self.measured: list[tuple[str, int]] = []

    def __call__(
        self,
        device: Device,
        models: Mapping[str, Path],
        reference: Path,
        *,
        rounds: int,
        done: Sequence[Round] = (),
        on_round: Callable[[Round], object] = lambda one: None,
        **_: Any,
    ) -> list[Round]:
        assert reference.is_file()
        assert all(onnx.load(path).graph.node for path in models.values())
        taken = [one for one in done if one.name in models]
        seen = {(one.name, one.round) for one in taken}
        first = 0 if rounds <= 5 else 5
        for turn in range(rounds):
            for name in models:
                if (name, turn) in seen:
                    continue
                if self.dies_after is not None and len(self.measured) == self.dies_after:
                    raise KeyboardInterrupt
                own_us = row_us(name) if name in self.keys else network_us(self.networks[name])
                process = first if turn >= first else 0
                time_us = own_us * (1.01 if process else 1.0)
                one = Round(name, turn, process, time_us, 0.9 * time_us, 1.1 * time_us, 10, REFERENCE_US)
                self.measured.append((name, turn))
                taken.append(one)
                on_round(one)
        return taken
