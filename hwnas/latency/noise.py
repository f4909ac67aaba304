"""What stood in the way of a measurement, and whether what was measured is enough for a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import instance_options
from hwnas.devices.estimate import REFERENCE_DRIFT, accepted, by_name, disagreement, reference_drift, reference_floor_us
from hwnas.devices.rounds import Round
from hwnas.display import slower
from hwnas.errors import MissingRowsError
from hwnas.latency.calibrate import VERDICT_ROUNDS
from hwnas.latency.model import margin
from hwnas.latency.table import LatencyTable, Noise

_PROCESSES = 2
_MOST_OF = 0.9
_STEADY = 0.015  # repeatability of whole networks on a machine that does nothing else: three times the usual 0.5 %


def noise_of(rounds: Sequence[Round]) -> Noise:
    """What stood in the way of these rounds, in the order that they were measured."""
    loads = [one.load for one in rounds if one.load is not None]
    shares = [share for own in by_name(rounds).values() if (share := disagreement(own)) is not None]
    return Noise(
        rejected=1 - len(accepted(rounds)) / len(rounds),
        load=statistics.median(loads) if loads else None,
        reference_us=reference_floor_us(rounds),
        drift=reference_drift(rounds),
        disagreement=float(np.quantile(shares, _MOST_OF)) if shares else None,
    )


def load_warning(table: LatencyTable, space: SearchSpace) -> str:
    """What to tell people of a table that was measured for `space` under load, or drifted, or has a wide margin."""
    noise, own = table.noise.get(space.signature), table.validations.get(space.signature)
    if noise is None:
        return ""
    again = f"and run hwnas profile-device --again {instance_options(space)}"
    if noise.load is not None and noise.loaded:
        return (
            f"warning: other work took {noise.load:.0%} of the CPUs that measuring leaves free while {space.name} was "
            f"measured, so its latencies may be too high: close other programs {again}"
        )
    if noise.drift is not None and abs(noise.drift) > REFERENCE_DRIFT:
        return (
            f"warning: the reference model was {abs(noise.drift):.0%} {'slower' if noise.drift > 0 else 'faster'} at "
            f"the end than at the beginning while {space.name} was measured, so its latencies mix both: let the device "
            f"cool, or set its governor, {again}"
        )
    if own is not None and own.repeatability > _STEADY and margin(own.sigma) > 2 * margin(own.mape):
        return (
            f"warning: other work disturbed whole networks of {space.name} while they were measured: twice, they "
            f"differed by {own.repeatability:.1%}, so searches leave {margin(own.sigma):.0%} of a budget, and not the "
            f"{margin(own.mape):.0%} that the error of predictions asks for: close other programs {again}"
        )
    return ""


def other_speed(change: float, rows: int, space: SearchSpace) -> str:
    """What is said where rows of a space were measured when the machine had another speed.

    Args:
        change: of what the reference model takes, as a share.
        rows: how many they are.
    """
    return (
        f"the reference model runs {slower(change)} than when {rows} of the other rows of {space.name} were measured, "
        f"so they hold for another speed: hwnas profile-device --again {instance_options(space)} measures all of them"
    )


def refuse_too_few(rounds: Sequence[Round], rows: Sequence[str], networks: Sequence[str], max_minutes: float) -> None:
    """Whether rounds that were cut short are enough for a table: three of everything, from two processes.

    Args:
        rows, networks: names of the models.

    Raises:
        MissingRowsError: they are not.
    """
    own = by_name(rounds)

    def lacks(name: str) -> bool:
        return len(own.get(name, ())) < VERDICT_ROUNDS or len({one.process for one in own[name]}) < _PROCESSES

    keys, whole = [key for key in rows if lacks(key)], [name for name in networks if lacks(name)]
    if keys or whole:
        raise MissingRowsError(
            f"--max-minutes {max_minutes:g} is too few for a table: "
            f"{len(keys)} of {len(rows)} rows and {len(whole)} of {len(networks)} whole networks still lack rounds"
            + (f", the first row is {keys[0]}" if keys else "")
            + f"; a table takes {VERDICT_ROUNDS} of each, from {_PROCESSES} processes",
            keys=tuple(keys),
            hint="the same command goes on from here",
        )
