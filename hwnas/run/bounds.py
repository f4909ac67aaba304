"""What `--max-size-kb` and `--max-peak-kb` leave of a search space. One KiB is 1,024 bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwnas.arch.costs import peak_bytes
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import AnySpace
from hwnas.errors import InfeasibleBudgetError, InfeasibleLimitError, InputError
from hwnas.export.size import SizeModel, size_model
from hwnas.latency.model import Latencies, LatencyModel
from hwnas.run.config import RunConfig
from hwnas.runtimes import DEFAULT
from hwnas.search.decode import FeasibleSampler, decode
from hwnas.search.limits import Limit, Limits
from hwnas.search.within import AnyLimits, limits_of


@dataclass(frozen=True)
class Bounds:
    """The limits beside the latency, applied to a space.

    The peak memory of a chain is the largest peak of its ops, so that limit is a filter on options. The size is a sum,
    so that one is a constraint on architectures.

    Attributes:
        max_size_kb, max_peak_kb: in KiB; 0 is no limit.
        kept: per decision of the whole space, the options within the peak.
        space: what these leave.
        size: the size of its files, if it is limited.
    """

    max_size_kb: float
    max_peak_kb: float
    kept: tuple[tuple[int, ...], ...]
    space: AnySpace
    size: SizeModel | None

    @property
    def options(self) -> int:
        """Number of options, over all decisions, that are left."""
        return sum(map(len, self.kept))

    def limits(self, model: Latencies, target_ms: float) -> AnyLimits:
        """All limits of a search in `space`, whose latencies `model` predicts.

        Raises:
            InfeasibleBudgetError: no network of the space is that fast.
        """
        return limits_of(model, target_ms, self._size_limit)

    def count(self, limits: AnyLimits | None = None) -> float:
        """Number of architectures within `limits`, or of any latency; with two constraints up to the rounding of
        `FeasibleSampler`."""
        if limits is not None:
            return limits.sampler().count
        size = self._size_limit
        return (
            float(self.space.size)
            if size is None
            else FeasibleSampler(size.costs, size.budget, groups=size.groups).count
        )

    def broken(self, file_bytes: int, peak: int) -> str:
        """Which limit a finished network breaks, as a sentence; empty if it keeps both."""
        for name, value, limit_kb in (("file", file_bytes, self.max_size_kb), ("peak", peak, self.max_peak_kb)):
            if limit_kb and value > limit_kb * 1024:
                return f"the {name} of the exported network is {value / 1024:.5g} KiB, above {limit_kb:g} KiB"
        return ""

    def check(self, model: Latencies, target_ms: float) -> None:
        """Whether the limits can be kept together; `model` is that of `space`.

        Raises:
            InfeasibleBudgetError: they cannot, though each alone can.
        """
        peak = [f"a peak of {self.max_peak_kb:g} KiB"] if self.max_peak_kb else []
        if model.smallest_ms > target_ms:
            raise _too_slow(model, target_ms, model.smallest_ms, peak, "a larger --max-peak-kb")
        limits = self.limits(model, target_ms)
        if not isinstance(limits, Limits) or limits.size is None:
            return
        assert isinstance(model, LatencyModel)
        smallest = replace(limits, size=None).decode(_negative(limits.size.costs))
        assert smallest is not None
        if limits.size.keeps(smallest):
            return
        fastest = decode(_negative(model.costs_ms), limits.size.costs, limits.size.budget, groups=model.groups)
        assert fastest is not None
        size = f"a file of {self.max_size_kb:g} KiB"
        other = f"at least --max-size-kb {_up(limits.size.value(smallest) * 1024)}"
        raise _too_slow(model, target_ms, model.predict_ms(fastest), [size, *peak], other)

    @property
    def _size_limit(self) -> Limit | None:
        if self.size is None:
            return None
        budget, fixed = self.max_size_kb * 1024 - self.size.fixed_bytes, self.size.fixed_bytes
        return Limit("kb", self.size.costs_bytes, budget, self.max_size_kb, 1 / 1024, fixed / 1024, self.space.groups)


def bounds(
    config: RunConfig,
    whole: AnySpace,
    classes: Sequence[str],
    texts: Sequence[str],
    runtime: str = DEFAULT,
    precision: str = "fp32",
) -> Bounds:
    """What the limits of a configuration leave of a space.

    Args:
        classes, texts: what the metadata of a file holds, as in `size_model`.
        runtime, precision: what the file is made for.

    Raises:
        InputError: a limit is negative or not a number, or the space knows no such limit.
        InfeasibleLimitError: no network of the space is within one of them, or none is within both.
    """
    for option, value in (("--max-size-kb", config.max_size_kb), ("--max-peak-kb", config.max_peak_kb)):
        if not 0 <= value < math.inf:
            raise InputError(
                f"{option} is a positive number of KiB, or 0 for no limit, not {value:g}", hint=f"example: {option} 500"
            )
        if value and not isinstance(whole, SearchSpace):
            raise InputError(
                f"{option} is no limit of {whole.name}: what an op takes there depends on the layers before it",
                hint=f"leave out {option}, and use a smaller --width or --resolution",
            )
    if not isinstance(whole, SearchSpace):
        return Bounds(0.0, 0.0, tuple(tuple(range(count)) for count in whole.options), whole, None)
    kept = _within_peak(whole, config.max_peak_kb)
    space = whole.restricted(kept)
    size = size_model(space, classes, texts, runtime, precision) if config.max_size_kb else None
    if size is not None and size.smallest_bytes > config.max_size_kb * 1024:
        alone = size_model(whole, classes, texts, runtime, precision).smallest_bytes
        joint = f" with a peak of at most {config.max_peak_kb:g} KiB" if alone <= config.max_size_kb * 1024 else ""
        smallest_bytes = size.smallest_bytes if joint else alone
        raise InfeasibleLimitError(
            f"no network of {whole.name}{joint} fits into a file of {config.max_size_kb:g} KiB: the smallest one takes "
            f"{smallest_bytes / 1024:.1f} KiB",
            limit="--max-size-kb",
            smallest_kb=smallest_bytes / 1024,
            hint=f"ask for at least --max-size-kb {_up(smallest_bytes)}, or use a smaller --width",
        )
    return Bounds(config.max_size_kb, config.max_peak_kb, kept, space, size)


def _within_peak(space: SearchSpace, max_peak_kb: float) -> tuple[tuple[int, ...], ...]:
    """Per decision the options whose ops all stay within the peak."""
    if max_peak_kb and not space.is_chain:
        raise InputError(
            f"the peak memory of {space.name} is no matter of single ops, as its cells keep several maps alive",
            hint="leave out --max-peak-kb",
        )
    peaks = [[0] * len(decision.options) for decision in space.decisions]
    fixed = {}
    for slot in space.slots:
        own = [peak_bytes(spec.graph) for spec in slot.ops]
        if slot.decision is None:
            fixed[slot.name] = own[0]
        else:
            peaks[slot.decision] = list(map(max, peaks[slot.decision], own))
    least = fixed | {decision.name: min(row) for decision, row in zip(space.decisions, peaks, strict=True)}
    worst = max(least, key=least.__getitem__)
    max_bytes = max_peak_kb * 1024 if max_peak_kb else math.inf
    if least[worst] > max_bytes:
        raise InfeasibleLimitError(
            f"no network of {space.name} runs within a peak of {max_peak_kb:g} KiB of activations: its {worst} alone "
            f"takes {least[worst] / 1024:.1f} KiB",
            limit="--max-peak-kb",
            smallest_kb=least[worst] / 1024,
            hint=f"ask for at least --max-peak-kb {_up(least[worst])}, or use a smaller --width or --resolution",
        )
    return tuple(tuple(k for k, peak in enumerate(row) if peak <= max_bytes) for row in peaks)


def _too_slow(
    model: Latencies, target_ms: float, fastest_ms: float, others: Sequence[str], instead: str
) -> InfeasibleBudgetError:
    return InfeasibleBudgetError(
        f"no network within {' and '.join(others)} is predicted to run within {target_ms:.4g} ms (the budget less the "
        f"table's margin): the fastest of them takes {fastest_ms:.4g} ms",
        smallest_ms=fastest_ms,
        hint=f"ask for at least --budget-ms {model.budget_ms(fastest_ms) * 1.005:.3g}, or for {instead}",
    )


def _negative(table: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[-value for value in row] for row in table]


def _up(size_bytes: float) -> str:
    """KiB with one digit, rounded up, so that asking for them is enough."""
    return f"{math.ceil(size_bytes / 102.4) / 10:g}"
