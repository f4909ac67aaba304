"""The latency table of one condition: rows by op key, where they came from, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from hwnas.arch.op import OpSpec
from hwnas.devices.device import Condition
from hwnas.devices.estimate import LOADED
from hwnas.display import counted
from hwnas.errors import MissingRowsError
from hwnas.schema import POSITIVE, at_least, matching


@dataclass(frozen=True, slots=True)
class Row:
    """One measured op.

    Attributes:
        key: of the op.
        fingerprint: of the micro-model that was measured; a row whose op now lowers differently is stale.
        median_us: undisturbed latency in microseconds: the minimum over accepted rounds of each round's median.
        p10_us, p90_us: of single runs in accepted rounds.
        runs: accepted rounds.
        measured_at: UTC, ISO 8601.
        reference_us: undisturbed latency of the reference model meanwhile, in microseconds: the speed of the device
            that the row holds for. 0 where it is not known.
    """

    key: str
    fingerprint: Annotated[str, matching(r"[0-9a-f]{16}", "16 hexadecimal digits")]
    median_us: Annotated[float, POSITIVE]
    p10_us: Annotated[float, POSITIVE]
    p90_us: Annotated[float, POSITIVE]
    runs: int
    measured_at: str
    reference_us: Annotated[float, at_least(0)] = 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whole-network latency of one space instance from its rows: `intercept_us + slope · Σ (row_us + per_op_us)`.

    Attributes:
        n: whole networks that it was fitted on.
    """

    slope: float
    intercept_us: float
    per_op_us: float
    n: int


@dataclass(frozen=True, slots=True)
class Validation:
    """How far predictions were from measurements on `n` whole networks that took no part in the calibration.

    Attributes:
        spearman, kendall: rank correlations.
        mape: mean |predicted / measured - 1|; `within_5`, `within_10`: share of networks within ±5 %, ±10 %.
        sigma: root mean square of measured / predicted - 1, which becomes the margin of searches.
        repeatability: mean |second / first - 1| of the same networks measured twice: no prediction beats it.
    """

    n: int
    spearman: float
    kendall: float
    mape: float
    within_5: float
    within_10: float
    sigma: float
    repeatability: float


@dataclass(frozen=True, slots=True)
class ColdCalibration:
    """Cold latency of one space instance from the warm one that the table predicts: `intercept_us + slope · warm_us`.

    Attributes:
        n: whole networks that it was fitted on; as many others validated it.
        mape: mean |predicted / measured - 1| on these.
        sigma: as that of a `Validation`, from which the margin of searches follows.
    """

    slope: float
    intercept_us: float
    n: int
    mape: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Noise:
    """What stood in the way while the rows and networks of a space instance were measured.

    Attributes:
        rejected: share of the rounds that were rejected, 0 to 1.
        load: median over the rounds of how busy other work kept the other CPUs, 0 to 1; None where the system does
            not say.
        reference_us: undisturbed latency of the reference model meanwhile; None, like what follows, in tables of older
            versions.
        drift: how much slower the reference model was in the last third of the rounds than in the first, as a share.
        disagreement: by how much the floors of its two fastest processes differ, for all but the worst tenth of the
            rows and networks; the latencies of a table are known no better.
    """

    rejected: float
    load: float | None = None
    reference_us: float | None = None
    drift: float | None = None
    disagreement: float | None = None

    @property
    def loaded(self) -> bool:
        """Whether most rounds could only be measured under load."""
        return self.load is not None and self.load > LOADED


@dataclass
class LatencyTable:
    """Rows by key, with their provenance.

    Attributes:
        under: the condition that they hold under.
        kind: measured, imported or adapted.
        provenance: facts about the machine, its versions and settings, as they were when measuring.
        reference_us: undisturbed latency of the reference model when the table was last measured; see `reference_of`.
        calibrations, validations, noise: by the signature of a space instance; tables of older versions lack `noise`,
            and an imported table may have none of them.
        cold: alike, where cold latencies were measured.
        pairs: alike, (predicted, measured) undisturbed latency in milliseconds of the networks of the validation;
            tables of older versions lack them.
        folded: alike, keys of the ops whose latency the intercept of the calibration holds, because the source of an
            imported table does not tell them apart.
    """

    under: Condition
    kind: str = "measured"
    provenance: dict[str, Any] = field(default_factory=dict)
    reference_us: float = 0.0
    rows: dict[str, Row] = field(default_factory=dict)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    validations: dict[str, Validation] = field(default_factory=dict)
    noise: dict[str, Noise] = field(default_factory=dict)
    cold: dict[str, ColdCalibration] = field(default_factory=dict)
    pairs: dict[str, list[list[float]]] = field(default_factory=dict)
    folded: dict[str, list[str]] = field(default_factory=dict)

    @property
    def device(self) -> str:
        """The id of the device, which names the folder of its tables."""
        return self.under.device

    @property
    def condition(self) -> str:
        """The id of the condition, which names the table's folder in that of the device."""
        return self.under.id

    def reference_of(self, signature: str) -> float:
        """Undisturbed latency of the reference model when a space instance was calibrated, in microseconds.

        That is what its latencies hold for; other instances may have been measured since.
        """
        noise = self.noise.get(signature)
        return self.reference_us if noise is None or noise.reference_us is None else noise.reference_us

    def lacking(
        self, specs: Iterable[OpSpec], fingerprints: Callable[[Iterable[OpSpec]], Mapping[str, str]]
    ) -> list[OpSpec]:
        """Those of `specs` whose row is missing, or stale because the op lowers differently now.

        Args:
            fingerprints: of ops as they are now, by their keys.
        """
        asked = {spec.key: spec for spec in specs}
        now = fingerprints(spec for key, spec in asked.items() if key in self.rows)
        return [spec for key, spec in asked.items() if key not in now or self.rows[key].fingerprint != now[key]]

    def row_ms(self, spec: OpSpec) -> float:
        """Latency of one op in milliseconds.

        Raises:
            MissingRowsError: there is no such row.
        """
        if spec.key not in self.rows:
            raise missing_rows_error(self, [spec])
        return self.rows[spec.key].median_us / 1e3


def missing_rows_error(
    table: LatencyTable, specs: Sequence[OpSpec], command: str = "hwnas profile-device", *, space: str = ""
) -> MissingRowsError:
    """The error that names the first of the lacking rows and the command that measures them.

    Args:
        space: name of the instance that lacks them; an imported table may be of another space.
    """
    return MissingRowsError(
        f"the latency table {table.device}/{table.condition} lacks {counted(len(specs), 'row')} or holds stale ones, "
        f"the first is {specs[0].key}",
        keys=tuple(spec.key for spec in specs),
        hint=_import_hint(table, space.partition("@")[0])
        if table.kind == "imported"
        else f"measure them with: {command}",
    )


def _import_hint(table: LatencyTable, space: str) -> str:
    if not table.calibrations:
        return "import a table that holds them"
    served = sorted({signature.partition("@")[0] for signature in table.calibrations})
    if space and space not in served:
        return (
            f"the table is of the space {' and '.join(served)} alone, not of {space}: search with --space {served[0]}"
        )
    return (
        f"the table is of {', '.join(sorted(table.calibrations))} (i: channels, o: classes); import it again with the "
        "--channels and --classes of the data, or another one"
    )
