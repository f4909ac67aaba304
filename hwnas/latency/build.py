"""Measure a table: the rows that a space needs, and whole networks to calibrate and to validate it."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.backends.model_format import format_of
from hwnas.devices.device import Device
from hwnas.devices.estimate import (
    REFERENCE_DRIFT,
    Estimate,
    accepted,
    by_process,
    estimates,
    loaded,
    reference_floor_us,
)
from hwnas.devices.link import link_to
from hwnas.devices.measure import measure
from hwnas.devices.rounds import Round
from hwnas.files import storage_errors
from hwnas.latency.calibrate import (
    CALIBRATION_NETWORKS,
    VALIDATION_NETWORKS,
    VERDICT_ROUNDS,
    Measured,
    fit,
    pairs_of,
    row_sum,
    spread_architectures,
    validate,
)
from hwnas.latency.journal import kept_rounds, measuring
from hwnas.latency.measured_models import write_models, write_reference_model
from hwnas.latency.missing_rows import MissingRows, open_table
from hwnas.latency.noise import noise_of, other_speed, refuse_too_few
from hwnas.latency.table import LatencyTable, Row
from hwnas.latency.table_files import save_table
from hwnas.locks import held
from hwnas.progress import Progress

_DRAWS = (2, 4, 8, 16)  # times as many as there are networks, until enough of them have no idle ops
_DRIFT_PASSES = 3


def drifted(table: LatencyTable, space: SearchSpace, device: Device) -> tuple[MissingRows, float]:
    """What of a space was measured while the device ran at another speed than now, and how much slower it is now.

    The speed is that of the reference model; each row keeps it. Slower while other work loads the machine is no
    drift: the table still states the undisturbed latency. What the table lacks is none either.

    Raises:
        DeviceError: the device cannot measure.
    """
    rows = [spec for spec in space.ops if spec.key in table.rows]
    speeds_us = {table.rows[spec.key].reference_us for spec in rows} | {table.reference_of(space.signature)}
    rounds: list[Round] = []
    changes: dict[float, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        reference = write_reference_model(Path(folder), device)
        for _ in range(_DRIFT_PASSES):
            rounds += measure(device, {"reference": reference}, reference, rounds=8)
            changes = _changes(speeds_us, reference_floor_us(rounds), loaded=2 * sum(map(loaded, rounds)) > len(rounds))
            if not changes:
                break
    again = tuple(spec for spec in rows if table.rows[spec.key].reference_us in changes)
    return MissingRows(again, bool(changes)), max(changes.values(), key=abs, default=0.0)


def _changes(then_us: Iterable[float], now_us: float, *, loaded: bool) -> dict[float, float]:
    """By speed, as the latency of the reference model: how much slower it is now, where that is a drift."""
    shares = {us: now_us / us - 1.0 for us in then_us if us > 0}
    return {us: share for us, share in shares.items() if abs(share) > REFERENCE_DRIFT and not (loaded and share > 0)}


def measuring_into(folder: Path, progress: Progress) -> AbstractContextManager[None]:
    """Hold the folder of a table; another process that measures into it is waited for.

    Raises:
        StorageError: the folder cannot be written.
    """

    def busy() -> None:
        progress.say(f"another process is measuring into {folder}: waiting for it")

    return held(folder / ".lock", busy=busy)


def complete(
    table: LatencyTable,
    space: SearchSpace,
    device: Device,
    folder: Path,
    missing: MissingRows,
    *,
    progress: Progress,
    seed: int = 0,
    max_minutes: float = math.inf,
) -> LatencyTable:
    """Measure the missing rows, calibrate, validate, and save the table to `folder`.

    Rows and whole networks are measured side by side, in interleaved rounds of two processes. Those that ran in a
    burst, and those whose two fastest processes differ by more than 2 %, are measured again in up to six more. Every
    round is kept in `folder` until the table is written, so that an interrupted measurement continues where it was.
    Another process that is at work in `folder` is waited for, and what it has measured is not measured again.

    Args:
        max_minutes: stop measuring after so long. A table of fewer rounds is complete too, and its error and noise
            say what that costs.

    Raises:
        MissingRowsError: so little was measured by then that there can be no table; calling again goes on from there.
        DeviceError: the device cannot measure.
        StorageError: the table cannot be written.
    """
    with measuring_into(folder, progress):
        table, missing = _still_lacking(table, space, device, folder, missing)
        return _complete(table, space, device, folder, missing, progress, seed, max_minutes) if missing else table


def _still_lacking(
    table: LatencyTable, space: SearchSpace, device: Device, folder: Path, missing: MissingRows
) -> tuple[LatencyTable, MissingRows]:
    """The table as it is on disk now, and the missing rows that no other process has measured since."""
    now = open_table(device, folder)
    if not now.rows:
        return table, missing
    rows = tuple(spec for spec in missing.rows if now.rows.get(spec.key) == table.rows.get(spec.key))
    name = space.signature
    calibrated = name in now.calibrations and now.calibrations[name] != table.calibrations.get(name)
    return now, MissingRows(rows, bool(rows) or not calibrated)


def _complete(
    table: LatencyTable,
    space: SearchSpace,
    device: Device,
    folder: Path,
    missing: MissingRows,
    progress: Progress,
    seed: int,
    max_minutes: float,
) -> LatencyTable:
    started = time.monotonic()
    networks = whole_networks(space, seed)
    journal = folder / f"rounds-{space.signature}.jsonl"
    with tempfile.TemporaryDirectory() as temporary:
        rows = {spec.key: Network.single(spec) for spec in missing.rows}
        models = write_models(Path(temporary), rows | networks, device)
        reference = write_reference_model(Path(temporary), device)
        rounds = kept_rounds(
            journal,
            device,
            models,
            reference,
            seed,
            progress,
            label=measuring(len(rows), len(networks)),
            started=started,
            max_minutes=max_minutes,
        )
    if max_minutes < math.inf:
        refuse_too_few(rounds, list(rows), list(networks), max_minutes)
    reference_us = reference_floor_us(rounds)
    kept_us = [table.rows[spec.key].reference_us for spec in space.ops if spec.key not in rows]
    if changes := _changes(kept_us, reference_us, loaded=False):
        progress.say(other_speed(max(changes.values(), key=abs), sum(us in changes for us in kept_us), space))
    _take_rows(table, missing.rows, estimates(rounds), reference_us)
    table.provenance = provenance(device)
    table.reference_us = reference_us
    measured = [measured_network(table, network, name, rounds) for name, network in networks.items()]
    calibration = fit(measured[:CALIBRATION_NETWORKS])
    table.calibrations[space.signature] = calibration
    table.cold.pop(space.signature, None)
    table.validations[space.signature] = validate(calibration, measured[CALIBRATION_NETWORKS:])
    table.pairs[space.signature] = pairs_of(calibration, measured[CALIBRATION_NETWORKS:])
    table.noise[space.signature] = noise_of(rounds)
    save_table(table, folder)
    with storage_errors(journal):
        journal.unlink(missing_ok=True)
    return table


def provenance(device: Device) -> dict[str, object]:
    """Facts about the machine, its versions and settings, as they are now."""
    settings = {"threads": device.threads, "precision": device.precision, "pin": device.pin}
    settings |= {} if device.provider is None else {"provider": device.provider}
    return link_to(device).facts.provenance() | settings


def whole_networks(space: SearchSpace, seed: int) -> dict[str, Network]:
    """Calibration networks first, then validation networks, none twice.

    Networks with idle ops are left out: rows cannot say what they take. A search counts idle ops, so it finds such a
    network slower than it is, and the same one without them as fast as it is.
    """
    count = CALIBRATION_NETWORKS + VALIDATION_NETWORKS
    for times in _DRAWS:
        drawn = dict.fromkeys(spread_architectures(space, times * count, seed))
        live = [network for one in drawn if not (network := space.network(one)).idle]
        if len(live) >= count:
            break
    chosen = live[::2][:CALIBRATION_NETWORKS] + live[1::2][:VALIDATION_NETWORKS]
    return {f"network {index}": network for index, network in enumerate(chosen)}


def validation_networks(space: SearchSpace, seed: int) -> list[Network]:
    """The networks that a table which was measured with this seed is validated on, in the order of its pairs."""
    return list(whole_networks(space, seed).values())[CALIBRATION_NETWORKS:]


def _take_rows(
    table: LatencyTable, specs: Sequence[OpSpec], measured: dict[str, Estimate], reference_us: float
) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for key, fingerprint in format_of(table.under.runtime, table.under.precision).fingerprints(specs).items():
        one = measured[key]
        table.rows[key] = Row(
            key, fingerprint, one.floor_us, one.p10_us, one.p90_us, max(one.accepted, 1), now, reference_us
        )


def measure_networks(
    networks: dict[str, Network], device: Device, journal: Path, *, seed: int, progress: Progress
) -> list[Round]:
    """Measure whole networks as those are that calibrate a table; the rounds are kept in `journal`, to go on from.

    Raises:
        DeviceError: the device cannot measure.
        StorageError: the journal cannot be written.
    """
    with tempfile.TemporaryDirectory() as temporary:
        models = write_models(Path(temporary), networks, device)
        reference = write_reference_model(Path(temporary), device)
        label = measuring(0, len(networks))
        return kept_rounds(journal, device, models, reference, seed, progress, label=label)


def measured_network(table: LatencyTable, network: Network, name: str, rounds: Sequence[Round]) -> Measured:
    """A whole network's rows in `table` beside what it took in `rounds`, which come from at least two processes."""
    floors_us = [min(one.median_us for one in part) for part in by_process([one for one in rounds if one.name == name])]
    rows_us, count = row_sum(table, network)
    return Measured(rows_us, count, min(floors_us), _verdict_us(name, rounds), (floors_us[0], floors_us[-1]))


def _verdict_us(name: str, rounds: Sequence[Round]) -> float | None:
    """Latency of a network as a verdict sees it: the median over its accepted rounds; None where these are too few.

    Where one process ran faster than all others, few rounds are within 3 % of its reference model. Then a round is
    accepted that is within 3 % of the minimum of its own process: a verdict takes each process for one value as well.
    """
    for parts in ([rounds], by_process(rounds)):
        used = [one.median_us for part in parts for one in accepted(part) if one.name == name]
        if len(used) >= VERDICT_ROUNDS:
            return statistics.median(used)
    return None
