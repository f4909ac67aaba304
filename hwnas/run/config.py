"""What a search was asked to do, as `config.toml` keeps it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import tomli_w

from hwnas.errors import InputError
from hwnas.files import write_text
from hwnas.latency.model import LatencyModel

_NEW: dict[str, Any] = {  # runs of earlier versions lack these
    "runtime": "",
    "precision": "",
    "max_drop": 1.0,
    "scores": "supernet",
    "score_epochs": 0,
    "reward": "filter",
    "recipe": "default",
    "init": "",
    "init_sha256": "",
    "search_share": "",
    "mixed_precision": False,
}
WITHOUT_SUPERNET = ("chain",)
"""Spaces whose networks cannot share weights."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A latency budget: milliseconds, or a share of the space's latency range on the device."""

    value: float
    relative: bool

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget in `text`: `20` is milliseconds, `50%` the middle of the range.

        Raises:
            InputError: the text is no budget.
        """
        match = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})\s*(%?)\s*", text, re.ASCII)
        value = float(match[1]) if match else 0.0
        relative = bool(match and match[2])
        if value <= 0 or (relative and value > 100):
            raise InputError(
                f"a budget is a positive number of milliseconds or a share of at most 100%, not {text!r}",
                hint="examples: --budget-ms 20, --budget-ms 0.5, --budget-ms 50%",
            )
        return cls(value, relative)

    def ms(self, model: LatencyModel) -> float:
        """In milliseconds; a share lies between the fastest and the slowest network of the space."""
        if not self.relative:
            return self.value
        return model.smallest_ms + self.value / 100 * (model.largest_ms - model.smallest_ms)

    def __str__(self) -> str:
        """As people say it: `20 ms`, `50%`."""
        return f"{self.value:.12g}{'%' if self.relative else ' ms'}"

    @property
    def folder(self) -> str:
        """What the folder of its results is called where there are several: `20ms`, `50pct`."""
        return f"{self.value:.12g}{'pct' if self.relative else 'ms'}"


def parse_budgets(text: str) -> tuple[Budget, ...]:
    """One budget or several with commas between them, the tightest first.

    Raises:
        InputError: one of them is no budget, one comes twice, or milliseconds and shares are mixed.
    """
    budgets = tuple(sorted((Budget.parse(part) for part in text.split(",")), key=lambda one: one.value))
    rule, hint = "", "examples: --budgets-ms 5,10,20, --budgets-ms 20%,50%"
    if len({one.relative for one in budgets}) > 1:
        rule = "are all in milliseconds or all shares"
    if twice := [str(one) for one, other in pairwise(budgets) if one == other]:
        rule = f"are all different, but {twice[0]} comes twice"
    if rule:
        raise InputError(f"the budgets of a search {rule}: {text!r}", hint=hint)
    return budgets


def parse_share(text: str) -> float | None:
    """The share of a search in `text`, 0 to 1; None where it is empty.

    Raises:
        InputError: the text is no share.
    """
    if not text.strip():
        return None
    match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})\s*(%?)\s*", text, re.ASCII)
    share = float(match[1]) / (100 if match[2] else 1) if match else 2.0
    if share > 1:
        raise InputError(
            f"the share of a search that is done lies between 0 and 1, or 0% and 100%, but it is {text!r}",
            hint="examples: --search-share 0, --search-share 10%, --search-share 1",
        )
    return share


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the outcome of a run. Equal configurations give equal results on one machine.

    Attributes:
        budget: as typed, for example `20` or `50%`, or several such as `5,10,20`.
        device: id of the device, or the path of its TOML file.
        runtime, precision: what runs models there and what they are made of, if not the device's own choice.
        data: `digits`, `mnist`, `cifar10`, a folder of class folders, or an .npz file; where a `Dataset` is given in
            its place, that one's name.
        space, width, depth, resolution: the instance of the search space; where width or resolution are 0, they
            follow the budget and the size of the images. A depth of 0 is the default of the space.
        strategy: name of the search strategy; where it is empty, it follows the space: gumbel, or metaqnn for chains.
        seed: of everything that is random.
        threads: CPU threads of search and training.
        accelerator: where to train.
        mixed_precision: whether the supernet and the final networks are trained with convolutions in bfloat16.
        max_size_kb, max_peak_kb: largest model file, and most activations alive at once, in KiB; 0 is no limit.
        train: whether the winner is trained; otherwise it keeps the weights that it inherits.
        epochs: of the final trainings; 0 follows the size of the data, or the minutes.
        recipe: of the final trainings: `default`, `cells` as for the final networks of DARTS, or `auto`, which is
            `cells` in the space of DARTS.
        minutes: how long the whole run should take; 0 follows the size of the data.
        baseline: whether a random network within the budget is trained and measured beside the winner.
        max_drop: percentage points of validation accuracy that int8 may cost.
        scores: of candidates, where they come from: the weights of the `supernet`, or short `training` from scratch;
            where it is empty, the supernet, or training for chains, which share no weights.
        score_epochs: of such a training; 0 follows the size of the data.
        reward: what samplers are told, and may propose: accuracies of what is within the budget (`filter`), or the
            `absolute` reward of TuNAS, which draws them to the budget from either side.
        init: an initialisation or the folder of an earlier run to start from; empty for a random start.
        init_sha256: of what was read there, so that a run is resumed with the same; filled in by the plan.
        search_share: as typed, for example `0.1` or `10%`: how much of a search from a random start is done from
            `init`; 0 decodes its α and trains no supernet. Where it is empty, less warm-up and fewer epochs.
    """

    budget: str
    device: str = "host"
    runtime: str = ""
    precision: str = ""
    data: str = "digits"
    space: str = "mobile"
    width: float = 0.0
    depth: int = 0
    resolution: int = 0
    strategy: str = ""
    seed: int = 0
    threads: int = 1
    accelerator: str = "auto"
    mixed_precision: bool = False
    max_size_kb: float = 0.0
    max_peak_kb: float = 0.0
    train: bool = True
    epochs: int = 0
    recipe: str = "auto"
    minutes: float = 0.0
    baseline: bool = True
    max_drop: float = 1.0
    scores: str = ""
    score_epochs: int = 0
    reward: str = "filter"

    init: str = ""
    init_sha256: str = ""
    search_share: str = ""

    def __post_init__(self) -> None:
        strategy, scores = ("metaqnn", "training") if self.space in WITHOUT_SUPERNET else ("gumbel", "supernet")
        object.__setattr__(self, "strategy", self.strategy or strategy)
        object.__setattr__(self, "scores", self.scores or scores)

    def save(self, path: Path) -> None:
        write_text(path, tomli_w.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> RunConfig:
        """Read `config.toml`.

        Raises:
            InputError: it is missing, not TOML, or not a configuration.
        """
        try:
            content = _NEW | tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not valid TOML: {error}") from error
        types = {field.name: type(field.default) if field.name != "budget" else str for field in fields(cls)}
        wrong = [name for name in types.keys() | content.keys() if type(content.get(name)) is not types.get(name)]
        if wrong:
            raise InputError(f"{path} is not the configuration of a run: look at {', '.join(sorted(wrong))}")
        return cls(**content)
