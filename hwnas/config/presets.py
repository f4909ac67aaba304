"""What papers publish, as values of a configuration with a source each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwnas.config.method import PresetName

WARMUP, EPOCHS = "search.warmup_epochs", "search.epochs"


@dataclass(frozen=True)
class Published:
    """A value that a paper, or the code of its authors, names.

    Attributes:
        place: of the option, such as `search.lr`.
        source: section of the paper, or file of the repository.
    """

    place: str
    value: Any
    source: str


@dataclass(frozen=True)
class Preset:
    """The search of a paper.

    Attributes:
        strategy: that it sets; no other one goes with it.
        paper: authors, venue and number.
        code: the repository of the authors, or empty where they published none.
        values: what is followed.
        differs: what is not, one sentence each.
    """

    name: PresetName
    strategy: str
    paper: str
    code: str
    values: tuple[Published, ...]
    differs: tuple[str, ...]

    def resolved(self, *, minutes: bool) -> dict[str, Any]:
        """The values by place.

        Args:
            minutes: whether minutes say how many epochs there are; of the paper's, the share of warm-up is left then.
        """
        found = {one.place: one.value for one in self.values}
        if minutes and EPOCHS in found:
            warmup, epochs = found.pop(WARMUP), found.pop(EPOCHS)
            found["search.warmup_share"] = warmup / (warmup + epochs)
        return found


def preset(name: str) -> Preset | None:
    """The preset called so; None for an empty name."""
    return next((one for one in PRESETS if one.name == name), None)


def presets_of(strategy: str) -> tuple[Preset, ...]:
    """Those of a strategy."""
    return tuple(one for one in PRESETS if one.strategy == strategy)


def _values(source: str, values: Mapping[str, Any], **others: tuple[Any, str]) -> tuple[Published, ...]:
    """Values of section `search` from one source, and others, each with its own."""
    named = {name: (value, source) for name, value in values.items()} | others
    return tuple(Published(f"search.{name}", *one) for name, one in named.items())


def _start(strategy: str, space: str, source: str) -> tuple[Published, ...]:
    """What every preset begins with: its space and strategy, random weights, and no guard."""
    section = {"space.name": space, "search.strategy": strategy, "search.init": "", "search.guard": "none"}
    return tuple(Published(place, value, source) for place, value in section.items())


_BUDGET = "The latency is held by an augmented Lagrangian and an exact decode, in place of the paper's term, if any."
_SPLIT = "α is stepped on the validation images of the data set, which may be fewer than the paper's share."
_TRAINING = "The final training is that of hwnas, as --epochs, --recipe and [train] say."
_SIZE = "Width, depth and input size follow the budget and the data, unless --width, --depth and --resolution say them."
_ROOM = (
    "Where the budget leaves room, costlier neighbours of the candidates are scored as well, and may take their place."
)
_COMMON = (_BUDGET, _SIZE, _TRAINING)
_OF_RELAXATIONS = (*_COMMON, _ROOM)

_DARTS_CODE = "https://github.com/quark0/darts"
_DARTS_SEARCH = "cnn/train_search.py"
_DARTS = (
    *_values(
        _DARTS_SEARCH,
        {
            "warmup_epochs": 0,
            "epochs": 50,
            "batch_size": 64,
            "optimizer": "sgd",
            "momentum": 0.9,
            "schedule": "cosine",
            "lr": 0.025,
            "lr_end": 0.001,
            "weight_decay": 3e-4,
            "clip": 5.0,
            "label_smoothing": 0.0,
            "arch_lr": 3e-4,
            "arch_weight_decay": 1e-3,
            "arch_every": 1,
            "arch_travel": 0.0,
        },
        arch_beta1=(0.5, "cnn/architect.py"),
        arch_init=(1e-3, "cnn/model_search.py"),
        candidates=(1, "section 2.4: what α prefers is taken"),
    ),
)
_DARTS_DIFFERS = (
    *_OF_RELAXATIONS,
    f"{_SPLIT} DARTS takes half of the train images.",
    "The paper searches four times and keeps the best cell; repeat with --seed.",
)


PRESETS = (
    Preset(
        "darts-v1",
        "darts",
        "Liu, Simonyan and Yang, DARTS, ICLR 2019, arXiv:1806.09055, ξ = 0",
        _DARTS_CODE,
        (*_start("darts", "darts", "section 3.1"), *_DARTS),
        _DARTS_DIFFERS,
    ),
    Preset(
        "darts-v2",
        "darts2",
        "Liu, Simonyan and Yang, DARTS, ICLR 2019, arXiv:1806.09055, ξ = the learning rate",
        _DARTS_CODE,
        (*_start("darts2", "darts", "section 3.1"), *_DARTS),
        _DARTS_DIFFERS,
    ),
    Preset(
        "enas",
        "enas",
        "Pham et al., Efficient Neural Architecture Search via Parameter Sharing, ICML 2018, arXiv:1802.03268, macro",
        "https://github.com/melodyguan/enas",
        (
            *_start("enas", "macro", "section 2.3"),
            *_values(
                "scripts/cifar10_macro_search.sh",
                {
                    "warmup_epochs": 0,
                    "epochs": 310,
                    "batch_size": 128,
                    "schedule": "restarts",
                    "lr": 0.05,
                    "lr_end": 0.0005,
                    "weight_decay": 2.5e-4,
                    "entropy_weight": 1e-4,
                    "controller_lr": 1e-3,
                    "controller_batch": 20,
                },
                optimizer=("nesterov", "section 3.2"),
                momentum=(0.9, "src/utils.py"),
                clip=(5.0, "src/cifar10/main.py: child_grad_bound"),
                label_smoothing=(0.0, "src/cifar10/general_child.py: plain cross entropy"),
                arch_every=(1, "as many rewards an epoch as there are weight steps; the script has 50 times 20"),
                candidates=(10, "section 2.2: several are drawn, and the best of one minibatch is kept"),
            ),
        ),
        (
            *_COMMON,
            "The controller gets one reward per weight step, fewer than the 1,000 an epoch of the script.",
            "Skip connections have no target share (0.4, weight 0.8 in the script), and the supernet no drop path, "
            "auxiliary head or dropout.",
            "Where script and paper differ, the script is followed: the paper's periods end at a rate of 0.001, and "
            "its weight decay is 1e-4.",
            "The five periods of the rate share the epochs there are; at 310 they have the script's 10 to 160.",
        ),
    ),
    Preset(
        "metaqnn",
        "metaqnn",
        "Baker et al., Designing Neural Network Architectures using RL, ICLR 2017, arXiv:1611.02167",
        "https://github.com/bowenbaker/metaqnn",
        (
            *_start("metaqnn", "chain", "section 4.1"),
            *_values(
                "section 5",
                {
                    "evaluator": "from-scratch",
                    "evaluator_epochs": 20,
                    "batch_size": 128,
                    "lr": 1e-3,
                },
                q_rate=(0.01, "section 4.3"),
                q_models=(2700, "section 4.3, table 2"),
                candidates=(2700, "section 4.3, table 2"),
                weight_decay=(0.0, "section 5: Adam"),
                label_smoothing=(0.0, "section 5: plain cross entropy"),
            ),
        ),
        (
            _SIZE,
            _TRAINING,
            "What is slower than the budget is never proposed.",
            "Each network trains by a cosine with two epochs of warm-up; the paper's rate falls to a fifth every five "
            "epochs, and begins again with 0.4 of it, up to five times, where a network is at chance after the first.",
            "There is no dropout, and the layers have batch norms.",
            "2,700 networks are the paper's: with search.candidates give search.q_models the same, smaller number.",
        ),
    ),
    Preset(
        "gdas",
        "gdas",
        "Dong and Yang, Searching for a Robust Neural Architecture in Four GPU Hours, CVPR 2019, arXiv:1910.04465",
        "https://github.com/D-X-Y/AutoDL-Projects",
        (
            *_start("gdas", "darts", "section 4.1"),
            *_values(
                "configs/nas-benchmark/algos/GDAS.config",
                {
                    "warmup_epochs": 0,
                    "epochs": 240,
                    "batch_size": 64,
                    "optimizer": "nesterov",
                    "momentum": 0.9,
                    "schedule": "cosine",
                    "lr": 0.025,
                    "lr_end": 0.001,
                    "weight_decay": 5e-4,
                    "label_smoothing": 0.0,
                },
                clip=(5.0, "exps of the repository: gradients of norm 5"),
                temperature=(10.0, "section 4.1"),
                temperature_end=(0.1, "section 4.1"),
                arch_lr=(3e-4, "section 4.1"),
                arch_weight_decay=(1e-3, "section 4.1"),
                arch_beta1=(0.5, "section 4.1, as DARTS"),
                arch_init=(1e-3, "model of the repository"),
                arch_every=(1, "algorithm 1"),
                arch_travel=(0.0, "algorithm 1"),
                candidates=(1, "algorithm 1: what α prefers is taken"),
            ),
        ),
        (
            *_OF_RELAXATIONS,
            f"{_SPLIT} GDAS takes half of the train images.",
            "Of the two search files of the repository this is the one with 240 epochs and batches of 64; "
            "GDAS-NASNet-CIFAR.config has 250 epochs and batches of 256.",
        ),
    ),
    Preset(
        "fbnet",
        "gumbel-soft",
        "Wu et al., FBNet, CVPR 2019, arXiv:1812.03443",
        "",
        (
            *_start("gumbel-soft", "fbnet", "section 3.1"),
            *_values(
                "section 4.1",
                {
                    "warmup_epochs": 10,
                    "epochs": 80,
                    "batch_size": 192,
                    "optimizer": "sgd",
                    "momentum": 0.9,
                    "schedule": "cosine",
                    "lr": 0.1,
                    "weight_decay": 1e-4,
                    "arch_lr": 0.01,
                    "arch_weight_decay": 5e-4,
                    "temperature": 5.0,
                },
                lr_end=(0.0, "section 4.1: cosine"),
                temperature_end=(round(5.0 * math.exp(-0.045 * 80), 4), "section 4.1: times exp(-0.045) each epoch"),
                clip=(0.0, "none is named"),
                label_smoothing=(0.0, "equation 2: cross entropy"),
                arch_beta1=(0.9, "Adam's own; none is named"),
                arch_every=(4, "section 4.1: 80 % of the images for weights, 20 % for α"),
                arch_travel=(0.0, "section 4.1"),
                candidates=(6, "section 3.3: some are drawn from the trained distribution"),
            ),
        ),
        (
            *_OF_RELAXATIONS,
            f"{_SPLIT} FBNet takes 20 % of the train images, in a phase of its own at the end of each epoch, and "
            "100 classes of ImageNet.",
            "Candidates are decoded, the likeliest first, not drawn.",
        ),
    ),
    Preset(
        "proxylessnas",
        "proxyless",
        "Cai, Zhu and Han, ProxylessNAS, ICLR 2019, arXiv:1812.00332, by gradient",
        "https://github.com/mit-han-lab/proxylessnas",
        (
            *_start("proxyless", "mobile", "section 4.2"),
            *_values(
                "search/imagenet_arch_search.py",
                {
                    "warmup_epochs": 40,
                    "epochs": 120,
                    "batch_size": 256,
                    "optimizer": "nesterov",
                    "momentum": 0.9,
                    "schedule": "cosine",
                    "lr": 0.025,
                    "weight_decay": 4e-5,
                    "label_smoothing": 0.1,
                    "arch_lr": 1e-3,
                    "arch_beta1": 0.0,
                    "arch_weight_decay": 0.0,
                    "arch_init": 1e-3,
                    "arch_every": 5,
                },
                lr_end=(0.0, "search/imagenet_arch_search.py: cosine"),
                clip=(0.0, "none is named"),
                arch_travel=(0.0, "search/imagenet_arch_search.py"),
                candidates=(1, "section 3.2: what α prefers is taken"),
            ),
        ),
        (
            *_OF_RELAXATIONS,
            _SPLIT,
            "One cosine runs over warm-up and search; the code has one for each.",
            "Steps on α draw two paths as the paper says; the code's full_v2 computes all of them without gradient.",
            "The space mobile has squeeze-excite, which the paper's has not.",
        ),
    ),
    Preset(
        "snas",
        "snas",
        "Xie et al., SNAS: Stochastic Neural Architecture Search, ICLR 2019, arXiv:1812.09926",
        "",
        (
            *_start("snas", "darts", "section 3.1"),
            *_values(
                "section 3.1",
                {
                    "warmup_epochs": 0,
                    "epochs": 150,
                    "batch_size": 64,
                    "optimizer": "sgd",
                    "momentum": 0.9,
                    "schedule": "cosine",
                    "lr": 0.025,
                    "lr_end": 0.0,
                    "weight_decay": 3e-4,
                    "clip": 5.0,
                    "arch_lr": 3e-4,
                    "arch_beta1": 0.5,
                    "arch_weight_decay": 1e-3,
                },
                label_smoothing=(0.0, "equation 1: cross entropy"),
                arch_init=(1e-3, "as DARTS"),
                arch_every=(1, "section 2.3: weights and α take one step together"),
                arch_travel=(0.0, "section 3.1"),
                candidates=(1, "section 3.1: what α prefers is taken"),
            ),
        ),
        (
            *_OF_RELAXATIONS,
            "The paper does not give its temperatures; they are those of the strategy, 5 to 0.5.",
            "The forward time of the networks is held as a constraint, not as a resource term with a weight.",
        ),
    ),
)
"""All presets."""
