"""A latency table that is predicted from those of known devices and a few whole networks measured on this one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hwnas.arch.network import Network
from hwnas.arch.space import SearchSpace
from hwnas.backends.model_format import format_of
from hwnas.devices.device import IMPORTED, Condition, Device
from hwnas.devices.estimate import reference_floor_us
from hwnas.devices.link import condition_of
from hwnas.errors import InputError, StorageError, TableError
from hwnas.latency.build import measure_networks, measured_network, measuring_into, provenance
from hwnas.latency.calibrate import Measured, pairs_of, spread_architectures, validate
from hwnas.latency.find import all_folders, say_if_here
from hwnas.latency.missing_rows import lacking
from hwnas.latency.noise import noise_of
from hwnas.latency.op_posterior import OpPosterior, OpPrior
from hwnas.latency.op_prior import op_counts, op_prior, op_weights_ms, priced
from hwnas.latency.table import Calibration, LatencyTable, Row
from hwnas.latency.table_files import load_table, save_table
from hwnas.latency.transfer import Floats
from hwnas.progress import Progress, Silent

_SILENT = Silent()
SMALLEST_SAMPLES = 3
_CANDIDATES = 400
_MOST_OF = 0.9


@dataclass(frozen=True)
class AdaptationPrior:
    """What is known of a space on a device before anything is measured there.

    Attributes:
        prior: over what `op_counts` are multiplied with.
        networks: candidates, a spread of the whole space; `counts` are theirs.
        sources: the tables that the prior was learned from, as DEVICE/CONDITION.
    """

    space: SearchSpace
    prior: OpPrior
    networks: tuple[Network, ...]
    counts: Floats
    sources: tuple[str, ...]

    def sigma(self, found: OpPosterior) -> float:
        """The relative deviation that nine of ten networks of the space stay below."""
        predicted = np.maximum(found.predict_ms(self.counts), 1e-9)
        return float(np.quantile(found.deviation_ms(self.counts) / predicted, _MOST_OF))

    def picked(self, samples: int) -> dict[str, Network]:
        """The networks to measure; see `OpPrior.design`."""
        return {f"network {index}": self.networks[index] for index in self.prior.design(self.counts, samples)}


def source_tables(
    space: SearchSpace, condition: Condition, tables: Path | None, *, progress: Progress = _SILENT
) -> list[LatencyTable]:
    """Tables of other conditions that hold every op of the space: measured ones, and imported ones row by row.

    Args:
        tables: a folder of latency tables to look in beside those that are always looked in.

    Raises:
        TableError: there are none. Damaged tables are passed over, and those whose runtime needs a package that is
            not installed: whether their rows are stale cannot be told.
    """
    found = []
    for folder in all_folders(tables):
        try:
            table = load_table(folder)
            whole = not lacking(table, space).rows
        except (InputError, StorageError):
            continue
        runnable = table.under.runtime == IMPORTED or table.calibrations
        if table.under == condition or table.kind == "adapted" or not runnable or table.folded or not whole:
            continue
        say_if_here(folder, tables, progress)
        found.append(table)
    if not found:
        raise TableError(
            f"no latency table of another device or condition holds all {len(space.ops)} ops of {space.signature}, "
            "and a prediction needs at least one",
            hint="measure the whole table with hwnas profile-device, or bring one from another machine with --sources",
        )
    return found


def adaptation_prior(space: SearchSpace, sources: Sequence[LatencyTable], *, seed: int = 0) -> AdaptationPrior:
    """The prior that tables give, and the networks that may be measured.

    Raises:
        InputError: there is no table.
        MissingRowsError: one lacks an op of the space.
    """
    ops = priced(space)
    drawn = dict.fromkeys(spread_architectures(space, _CANDIDATES, seed))
    networks = tuple(space.network(architecture) for architecture in drawn)
    counts = op_counts(ops, networks)
    weights_ms = np.array([op_weights_ms(table, ops, space.signature) for table in sources])
    names = tuple(f"{table.device}/{table.condition}" for table in sources)
    return AdaptationPrior(space, op_prior(ops, weights_ms, counts), networks, counts, names)


def adapt_table(
    known: AdaptationPrior, device: Device, folder: Path, samples: int, *, progress: Progress, seed: int = 0
) -> LatencyTable:
    """Measure a few networks, predict every row from them, and save the table to `folder`.

    Its validation tells how far each of these networks is from what the others predict of it, but for `sigma`, the
    margin: that is the deviation that the posterior expects of nine of ten networks of the space, with that of judged
    from undisturbed latency.

    Raises:
        InputError: fewer samples than `SMALLEST_SAMPLES`, or more than there are networks.
        DeviceError: the device cannot measure.
        StorageError: the table cannot be written.
    """
    if not SMALLEST_SAMPLES <= samples <= len(known.networks):
        raise InputError(
            f"a device is adapted to with {SMALLEST_SAMPLES} to {len(known.networks)} measured networks of "
            f"{known.space.name}, not {samples}"
        )
    with measuring_into(folder, progress):
        journal = folder / f"rounds-{known.space.signature}.jsonl"
        networks = known.picked(samples)
        rounds = measure_networks(networks, device, journal, seed=seed, progress=progress)
        table = LatencyTable(condition_of(device), "adapted", reference_us=reference_floor_us(rounds))
        counts = op_counts(priced(known.space), list(networks.values()))
        floor_ms = np.array([min(one.median_us for one in rounds if one.name == name) / 1e3 for name in networks])
        found = known.prior.adapt(counts, floor_ms)
        _take_rows(table, known, found, runs=samples)
        measured = [measured_network(table, network, name, rounds) for name, network in networks.items()]
        _trust(table, known, found, counts, measured)
        table.noise[known.space.signature] = noise_of(rounds)
        table.provenance = provenance(device) | {"samples": samples, "sources": list(known.sources)}
        save_table(table, folder)
        journal.unlink(missing_ok=True)
    return table


def _take_rows(table: LatencyTable, known: AdaptationPrior, found: OpPosterior, *, runs: int) -> None:
    """The predicted latency of every op, with what eight of ten lie between."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    ops = priced(known.space)
    fingerprints = format_of(table.under.runtime, table.under.precision).fingerprints(ops)
    factors = np.exp(1.2816 * np.sqrt(np.diag(found.covariance)[1:]) / found.mean[1:])
    for spec, middle, factor in zip(ops, 1e3 * found.mean[1:], factors, strict=True):
        row = (float(middle), float(middle / factor), float(middle * factor))
        table.rows[spec.key] = Row(spec.key, fingerprints[spec.key], *row, runs, now, table.reference_us)
    intercept_us = 1e3 * float(found.mean[0])
    table.calibrations[known.space.signature] = Calibration(1.0, intercept_us, 0.0, runs)


def _trust(
    table: LatencyTable, known: AdaptationPrior, found: OpPosterior, counts: Floats, measured: Sequence[Measured]
) -> None:
    """Validate by leaving out one network after the other, and set the margin."""
    name = known.space.signature
    plain = Calibration(1.0, 0.0, 0.0, len(measured))
    floor_ms = np.array([one.floor_us / 1e3 for one in measured])
    left_out = []
    for index, one in enumerate(measured):
        others = np.arange(len(measured)) != index
        without = known.prior.adapt(counts[others], floor_ms[others])
        predicted_us = 1e3 * float(without.predict_ms(counts[[index]])[0])
        left_out.append(replace(one, rows_us=max(predicted_us, 0.01 * one.floor_us)))
    verdict_us = float(np.mean([((one.median_us or one.floor_us) / one.floor_us - 1.0) ** 2 for one in measured]))
    sigma = math.hypot(known.sigma(found), math.sqrt(verdict_us))
    table.validations[name] = replace(validate(plain, left_out), sigma=sigma)
    table.pairs[name] = pairs_of(plain, left_out)
