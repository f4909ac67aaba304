"""From an initialisation of one instance of a space to the start of a search in another, option by option, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from hwnas.arch.origin import Origin
from hwnas.arch.space import SearchSpace
from hwnas.errors import InputError
from hwnas.meta.initialisation import Initialisation
from hwnas.nas.start import Start
from hwnas.nas.supernet import Supernet

LARGEST_SPREAD = 4.0
"""How far apart the logits of a decision may start: half of what α travels in a search, so that it can turn around."""

_LEAST_SHARE = 0.5


@dataclass(frozen=True)
class Reused:
    """What an initialisation gave.

    Attributes:
        tensors, all_tensors: of the supernet's weights, how many were taken, and how many there are.
        share: of the parameters, without the classifier's.
        fresh: slots of which no tensor was taken.
        decisions: how many rows of α were taken; 0 where there is none.
        sampler: whether a sampler starts from what one learned, and if not, why; empty for a relaxation.
    """

    tensors: int
    all_tensors: int
    share: float
    fresh: tuple[str, ...]
    decisions: int
    sampler: str = ""

    def to_json(self, source: str) -> dict[str, Any]:
        """All of it, and where it came from."""
        return {"from": source} | asdict(self) | {"fresh": list(self.fresh)}

    def __str__(self) -> str:
        """One line for people."""
        sampler = f"sampler {self.sampler}" if self.sampler else ""
        if not self.all_tensors:
            return sampler
        alpha = f", α of {self.decisions} decisions" if self.decisions else ", no α"
        fresh = f"; fresh: {', '.join(self.fresh)}" if self.fresh else ""
        end = f"; {sampler}" if sampler else ""
        return f"{self.tensors} of {self.all_tensors} tensors ({self.share:.0%} of the weights){alpha}{fresh}{end}"


def start_in(space: SearchSpace, init: Initialisation, *, where: str) -> tuple[Start, Reused]:
    """What of `init` a search of `space` begins with.

    Weights are taken where the slot, the option and the parameter have the same names and the shape is the same. The
    classifier is taken only where there are as many classes. α is taken by the names of decisions and options, centred
    on what is known of a decision, and pressed together where it is spread by more than `LARGEST_SPREAD`.

    Args:
        where: the initialisation comes from, for messages.

    Raises:
        InputError: it is of another space, or less than half of the weights can be taken.
    """
    same_family(space.name, init, where=where)
    state = Supernet(space).state_dict()
    own = {name: value.shape for name, value in state.items()}
    classifier = f"{space.slots[-1].name}."
    taken = {
        target: init.weights[source]
        for target, source in _names(space, init.origin, own)
        if source in init.weights
        and init.weights[source].shape == own[target]
        and (space.classes == init.origin.classes or not target.startswith(classifier))
    }
    size = {name: shape.numel() for name, shape in own.items() if not name.startswith(classifier)}
    share = sum(size.get(name, 0) for name in taken) / max(1, sum(size.values()))
    if share < _LEAST_SHARE:
        raise InputError(
            f"only {share:.0%} of the weights of {space.signature} fit those of {where}, which was learned in "
            f"{init.origin.space} on images with {init.origin.input_shape[0]} channels",
            hint="leave out --width, --depth and --resolution to take those of the initialisation, or leave out --init",
        )
    began = {name.partition(".")[0] for name in taken}
    fresh = tuple(s.name for s in space.slots if s.name not in began and any(n.startswith(f"{s.name}.") for n in own))
    alpha, decisions = (None, 0) if init.alpha is None else _alpha(space, init.origin, init.alpha)
    return Start(taken, alpha), Reused(len(taken), len(own), share, fresh, decisions)


def same_family(space: str, init: Initialisation, *, where: str) -> None:
    """Whether an initialisation is of the space with that name, or of an instance of it.

    Raises:
        InputError: it is not.
    """
    family, known = (name.partition("@")[0] for name in (space, init.origin.space))
    if family != known:
        raise InputError(
            f"a search of {family} cannot start from {where}, which was learned in {known}",
            hint=f"search with --space {known}, or leave out --init",
        )


def _names(space: SearchSpace, origin: Origin, names: dict[str, torch.Size]) -> Iterator[tuple[str, str]]:
    """Pairs of a name in the supernet of `space` and the name of the same parameter in that of `origin`."""
    before = dict(origin.slots)
    decision_of = {slot.name: slot.decision for slot in space.slots}
    for name in names:
        slot, option, parameter = name.split(".", 2)
        decision = decision_of[slot]
        if slot not in before or (decision is None) != (before[slot] < 0):
            continue
        if decision is None:
            yield name, name
            continue
        label = space.decisions[decision].options[int(option)]
        known = origin.decisions[before[slot]][1]
        if label in known:
            yield name, f"{slot}.{known.index(label)}.{parameter}"


def _alpha(space: SearchSpace, origin: Origin, alpha: Tensor) -> tuple[Tensor, int]:
    """Logits for `space`, and for how many of its decisions they are known."""
    pairs = zip(origin.decisions, alpha.tolist(), strict=True)
    rows = {name: dict(zip(options, row, strict=False)) for (name, options), row in pairs}
    result, count = torch.zeros(len(space.decisions), max(space.options)), 0
    for row, decision in zip(result, space.decisions, strict=True):
        known = rows.get(decision.name, {})
        places = [place for place, option in enumerate(decision.options) if option in known]
        if not places:
            continue
        values = torch.tensor([known[decision.options[place]] for place in places])
        values = values - values.mean()
        spread = float(values.max() - values.min())
        row[places] = values * min(1.0, LARGEST_SPREAD / max(spread, 1e-9))
        count += 1
    return result, count
