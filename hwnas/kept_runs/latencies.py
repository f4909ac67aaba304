"""What one network takes by every latency table that is known: a prediction with its margin, or why there is none."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import instance_options
from hwnas.backends.model_format import format_of
from hwnas.errors import InputError, TableError
from hwnas.kept_runs.kept_result import read_kept
from hwnas.kept_runs.run_summary import check_run
from hwnas.latency.calibrate import predict, too_far_off
from hwnas.latency.find import all_folders
from hwnas.latency.held_instance import folded_keys, held_as
from hwnas.latency.model import margin
from hwnas.latency.table import Calibration, LatencyTable
from hwnas.latency.table_files import load_table
from hwnas.latency.trust import space_of
from hwnas.run.run_folder import RunFolder
from hwnas.schema import read_json_as

_MOST_OPS = 10_000
_DAMAGED = "run the same hwnas search command again with --force"


@dataclass(frozen=True)
class TableLatency:
    """What a network takes by one table.

    Attributes:
        folder: of the table.
        device, condition: what it is of; '' where it cannot be read.
        kind: measured, adapted or imported.
        predicted_ms: None where the table does not tell.
        margin: share of a budget that searches leave for its error, 0 to 1; None where nobody compared it with whole
            networks.
        mape: mean error on whole networks, as a share; likewise.
        measured_at: when the newest of the rows was measured; '' where there is none.
        lacking: keys of the ops without a row.
        stale: keys of the ops that lower differently than what was measured.
        note: why there is no prediction, or what to think of it; '' where all is well.
        next: the command that completes the table; '' where there is none.
    """

    folder: Path
    device: str = ""
    condition: str = ""
    kind: str = ""
    predicted_ms: float | None = None
    margin: float | None = None
    mape: float | None = None
    measured_at: str = ""
    lacking: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    note: str = ""
    next: str = ""

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"folder": str(self.folder)}


@dataclass(frozen=True)
class NetworkLatencies:
    """What the network of a run takes by all tables: those that tell come first, the fastest on top.

    Attributes:
        space: the instance that it is of, with its channels and classes.
        measured_ms: on the device of the run; None where it was not measured.
        measured_on: the condition of that; '' where it is not known.
    """

    run: Path
    space: str
    measured_ms: float | None
    measured_on: str
    tables: tuple[TableLatency, ...] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        shared = {"run": str(self.run), "space": self.space, "measured_ms": self.measured_ms}
        shown = [one.to_json() for one in self.tables]
        return shared | {"measured_on": self.measured_on or None, "tables": shown}


@dataclass(frozen=True)
class _Found:
    """Of `architecture.json`."""

    space: str
    network: list[dict[str, Any]]


def network_latencies(run: Path, tables: Path | None) -> NetworkLatencies:
    """What the network of a finished run takes by the tables of `tables`, the user, the package and ./latency_tables.

    Raises:
        InputError: the folder is no finished run, is damaged, or is one for several budgets.
    """
    check_run(run)
    folder = RunFolder(run)
    _, results = read_kept(folder.result)
    if results[0].folder is not None:
        parts = ", ".join(f"{run}/{one.folder}" for one in results[:20])
        raise InputError(f"{run} holds {len(results)} networks", hint=f"name one of them: {parts}")
    found = read_json_as(folder.architecture, _Found, hint=_DAMAGED)
    if len(found.network) > _MOST_OPS:
        raise InputError(f"{folder.architecture}: a network must have at most {_MOST_OPS} ops", hint=_DAMAGED)
    try:
        network = Network.from_json(found.network)
    except InputError as error:
        raise InputError(f"{folder.architecture}: {error}", hint=_DAMAGED) from error
    signature = f"{found.space}-i{network.input_shape[0]}-o{network.output_shape[0]}"
    measured = results[0].measured_ms
    told = [_by_table(network, signature, one) for one in all_folders(tables)]
    told.sort(key=lambda one: (one.predicted_ms is None, one.predicted_ms or 0.0, str(one.folder)))
    return NetworkLatencies(
        run, signature, None if measured is None else measured.judged_ms, results[0].condition, tuple(told)
    )


def _by_table(network: Network, signature: str, folder: Path) -> TableLatency:
    try:
        table = load_table(folder)
    except TableError as error:
        return TableLatency(folder, note=str(error), next=error.hint)
    rows = [spec for _, spec in network.ops if spec.graph.nodes]
    dates = [table.rows[spec.key].measured_at for spec in rows if spec.key in table.rows]
    facts: dict[str, Any] = {"folder": folder, "device": table.device, "condition": table.condition}
    facts |= {"kind": table.kind, "measured_at": max(dates, default="")}
    try:
        return _predicted(table, network, rows, signature, facts)
    except InputError as error:  # the space is of a plug-in or a version that is not there
        return TableLatency(**facts, note=str(error))


def _predicted(
    table: LatencyTable, network: Network, rows: list[OpSpec], signature: str, facts: dict[str, Any]
) -> TableLatency:
    space = space_of(signature)
    folded = folded_keys(table, space)
    asked = {spec.key: spec for spec in rows if spec.key not in folded}
    lacking = tuple(key for key in asked if key not in table.rows)
    stale: tuple[str, ...] = ()
    if table.kind != "imported":
        fingerprints = format_of(table.under.runtime, table.under.precision).fingerprints
        stale = tuple(spec.key for spec in table.lacking(asked.values(), fingerprints) if spec.key not in lacking)
    calibration = table.calibrations.get(held_as(table, space) or "")
    if calibration is None and table.kind == "imported":
        calibration = Calibration(1.0, 0.0, 0.0, 0)
    if lacking or stale or calibration is None:
        reasons = [
            f"lacks {len(lacking)} of {len(asked)} rows, the first is {lacking[0]}" if lacking else "",
            f"{len(stale)} of {len(asked)} rows are stale, the first is {stale[0]}" if stale else "",
            "" if calibration else f"not calibrated for {signature}",
        ]
        note = "; ".join(filter(None, reasons))
        return TableLatency(**facts, lacking=lacking, stale=stale, note=note, next=_completing(table, space))
    rows_us = [table.rows[spec.key].median_us for spec in rows if spec.key in asked]
    validation = table.validations.get(space.signature)
    return TableLatency(
        **facts,
        predicted_ms=predict(calibration, sum(rows_us), len(rows_us)) / 1e3,
        margin=None if validation is None else margin(validation.sigma),
        mape=None if validation is None else validation.mape,
        note="" if validation is None else too_far_off(validation),
    )


def _completing(table: LatencyTable, space: SearchSpace) -> str:
    """The command that completes the table, on a device of its kind; '' where others measured it."""
    if table.kind == "imported":
        return ""
    named = {"--runtime": table.under.runtime, "--precision": table.under.precision, "--provider": table.under.provider}
    return " ".join(
        ["hwnas profile-device", instance_options(space), *(f"{flag} {one}" for flag, one in named.items() if one)]
    )
