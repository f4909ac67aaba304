"""What the default profile does otherwise than the papers, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hwnas.config.configuration import Configuration
from hwnas.config.option import Declared
from hwnas.config.presets import Preset, Published

_MINUTES = "a search of minutes, on hundreds of images or millions: its length follows the data and the minutes"
_ADAMW = "AdamW at one rate for every space is what searches here were measured with"
_TRAVEL = "α can move equally far in searches of any length (decision 14)"
_SCORES = "what α prefers is a proposal: several are scored with shared weights, and the best is taken"
_SAMPLER = "a search here scores tens of networks, not thousands, so it learns more from each"
_REASONS = {
    "space.name": "inverted residuals, which every runtime here runs",
    "search.init": "colour images start from a pre-trained parent where there is one (decision 63)",
    "search.guard": "without it relaxations collapse in short searches: 16 of 35 did (decision 34)",
    "search.warmup_epochs": "weights that are young make α prefer what fits fast, such as skips (decision 34)",
    "search.epochs": _MINUTES,
    "search.batch_size": "small sets have few steps an epoch",
    "search.optimizer": _ADAMW,
    "search.momentum": _ADAMW,
    "search.lr": _ADAMW,
    "search.weight_decay": _ADAMW,
    "search.schedule": "the rate rises in the first epoch, while AdamW's moments are young",
    "search.lr_end": "the rate ends at zero, as candidates are scored with the weights of the end",
    "search.clip": "a spike of the loss costs a short search more",
    "search.label_smoothing": "smoothing of steps on the weights; those on α have plain cross entropy (decision 7)",
    "search.arch_lr": _TRAVEL,
    "search.arch_travel": _TRAVEL,
    "search.arch_every": "beyond 400 steps on α time is better spent on the weights (decision 14)",
    "search.arch_beta1": "as DARTS",
    "search.arch_weight_decay": "β-decay pulls α back instead (decision 34)",
    "search.arch_init": "α prefers nothing at first, so equal seeds of all strategies begin alike",
    "search.candidates": _SCORES,
    "search.evaluator_epochs": _MINUTES,
    "search.temperature": "as the strategy was tuned",
    "search.temperature_end": "as the strategy was tuned",
    "search.entropy_weight": "as the paper",
    "search.controller_lr": _SAMPLER,
    "search.controller_batch": _SAMPLER,
    "search.q_rate": _SAMPLER,
    "search.q_models": _SAMPLER,
}


@dataclass(frozen=True)
class Difference:
    """An option, in a paper and by default.

    Attributes:
        value, source: the paper's.
        default: in words where it follows the data or the strategy.
        why: the default is what it is; empty where both are alike.
    """

    option: str
    value: Any
    source: str
    default: str
    why: str


def differences(preset: Preset) -> list[Difference]:
    """Every value of a preset beside the default's."""
    known = {one.place: one for one in Configuration.options()}
    return [_difference(one, known[one.place]) for one in preset.values]


def preset_facts(preset: Preset) -> dict[str, Any]:
    """A preset with its sources and the differences from the default profile, ready for JSON."""
    facts = {"preset": preset.name, "paper": preset.paper, "code": preset.code, "differs": list(preset.differs)}
    return facts | {"values": [asdict(one) for one in differences(preset)]}


def _difference(one: Published, option: Declared) -> Difference:
    default = option.option.by_default or str(option.default)
    alike = default == one.value or _number(default) == one.value
    return Difference(one.place, one.value, one.source, default, "" if alike else _REASONS.get(one.place, ""))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
