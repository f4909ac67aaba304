"""What `--max-size-kb` and `--max-peak-kb` leave of a search space. One KiB is 1,024 bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.arch.costs import peak_bytes
from hwnas.arch.space import SearchSpace
from hwnas.config import Configuration
from hwnas.errors import InfeasibleBudgetError, InfeasibleLimitError, InputError
from hwnas.exporting.size import SizeModel, size_model
from hwnas.latency.model import LatencyModel
from hwnas.nas.constraint import Constraint, latency_constraint
from hwnas.nas.feasible_set import FeasibleSet, feasible_set
from hwnas.runtimes import DEFAULT


@dataclass(frozen=True)
class ConstrainedSpace:
    """A space under the constraints beside the latency.

    The peak memory of a chain is the largest peak of its ops, so that one is a filter on options. The size is a sum, so
    that one is a constraint on architectures.

    Attributes:
        max_size_kb, max_peak_kb: in KiB; 0 is no limit.
        kept: per decision of the whole space, the options within the peak.
        space: what these leave.
        size: the size of its files, if it is limited.
    """

    max_size_kb: float
    max_peak_kb: float
    kept: tuple[tuple[int, ...], ...]
    space: SearchSpace
    size: SizeModel | None

    @property
    def options(self) -> int:
        """Number of options, over all decisions, that are left."""
        return sum(map(len, self.kept))

    def feasible_set(self, model: LatencyModel, target_ms: float, budget_ms: float | None = None) -> FeasibleSet:
        """What a search in `space` may find: all constraints, where `model` predicts latencies.

        Args:
            budget_ms: what was asked, where that is not the budget of which the margin leaves `target_ms`.

        Raises:
            InfeasibleBudgetError: no network of the space is that fast.
        """
        return feasible_set(latency_constraint(model, target_ms, budget_ms), *self._size)

    def count(self, feasible: FeasibleSet | None = None) -> float:
        """Number of architectures in a feasible set, or of any latency; with two constraints up to the rounding of
        draws."""
        if feasible is not None:
            return feasible.count
        return feasible_set(*self._size).count if self._size else float(self.space.size)

    def broken(self, file_bytes: int, peak: int) -> str:
        """Which constraint a finished network breaks, as a sentence; empty if it keeps both."""
        for name, value, limit_kb in (("file", file_bytes, self.max_size_kb), ("peak", peak, self.max_peak_kb)):
            if limit_kb and value > limit_kb * 1024:
                return f"the {name} of the exported network is {value / 1024:.5g} KiB, above {limit_kb:g} KiB"
        return ""

    def check(self, model: LatencyModel, target_ms: float) -> None:
        """Whether the constraints can be kept together; `model` is that of `space`.

        Raises:
            InfeasibleBudgetError: they cannot, though each alone can.
        """
        peak = [f"a peak of {self.max_peak_kb:g} KiB"] if self.max_peak_kb else []
        if model.smallest_ms > target_ms:
            raise _too_slow(model, target_ms, model.smallest_ms, peak, "a larger --max-peak-kb")
        latency = latency_constraint(model, target_ms)
        for size in self._size:
            smallest = feasible_set(latency).extreme(size)
            assert smallest is not None
            if not size.keeps(smallest):
                raise self._not_together(model, latency, size, smallest, peak)

    def _not_together(
        self, model: LatencyModel, latency: Constraint, size: Constraint, smallest: Sequence[int], peak: Sequence[str]
    ) -> InfeasibleBudgetError:
        fastest = feasible_set(size).extreme(latency)
        assert fastest is not None
        file = f"a file of {self.max_size_kb:g} KiB"
        other = f"at least --max-size-kb {_up(size.value(smallest) * 1024)}"
        return _too_slow(model, latency.target, model.predict_ms(fastest), [file, *peak], other)

    @property
    def _size(self) -> tuple[Constraint, ...]:
        """The constraint on the size of the file, if there is one."""
        if self.size is None:
            return ()
        fixed = self.size.fixed_bytes
        costs = AdditiveCosts(self.size.costs_bytes, self.space.groups)
        return (Constraint("kb", costs, self.max_size_kb * 1024 - fixed, self.max_size_kb, 1 / 1024, fixed / 1024),)


def constrained_space(
    config: Configuration,
    whole: SearchSpace,
    classes: Sequence[str],
    texts: Sequence[str],
    runtime: str = DEFAULT,
    precision: str = "fp32",
) -> ConstrainedSpace:
    """What the constraints of a configuration leave of a space.

    Args:
        classes, texts: what the metadata of a file holds, as in `size_model`.
        runtime, precision: what the file is made for.

    Raises:
        InputError: the space knows no such limit.
        InfeasibleLimitError: no network of the space is within one of them, or none is within both.
    """
    max_size_kb, max_peak_kb = config.target.max_size_kb, config.target.max_peak_kb
    for option, value in (("--max-size-kb", max_size_kb), ("--max-peak-kb", max_peak_kb)):
        if value and not whole.slots:
            raise InputError(
                f"{option} is no limit of {whole.name}: what an op takes there depends on the layers before it",
                hint=f"leave out {option}, and use a smaller --width or --resolution",
            )
    kept = _within_peak(whole, max_peak_kb)
    space = whole.restricted(kept)
    size = size_model(space, classes, texts, runtime, precision) if max_size_kb else None
    if size is not None and size.smallest_bytes > max_size_kb * 1024:
        alone = size_model(whole, classes, texts, runtime, precision).smallest_bytes
        joint = f" with a peak of at most {max_peak_kb:g} KiB" if alone <= max_size_kb * 1024 else ""
        smallest_bytes = size.smallest_bytes if joint else alone
        raise InfeasibleLimitError(
            f"no network of {whole.name}{joint} fits into a file of {max_size_kb:g} KiB: the smallest one takes "
            f"{smallest_bytes / 1024:.1f} KiB",
            limit="--max-size-kb",
            smallest_kb=smallest_bytes / 1024,
            hint=f"ask for at least --max-size-kb {_up(smallest_bytes)}, or use a smaller --width",
        )
    return ConstrainedSpace(max_size_kb, max_peak_kb, kept, space, size)


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
    model: LatencyModel, target_ms: float, fastest_ms: float, others: Sequence[str], instead: str
) -> InfeasibleBudgetError:
    return InfeasibleBudgetError(
        f"no network within {' and '.join(others)} is predicted to run within {target_ms:.4g} ms (the budget less the "
        f"table's margin): the fastest of them takes {fastest_ms:.4g} ms",
        smallest_ms=fastest_ms,
        hint=f"ask for at least --budget-ms {model.budget_ms(fastest_ms) * 1.005:.3g}, or for {instead}",
    )


def _up(size_bytes: float) -> str:
    """KiB with one digit, rounded up, so that asking for them is enough."""
    return f"{math.ceil(size_bytes / 102.4) / 10:g}"
