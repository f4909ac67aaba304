"""Keep measuring until every model has enough rounds, and enough of them undisturbed."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hwnas.devices.device import Device
from hwnas.devices.estimate import accepted, by_name, disagreement
from hwnas.devices.measure import ROUND_MS, Stream, missing, stream_rounds
from hwnas.devices.rounds import Round
from hwnas.progress import Progress, Silent


def profile_rounds(
    device: Device,
    models: Mapping[str, Path],
    reference: Path,
    *,
    rounds: int = 7,
    min_accepted: int = 3,
    max_extra: int = 3,
    tolerance: float | None = None,
    deadline_s: float | None = None,
    round_ms: float = ROUND_MS,
    seed: int = 0,
    done: Sequence[Round] = (),
    on_round: Callable[[Round], None] | None = None,
    progress: Progress | None = None,
    stream: Stream = stream_rounds,
) -> list[Round]:
    """Measure every model for `rounds` rounds, then those again which ran in a burst or are not settled.

    Every pass is a fresh process. The passes that complete `rounds` are not counted; a pass for models of which fewer
    than `min_accepted` rounds were accepted, or whose two fastest processes differ by more than `tolerance`, is, and
    there are at most `max_extra` of them. What is then still disturbed stays so: `estimate` says how many rounds were
    accepted.

    Args:
        tolerance: largest share by which the floors of a model's two fastest processes may differ; None allows any.
        deadline_s: stop this many seconds after the start, wherever the measurement is.
        done: rounds of an earlier, interrupted run under the same condition; only what is missing is measured.
        on_round: called with every new round as it comes.
        stream: measures one pass; another than `stream_rounds` in tests.

    Returns:
        `done` (without models that are not asked for) followed by the new rounds.

    Raises:
        InputError, DeviceError: as `stream_rounds`.
    """
    end_s = None if deadline_s is None else time.monotonic() + deadline_s
    taken = [one for one in done if one.name in models]
    extra = 0
    while True:
        names, count = missing(models, taken, rounds)
        if not names:
            names, count = _unsettled(models, taken, min_accepted, tolerance), min_accepted
            extra += 1
        if not names or extra > max_extra:
            return taken
        part = stream(
            device,
            {name: models[name] for name in names},
            reference,
            rounds=count,
            round_ms=round_ms,
            first_round=1 + max((one.round for one in (*done, *taken)), default=-1),
            seed=seed,
            progress=progress or Silent(),
        )
        with contextlib.closing(part):
            for one in part:
                taken.append(one)
                if on_round is not None:
                    on_round(one)
                if end_s is not None and time.monotonic() >= end_s:
                    return taken


def _unsettled(
    models: Mapping[str, Path], taken: Sequence[Round], min_accepted: int, tolerance: float | None
) -> list[str]:
    good, own = by_name(accepted(taken)), by_name(taken)
    limit = math.inf if tolerance is None else tolerance
    return [
        name for name in models if len(good.get(name, [])) < min_accepted or (disagreement(own[name]) or 0.0) > limit
    ]
