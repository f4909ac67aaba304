"""A table against networks that it has never seen, measured now."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hwnas.arch.space import SearchSpace
from hwnas.devices.device import Device
from hwnas.devices.estimate import reference_floor_us
from hwnas.devices.profile import profile_rounds
from hwnas.errors import InputError, TableError
from hwnas.latency.build import measured_network, measuring_into
from hwnas.latency.calibrate import VALIDATION_NETWORKS, pairs_of, validate
from hwnas.latency.measured_models import write_models, write_reference_model
from hwnas.latency.missing_rows import lacking, open_table
from hwnas.latency.noise import noise_of
from hwnas.latency.table import Calibration, LatencyTable, Noise, Validation, missing_rows_error
from hwnas.latency.table_files import save_table
from hwnas.progress import Progress

_ROUNDS = 5  # per process, as tables have


@dataclass(frozen=True)
class Fresh:
    """What a table said of random networks, and what they took.

    Attributes:
        calibration: of the table then.
        before: the table's own validation.
        validation: that on the fresh networks.
        pairs: predicted and measured undisturbed latency of each of them, in milliseconds.
        drift: how much slower (or, below zero, faster) the reference model ran than when the table was made.
        noise: what stood in the way.
    """

    calibration: Calibration
    before: Validation
    validation: Validation
    pairs: list[list[float]]
    drift: float
    noise: Noise


def measure_fresh(
    table: LatencyTable, space: SearchSpace, device: Device, count: int, *, seed: int = 0, progress: Progress
) -> Fresh:
    """Measure `count` networks that are drawn uniformly, in two processes, beside the reference model.

    Raises:
        MissingRowsError: the table lacks rows of the space, or holds stale ones.
        InputError: it is not calibrated for the space.
        DeviceError: the device cannot measure.
    """
    if missing := lacking(table, space).rows:
        raise missing_rows_error(table, list(missing))
    if space.signature not in table.validations:
        raise InputError(
            f"the table {table.device}/{table.condition} is not calibrated for {space.signature}",
            hint="hwnas profile-device measures and calibrates it",
        )
    rng = np.random.default_rng([seed, 7919])
    networks = {f"fresh {index}": space.network(space.drawn(rng.integers)) for index in range(count)}
    with tempfile.TemporaryDirectory() as temporary:
        models = write_models(Path(temporary), networks, device)
        reference = write_reference_model(Path(temporary), device)
        first = profile_rounds(device, models, reference, rounds=_ROUNDS, max_extra=0, seed=seed, progress=progress)
        rounds = profile_rounds(
            device, models, reference, rounds=2 * _ROUNDS, max_extra=1, done=first, seed=seed, progress=progress
        )
    measured = [measured_network(table, network, name, rounds) for name, network in networks.items()]
    calibration = table.calibrations[space.signature]
    return Fresh(
        calibration,
        table.validations[space.signature],
        validate(calibration, measured),
        pairs_of(calibration, measured),
        reference_floor_us(rounds) / table.reference_of(space.signature) - 1.0,
        noise_of(rounds),
    )


def keep_fresh(
    fresh: Fresh, table: LatencyTable, space: SearchSpace, device: Device, folder: Path, *, progress: Progress
) -> None:
    """Put the fresh validation, from which the margin of searches follows, in place of the table's own.

    Args:
        table: what was validated; it is copied to `folder` where there is no table yet.

    Raises:
        InputError: there were fewer networks than a table is validated on.
        TableError: another process measured the table anew in between.
        StorageError: the table cannot be written.
    """
    if fresh.validation.n < VALIDATION_NETWORKS:
        raise InputError(
            f"a margin takes at least {VALIDATION_NETWORKS} networks, not {fresh.validation.n}",
            hint=f"--networks {VALIDATION_NETWORKS}, or leave out --update",
        )
    with measuring_into(folder, progress):
        now = open_table(device, folder)
        table = now if now.rows else table
        if table.calibrations.get(space.signature) != fresh.calibration:
            raise TableError(
                f"the table in {folder} was measured anew while its networks were being measured",
                hint="run the same command again",
            )
        table.validations[space.signature] = fresh.validation
        table.pairs[space.signature] = fresh.pairs
        calibrated_us = table.reference_of(space.signature)
        table.noise[space.signature] = replace(fresh.noise, reference_us=calibrated_us)
        save_table(table, folder)
