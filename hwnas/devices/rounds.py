"""One round of measuring one model: the unit that is streamed, stored, accepted or rejected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwnas.errors import DeviceError, HwnasError
from hwnas.schema import checked

ANSWER = "the answer of the device"
"""What messages call it."""
_NEW_NAMES = {"canary_us": "reference_us"}


@dataclass(frozen=True)
class Round:
    """A model was called for about 15 ms; times are microseconds of one call.

    Attributes:
        name: of the model.
        round: number of the round; (name, round) is unique among the rounds of a measurement.
        process: first round of the process that measured it, so that each process has its own number.
        median_us: over the samples of the round.
        p10_us: 10th percentile over the samples of the round.
        p90_us: 90th percentile over the samples of the round.
        calls: how many calls were timed.
        reference_us: the worse of the reference model's two medians, just before and just after the model's group.
        load: how busy other work kept the machine then: CPUs taken by other processes or by the hypervisor, as a share
            of the CPUs that measuring left free; None where the system does not say.
        singles_us: times of single calls, where these were asked for; a sample of fast models is a batch of calls.
        cold_us: times of single calls that each came after work that evicts caches, where these were asked for.
    """

    name: str
    round: int
    process: int
    median_us: float
    p10_us: float
    p90_us: float
    calls: int
    reference_us: float
    load: float | None = None
    singles_us: tuple[float, ...] = ()
    cold_us: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A flat dictionary, one line of a JSON-lines file."""
        return {key: value for key, value in asdict(self).items() if value != ()}

    @classmethod
    def from_json(
        cls, content: Mapping[str, Any], source: Path | str = ANSWER, error: type[HwnasError] = DeviceError
    ) -> Round:
        """The inverse of `to_json`; a key 'event' is ignored.

        Earlier versions wrote `canary_us` for `reference_us`.

        Args:
            source: where it comes from, for the message of `error`.

        Raises:
            HwnasError: as `error`; a field is missing, unknown or of another type.
        """
        values = {_NEW_NAMES.get(key, key): value for key, value in content.items() if key != "event"}
        return checked(values, cls, source, extra="forbid", error=error, hint="measure again")
