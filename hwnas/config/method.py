"""The options of section `search` about how a method learns, and which paper it follows."""

from __future__ import annotations

from typing import Annotated, Literal

from hwnas.config.option import Option
from hwnas.config.section import Section

PresetName = Literal["", "darts-v1", "darts-v2", "enas", "metaqnn", "gdas", "fbnet", "proxylessnas", "snas"]
OF_SCORES = ("batch_size", "lr", "weight_decay", "label_smoothing")
"""Options of section `search` that are those of trainings for a score, where there is no supernet."""

_MOST = 1_000_000


class SearchMethod(Section):
    """What papers publish beside a method: optimisers, schedules, temperatures. Empty values follow the preset."""

    preset: Annotated[
        PresetName,
        Option(
            "A paper to follow: its space, strategy, optimisers, schedules and epochs, and no guard; `hwnas strategies "
            "show darts` lists that of darts. What is set besides goes before it, and --minutes before its epochs.",
            flag="--preset",
            by_default="none: the settings that measured best here",
        ),
    ] = ""
    guard: Annotated[
        Literal["", "none", "beta-decay", "auxiliary-skip", "early-stop"],
        Option(
            "Guard of a relaxation against collapse to skips: β-decay, the decaying auxiliary skip of DARTS-, or an "
            "early stop as in DARTS+.",
            flag="--guard",
            by_default="beta-decay",
        ),
    ] = ""
    skip_share: Annotated[
        float | None,
        Option(
            "Early stop: the share of skips among what α prefers that ends a search.", gt=0, le=1, by_default="0.25"
        ),
    ] = None
    optimizer: Annotated[
        Literal["", "adamw", "sgd", "nesterov"],
        Option("Optimiser of the shared weights; nesterov is SGD with Nesterov's momentum.", by_default="adamw"),
    ] = ""
    momentum: Annotated[float | None, Option("Momentum of SGD.", ge=0, lt=1, by_default="0.9")] = None
    schedule: Annotated[
        Literal["", "warm-cosine", "cosine", "restarts"],
        Option(
            "Schedule of the learning rate: cosine, after a linear first epoch (warm-cosine), or in five periods, each "
            "twice as long as the one before (restarts).",
            by_default="warm-cosine",
        ),
    ] = ""
    lr_end: Annotated[
        float | None,
        Option("End of the schedule, or of each period: the rate there.", ge=0, by_default="0"),
    ] = None
    warmup_share: Annotated[
        float | None,
        Option(
            "Share of warm-up in the epochs, where the minutes say how many there are.",
            ge=0,
            lt=1,
            by_default="follows the start",
        ),
    ] = None
    arch_beta1: Annotated[
        float | None, Option("First moment: decay of Adam's, of the gradient of α.", ge=0, lt=1, by_default="0.5")
    ] = None
    arch_weight_decay: Annotated[
        float | None, Option("Weight decay of α: coupled, as Adam has it.", ge=0, by_default="0")
    ] = None
    arch_init: Annotated[
        float | None, Option("Standard deviation of α at the start; 0 prefers nothing.", ge=0, by_default="0")
    ] = None
    temperature: Annotated[
        float | None,
        Option("Temperature of a Gumbel softmax at the start.", gt=0, by_default="follows the strategy"),
    ] = None
    temperature_end: Annotated[
        float | None, Option("Temperature of a Gumbel softmax at the end.", gt=0, by_default="follows the strategy")
    ] = None
    entropy_weight: Annotated[
        float | None,
        Option("Entropy weight: what a nat adds to a reward of enas.", ge=0, by_default="follows the strategy"),
    ] = None
    controller_lr: Annotated[
        float | None, Option("Controller's learning rate, of enas.", gt=0, by_default="follows the strategy")
    ] = None
    controller_batch: Annotated[
        int | None,
        Option("Rewards per step of the controller of enas.", ge=1, le=_MOST, by_default="follows the strategy"),
    ] = None
    q_rate: Annotated[
        float | None, Option("Q-learning rate of metaqnn.", gt=0, le=1, by_default="follows the strategy")
    ] = None
    q_models: Annotated[
        int | None,
        Option(
            "Q-learning: different networks until metaqnn explores one option in ten.",
            ge=1,
            le=_MOST,
            by_default="follows the strategy",
        ),
    ] = None
