"""NAS-Bench-201's cells and FBNet's networks as tables: files of benchmarks, read as they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwnas.data.known import VARIABLE
from hwnas.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def data_folder() -> Path:
    """Where benchmark files are unless told: the environment variable, or `shared/data` beside the repository."""
    return Path(os.environ.get(VARIABLE) or Path(__file__).resolve().parents[2] / "shared" / "data")


@dataclass(frozen=True)
class LatencyTable:
    """Latencies of the same networks on several devices.

    Attributes:
        choices: (n, decisions).
        without_dead: the same with the ops removed that the output does not depend on; None where there are none.
        train, valid: names of devices.
        train_ms, valid_ms: (devices, n).
        values: every other array of the file with one number per network, such as accuracies in percent.
    """

    name: str
    options: tuple[int, ...]
    ops: tuple[str, ...]
    choices: Ints
    without_dead: Ints | None
    train: tuple[str, ...]
    valid: tuple[str, ...]
    train_ms: Floats
    valid_ms: Floats
    values: dict[str, Floats]


def load_table(path: Path) -> LatencyTable:
    """Read `nasbench201.npz` or `fbnet_latency.npz`.

    Raises:
        DataError: the file is not there.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there", hint=f"name the folder with --data, or in {VARIABLE}")
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    choices = arrays["arch_ops"].astype(np.int64)
    ops = tuple(map(str, arrays["ops"]))
    edges = [tuple(map(int, str(edge).split("<-"))) for edge in arrays.get("edges", [])]
    return LatencyTable(
        path.stem,
        (len(ops),) * choices.shape[1],
        ops,
        choices,
        _without_dead(choices, edges, ops.index("none")) if edges else None,
        tuple(map(str, arrays["devices_train"])),
        tuple(map(str, arrays["devices_valid"])),
        arrays["latency_ms_train"].astype(np.float64),
        arrays["latency_ms_valid"].astype(np.float64),
        {key: array.astype(np.float64) for key, array in arrays.items() if array.shape == (len(choices),)},
    )


def _without_dead(choices: Ints, edges: list[tuple[int, ...]], none: int) -> Ints:
    """Edges (target, source) from which no path leads to the last node become `none`."""
    last = max(target for target, _ in edges)
    reaches = {last: np.ones(len(choices), dtype=np.bool_)}
    for node in range(last - 1, -1, -1):
        out = [choices[:, i] != none for i, (_, source) in enumerate(edges) if source == node]
        ends = [reaches[target] for target, source in edges if source == node]
        reaches[node] = np.any([a & b for a, b in zip(out, ends, strict=True)], axis=0)
    live = np.stack([reaches[target] for target, _ in edges], axis=1)
    return np.where(live, choices, none)
