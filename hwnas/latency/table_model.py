"""The latency model of a space by a table, with the table's calibration and error."""

from __future__ import annotations

import json
from dataclasses import asdict

from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import instance_options
from hwnas.errors import InputError, TableError
from hwnas.files import sha256
from hwnas.latency.calibrate import too_far_off
from hwnas.latency.held_instance import folded_keys, held_as
from hwnas.latency.missing_rows import lacking
from hwnas.latency.model import LatencyModel
from hwnas.latency.space_latency import latency_model
from hwnas.latency.table import Calibration, LatencyTable, missing_rows_error


def model_of(table: LatencyTable, space: SearchSpace, *, any_table: bool = False, cold: bool = False) -> LatencyModel:
    """The calibrated latency model of `space`.

    Rows of an imported table that was never compared with whole networks are summed as they are, without a margin.

    Args:
        any_table: take a table whose error is too large, too.
        cold: of calls after work that evicts caches, which takes a calibration of their own.

    Raises:
        MissingRowsError: the table lacks rows.
        InputError: the table has no calibration for this space.
        TableError: its error on whole networks is too large to search with; see `too_far_off`.
    """
    if table.kind == "imported" and (missing := lacking(table, space).rows):
        raise missing_rows_error(table, list(missing))
    calibration = table.calibrations.get(held_as(table, space) or "")
    if calibration is None and table.kind == "imported":
        calibration = Calibration(1.0, 0.0, 0.0, 0)
    if calibration is None:
        raise InputError(
            f"the table {table.device}/{table.condition} is not calibrated for {space.signature}",
            hint="hwnas profile-device calibrates it",
        )
    validation = table.validations.get(space.signature)
    reason = too_far_off(validation) if validation and not any_table else ""
    if reason:
        raise TableError(
            f"the latency table {table.device}/{table.condition} is too far off for {space.name}: {reason}",
            hint=_when_too_far_off(table, space),
        )
    folded, per_op_ms = folded_keys(table, space), calibration.per_op_us / 1e3
    numbers = {
        "slope": calibration.slope,
        "intercept_ms": calibration.intercept_us / 1e3,
        "sigma": validation.sigma if validation else 0.0,
    }
    if cold:
        numbers = _cold(table, space, numbers)

    def row_ms(spec: OpSpec) -> float:
        return 0.0 if spec.key in folded else table.row_ms(spec) + per_op_ms

    return latency_model(space, row_ms, **numbers)


def _when_too_far_off(table: LatencyTable, space: SearchSpace) -> str:
    """The next step where a table is too far off."""
    if table.kind == "adapted":
        return (
            "measure more networks with hwnas adapt-device --samples, or all rows with hwnas profile-device, "
            "or take it as it is with --any-table"
        )
    again = f"measure it anew with hwnas profile-device --again {instance_options(space)}"
    if table.under.provider:
        again += f" (where it stays so, rows do not add up by {table.under.provider}: take another provider)"
    return f"close other programs and {again}, or take it as it is with --any-table"


def used_sha256(table: LatencyTable, space: SearchSpace, *, cold: bool = False) -> str:
    """Checksum of all that `model_of` takes from a table: latencies of ops, calibration and error.

    It does not depend on the order of rows, on other spaces in the table, nor on when or where it was measured.
    """
    calibration = table.calibrations.get(held_as(table, space) or "")
    validation = table.validations.get(space.signature)
    content = {
        "rows": {spec.key: table.rows[spec.key].median_us for spec in space.ops if spec.key in table.rows},
        "calibration": None if calibration is None else asdict(calibration),
        "sigma": None if validation is None else validation.sigma,
        "folded": sorted(folded_keys(table, space)),
    }
    if cold:
        content["cold"] = asdict(table.cold[space.signature])
    return sha256(json.dumps(content, sort_keys=True).encode())


def _cold(table: LatencyTable, space: SearchSpace, warm: dict[str, float]) -> dict[str, float]:
    """The affine of cold latencies, which is one of the warm one."""
    found = table.cold.get(space.signature)
    if found is None:
        raise InputError(
            f"the table {table.device}/{table.condition} holds no cold latencies of {space.signature}",
            hint="measure them on the device with a search for --latency cold, or leave that out",
        )
    return {
        "slope": found.slope * warm["slope"],
        "intercept_ms": found.intercept_us / 1e3 + found.slope * warm["intercept_ms"],
        "sigma": found.sigma,
    }
