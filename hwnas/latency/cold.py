"""Cold latency: what networks take when they are called now and then, as a second calibration over the same rows."""

from __future__ import annotations

import functools
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hwnas.arch.space import SearchSpace
from hwnas.devices.device import Device
from hwnas.devices.estimate import accepted, by_name, reference_floor_us
from hwnas.devices.measure import stream_rounds
from hwnas.devices.profile import profile_rounds
from hwnas.devices.rounds import Round
from hwnas.devices.statistic import COLD_CALLS, EVICTING_MS, Statistic
from hwnas.display import counted
from hwnas.errors import TableError
from hwnas.latency.build import measuring_into, whole_networks
from hwnas.latency.calibrate import CALIBRATION_NETWORKS, VALIDATION_NETWORKS, predict, robust, row_sum, trimmed_rms
from hwnas.latency.measured_models import write_models, write_reference_model
from hwnas.latency.missing_rows import open_table
from hwnas.latency.table import ColdCalibration, LatencyTable
from hwnas.latency.table_files import save_table
from hwnas.progress import Progress, Within

_PROCESSES, _ROUNDS = 3, 4
_COLD = Statistic("cold")


def fit_cold(warm_us: Sequence[float], cold_us: Sequence[float]) -> ColdCalibration:
    """An affine of the predicted warm latency, by the robust regression of `calibrate.fit`.

    Args:
        warm_us, cold_us: predicted and measured, of the networks of the calibration and then of the validation.

    Raises:
        TableError: networks that are slower warm are no slower cold, so nothing can be fitted.
    """
    warm, cold = np.asarray(warm_us, dtype=np.float64), np.asarray(cold_us, dtype=np.float64)
    own = slice(CALIBRATION_NETWORKS)
    design = np.stack([np.ones_like(warm[own]), warm[own]], 1) / cold[own, None]
    solution, rank = robust(design, np.ones_like(warm[own]))
    intercept_us, slope = float(solution[0]), float(solution[1])
    if rank < 2 or slope <= 0:
        raise TableError(
            f"the cold latency of {len(warm[own])} networks does not grow with their warm one",
            hint="the machine was too busy to measure: close other programs and search again",
        )
    errors = cold[CALIBRATION_NETWORKS:] / (intercept_us + slope * warm[CALIBRATION_NETWORKS:]) - 1.0
    mape = float(np.abs(1.0 / (1.0 + errors) - 1.0).mean())
    return ColdCalibration(slope, intercept_us, len(warm[own]), mape, trimmed_rms(errors))


def measuring_cold_s(network_ms: float, model_s: float) -> float:
    """About how long that takes on a quiet device.

    Args:
        network_ms: what a round of a network takes without its cold calls, on the mean.
        model_s: seconds to write a model.
    """
    round_s = (network_ms + COLD_CALLS * EVICTING_MS) / 1e3
    return (CALIBRATION_NETWORKS + VALIDATION_NETWORKS) * (model_s + _PROCESSES * _ROUNDS * round_s)


def calibrate_cold(
    table: LatencyTable, space: SearchSpace, device: Device, folder: Path, *, progress: Progress, seed: int = 0
) -> LatencyTable:
    """Measure the networks of the table's calibration and validation cold, and keep what they say in the table.

    An adapted table is not written: what it says stays with the caller.

    Args:
        table: complete for `space`, with its calibration.
        folder: where the completed table goes.

    Raises:
        InputError: the device tells no cold latencies.
        DeviceError: the device cannot measure.
        TableError: nothing could be fitted, or the table was measured anew meanwhile.
        StorageError: the table cannot be written.
    """
    _COLD.check(device)
    networks = whole_networks(space, seed)
    with tempfile.TemporaryDirectory() as temporary:
        models = write_models(Path(temporary), networks, device)
        reference = write_reference_model(Path(temporary), device)
        stream = functools.partial(stream_rounds, cold=True)
        rounds: list[Round] = []
        total = _PROCESSES * _ROUNDS * len(models)
        with progress.track(f"measuring {counted(len(models), 'whole network')} cold on {device.id}", total) as advance:
            within = Within(progress, advance, total, kind="measuring", beyond="again after a cut")
            for process in range(_PROCESSES):
                rounds = profile_rounds(
                    device,
                    models,
                    reference,
                    rounds=_ROUNDS * (process + 1),
                    max_extra=0,
                    done=rounds,
                    seed=seed,
                    progress=within,
                    stream=stream,
                )
    calibration, floor_us = table.calibrations[space.signature], reference_floor_us(rounds)
    own = by_name(rounds)
    warm_us = [predict(calibration, *row_sum(table, network)) for network in networks.values()]
    cold_us = [_COLD.of(accepted(own[name], floor_us=floor_us) or own[name]) for name in networks]
    found = fit_cold(warm_us, cold_us)
    progress.say(
        f"cold calls take {statistics.median(np.divide(cold_us, warm_us)):.2f} times as long as warm ones, and are "
        f"predicted with an error of {found.mape:.1%}"
    )
    table.cold[space.signature] = found
    if table.kind != "measured":
        return table
    with measuring_into(folder, progress):
        now = open_table(device, folder)
        if not now.rows:  # the table came from where it cannot be completed
            now = table
        if now.calibrations.get(space.signature) != calibration:
            raise TableError(
                f"the table in {folder} was measured anew while its networks were measured cold",
                hint="run the same command again",
            )
        now.cold[space.signature] = found
        save_table(now, folder)
    return now
