"""Presets: the numbers of the papers, typed here once more, and that everything else that is set goes before them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hwnas.config import Configuration, configure, load_configuration
from hwnas.config.default_profile import differences
from hwnas.config.presets import PRESETS
from hwnas.errors import InputError
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategy

DARTS = {  # Liu et al., 2019, section A.1; Xie et al., 2019, take the same
    "optimizer": "sgd",
    "batch_size": 64,
    "lr": 0.025,
    "momentum": 0.9,
    "weight_decay": 0.0003,
    "clip": 5.0,
    "arch_lr": 0.0003,
    "arch_beta1": 0.5,
    "arch_weight_decay": 0.001,
}
PAPERS: dict[str, tuple[str, dict[str, Any]]] = {
    "darts-v1": ("darts", DARTS | {"strategy": "darts", "warmup_epochs": 0, "epochs": 50, "lr_end": 0.001}),
    "darts-v2": ("darts", DARTS | {"strategy": "darts2", "warmup_epochs": 0, "epochs": 50, "lr_end": 0.001}),
    "snas": ("darts", DARTS | {"strategy": "snas", "epochs": 150, "lr_end": 0.0}),
    "enas": (
        "macro",
        {"strategy": "enas", "epochs": 310, "batch_size": 128, "schedule": "restarts", "lr": 0.05, "lr_end": 0.0005}
        | {"optimizer": "nesterov", "entropy_weight": 1e-4, "controller_lr": 1e-3, "controller_batch": 20},
    ),
    "metaqnn": (
        "chain",
        {"strategy": "metaqnn", "evaluator": "from-scratch", "evaluator_epochs": 20, "batch_size": 128, "lr": 1e-3}
        | {"q_rate": 0.01, "q_models": 2700, "candidates": 2700},
    ),
    "gdas": (
        "darts",
        {"strategy": "gdas", "epochs": 240, "temperature": 10.0, "temperature_end": 0.1, "lr": 0.025, "lr_end": 0.001},
    ),
    "fbnet": (
        "fbnet",
        {"strategy": "gumbel-soft", "warmup_epochs": 10, "epochs": 80, "batch_size": 192, "optimizer": "sgd"}
        | {"lr": 0.1, "weight_decay": 1e-4, "arch_lr": 0.01, "arch_weight_decay": 5e-4, "temperature": 5.0},
    ),
    "proxylessnas": (
        "mobile",
        {"strategy": "proxyless", "warmup_epochs": 40, "epochs": 120, "batch_size": 256, "lr": 0.025}
        | {"weight_decay": 4e-5, "label_smoothing": 0.1, "arch_lr": 1e-3, "arch_beta1": 0.0, "arch_every": 5},
    ),
}


def asked(name: str, *settings: str) -> Configuration:
    return configure(settings=["target.budget=20", f"search.preset={name}", *settings])


@pytest.mark.parametrize("name", [one.name for one in PRESETS])
class TestPreset:
    def test_its_values_are_the_paper_s_and_nothing_guards(self, name: str, tmp_path: Path) -> None:
        space, expected = PAPERS[name]
        config = asked(name)
        assert config.space.name == space
        assert {one: getattr(config.search, one) for one in expected} == expected
        assert (config.search.guard, config.search.init) == ("none", "")
        config.save(tmp_path / "config.toml")
        written = load_configuration(tmp_path / "config.toml")
        assert written == config
        assert f"lr = {expected['lr']}" in (tmp_path / "config.toml").read_text()

    def test_every_value_is_one_that_its_option_takes_and_follows_where_nothing_is_set(self, name: str) -> None:
        """Or a value that was set would be lost to the preset's."""
        (one,) = (one for one in PRESETS if one.name == name)
        known = {option.place: option for option in Configuration.options()}
        for value in one.values:
            section, _, option = value.place.partition(".")
            Configuration.sections()[section].model_validate(
                ({"budget": "1"} if section == "target" else {}) | {option: value.value}
            )
            assert known[value.place].default in (None, "", 0, "auto")
            assert value.source
        tuned = {value.place.partition(".")[2] for value in one.values} & {"temperature", "q_rate", "controller_lr"}
        assert tuned <= strategy(one.strategy).tunes.keys()

    def test_what_is_set_goes_before_it(self, name: str) -> None:
        config = asked(name, "search.lr=0.5", "search.candidates=3", "space.name=toy", "compute.seed=4")
        assert (config.search.lr, config.search.candidates, config.space.name) == (0.5, 3, "toy")
        assert config.search.batch_size == asked(name).search.batch_size

    def test_minutes_take_the_place_of_its_epochs(self, name: str) -> None:
        whole, limited = asked(name), asked(name, "train.minutes=5")
        assert limited.search.epochs is limited.search.warmup_epochs is None
        if whole.search.epochs:
            assert whole.search.warmup_epochs is not None
            share = whole.search.warmup_epochs / (whole.search.warmup_epochs + whole.search.epochs)
            assert limited.search.warmup_share == pytest.approx(share)

    def test_the_default_says_what_it_changes_and_why(self, name: str) -> None:
        (one,) = (one for one in PRESETS if one.name == name)
        usual = SearchSettings()
        for row in differences(one):
            option = row.option.partition(".")[2]
            if row.option.startswith("search.") and row.why == "" and hasattr(usual, option):
                assert getattr(usual, option) == row.value, row.option


def test_a_file_goes_before_a_preset_and_may_name_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[target]\nbudget = 20\n[search]\npreset = "gdas"\nclip = 2.0\n')
    config = configure(tmp_path / "mine.toml", ["search.batch_size=8"], {})
    assert (config.search.strategy, config.search.clip, config.search.batch_size) == ("gdas", 2.0, 8)


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="darts-v1, darts-v2, enas"):
        asked("darts")


def test_fbnet_cools_as_its_paper_does() -> None:
    """By exp(-0.045) each epoch (Wu et al., 2019, section 4.1)."""
    search = asked("fbnet").search
    assert search.temperature is not None
    assert search.temperature_end is not None
    assert search.epochs is not None
    rate = (search.temperature_end / search.temperature) ** (1 / search.epochs)
    assert rate == pytest.approx(math.exp(-0.045), rel=1e-4)
