"""One declaration gives flags, `--set`, files and the reference."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import given
from typer.testing import CliRunner

import hwnas.config
from hwnas.cli import app
from hwnas.config import Configuration, Declared, Option, Search, Target, configure, load_configuration, read
from hwnas.errors import InputError
from hwnas.nas.reward import REWARDS
from hwnas.nas.search_settings import SearchSettings
from hwnas.train import Recipe
from hwnas.train.accelerator import NAMES

sys.path.append(str(Path(__file__).parents[2] / "tools"))
import write_reference

PLAIN = Configuration(target=Target(budget="20"))
TARGETS = ("pi4:7ms", "host@litert:5ms,10ms")
OPTIONS = [one for one in Configuration.options() if one.option.settable]
FLAGS = [(flag, one) for one in OPTIONS for flag in one.flags]


def sample(one: Declared) -> Any:
    """A value that differs from the default."""
    if one.place in ("target.budget", "target.targets", "search.share"):
        return {"target.budget": "7", "target.targets": TARGETS, "search.share": 0.25}[one.place]
    if one.place in ("space.resolution", "compute.accelerator"):
        return "96x160" if one.section == "space" else "cuda:1"
    if one.place in ("target.runtime", "target.provider", "target.precision"):
        return {"runtime": "litert", "provider": "openvino", "precision": "int8"}[one.name]
    if one.choices:
        return next(choice for choice in reversed(one.choices) if choice not in ("", one.default))
    if one.kind == "text":
        return "some text"
    return {"switch": one.default is not True, "count": 3, "number": 0.75}[one.kind]


def budgeted(one: Declared) -> bool:
    """Whether the option says which budgets there are."""
    return one.place in ("target.budget", "target.targets")


def changed(one: Declared, value: Any) -> Configuration:
    """Of the plain configuration; targets take the place of the budget."""
    other = {"budget": ""} if one.place == "target.targets" else {}
    return PLAIN.changed(**{one.section: {one.name: value} | other})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Configuration]:
    """The configurations of searches, which are not run."""
    from hwnas.api import searches
    from hwnas.cli import options, search_command

    facts = {
        "budget_ms": 20.0,
        "predicted_ms": 19.0,
        "measured_ms": None,
        "budget_met": None,
        "verdict": "not measured",
        "accuracy": {"test": 1.0},
    }
    found: list[Configuration] = []
    monkeypatch.setattr(searches, "run_search", lambda config, *_, **__: found.append(config) or facts)
    monkeypatch.setattr(search_command, "check_paths", lambda _: None)
    monkeypatch.setattr(options, "check_devices", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return found


def hwnas_search(*words: str) -> Any:
    return CliRunner().invoke(app, ["search", "--json", *words])


@pytest.mark.sample("one.kind")
@pytest.mark.parametrize(("flag", "one"), FLAGS, ids=[flag for flag, _ in FLAGS])
def test_a_flag_comes_back_from_the_file(flag: str, one: Declared, asked: list[Configuration], tmp_path: Path) -> None:
    value = sample(one)
    words = [flag] if one.kind == "switch" else [flag, str(value)]
    if one.kind == "texts":
        words = [word for each in value for word in (flag, each)]
    done = hwnas_search(*words, *([] if budgeted(one) else ["--budget-ms", "20"]))
    assert done.exit_code == 0, done.output
    assert asked == [changed(one, value)]
    asked[0].save(tmp_path / "config.toml")
    assert getattr(getattr(load_configuration(tmp_path / "config.toml"), one.section), one.name) == value


@pytest.mark.parametrize("one", OPTIONS, ids=lambda one: one.place)
def test_every_option_is_reached_by_set(one: Declared, tmp_path: Path) -> None:
    value = sample(one)
    typed = str(value).lower() if one.kind == "switch" else " ".join(value) if one.kind == "texts" else str(value)
    config = configure(settings=["target.budget=20", f"{one.place}={typed}"][budgeted(one) :])
    assert config == changed(one, value)
    config.save(tmp_path / "config.toml")
    assert load_configuration(tmp_path / "config.toml") == config != PLAIN


@pytest.mark.parametrize(("old", "today"), [("supernet", "one-shot"), ("training", "from-scratch")])
def test_evaluators_have_their_old_names_too(old: str, today: str, asked: list[Configuration]) -> None:
    for flag in ("--scores", "--evaluator"):
        assert hwnas_search("--budget-ms", "20", flag, old).exit_code == 0
    hwnas_search("--budget-ms", "20", "--set", f"search.evaluator={old}")
    assert [config.search.evaluator for config in asked] == [today] * 3


def test_flags_and_settings_go_before_the_file_and_the_file_before_defaults(
    asked: list[Configuration], tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text("[target]\nbudget = 20\n[search]\nlr = 0.1\nclip = 2\n[compute]\nseed = 1\n")
    done = hwnas_search("--config", "mine.toml", "--set", "search.lr=0.2", "--seed", "2")
    assert done.exit_code == 0, done.output
    assert asked == [PLAIN.changed(search={"lr": 0.2, "clip": 2.0}, compute={"seed": 2})]
    hwnas_search("--config", "mine.toml", "--set", "search.lr=", "--seed", "0")
    assert asked[1] == PLAIN.changed(search={"clip": 2.0})


def test_the_file_of_a_run_serves_but_for_what_the_run_filled_in(asked: list[Configuration], tmp_path: Path) -> None:
    PLAIN.changed(search={"init": "first", "init_sha256": "abc"}).save(tmp_path / "config.toml")
    hwnas_search("--config", "config.toml")
    assert asked == [PLAIN.changed(search={"init": "first"})]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (
            ["--seed", "1", "--set", "compute.seed=1"],
            "set twice, by --set compute.seed and by --seed",
            "",
        ),
        (["--scores", "training", "--evaluator", "one-shot"], "set twice, by --evaluator and by --scores", "leave one"),
        (["--set", "search.lr=1", "--set", "search.lr=2"], "search.lr is set twice", "leave one"),
        (["--set", "search.lr=fast"], "[search] lr is a number above 0, not 'fast'", "0.004"),
        (["--set", "search.epochs=1.5"], "whole number of at least 1", ""),
        (["--set", "train.augment=1"], "true or false, not '1'", ""),
        (["--set", "search.leraning_rate=1"], "[search] has no option 'leraning_rate'", "did you mean search.lr?"),
        (["--set", "train.crop=1"], "[train] has no option 'crop'", "did you mean train.crop_scale? docs/conf"),
        (["--set", "search.smoothing=1"], "no option 'smoothing'", "did you mean search.label_smoothing?"),
        (["--set", "train.qqqq=1"], "no option 'qqqq'", "docs/configuration.md lists all options"),
        (["--resolution", "1x1"], "height x width, with each side from 4 to 2048, not '1x1'", "--resolution 160"),
        (["--resolution", "0x0"], "height x width, with each side from 4 to 2048, not '0x0'", "--resolution 160"),
        (["--resolution", "3"], "height x width, with each side from 4 to 2048, not '3'", "--resolution 160"),
        (["--set", "serach.lr=1"], "no section 'serach'", "did you mean [search]?"),
        (["--set", "lr=1"], "section.name=value, not 'lr=1'", "--set search.lr=VALUE"),
        (["--set", "search.lr"], "section.name=value", ""),
        (["--set", ""], "--set is given an empty value", "leave it out"),
        (["--provider", ""], "--provider is given an empty value", "leave it out"),
        (["--on="], "--on is given an empty value", "leave it out"),
        (["--quiet", ""], "--quiet is given an empty value", ""),
        (["--tracker", "tensorbord"], "is tensorboard or mlflow, not 'tensorbord'", "did you mean tensorboard?"),
        (["--set", "search.init_sha256=a"], "filled in by the run", "leave it out"),
        (["--threads", "0"], "[compute] threads (--threads) is a whole number of at least 1", "the default is 1"),
        (["--minutes", "inf"], "--minutes", ""),
        (["--config", "no.toml"], "cannot read no.toml", ""),
    ],
)
def test_refusals(words: list[str], message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = hwnas_search("--budget-ms", "20", *words)
    content = json.loads(done.stdout)
    assert (done.exit_code, content["exit_code"]) == (2, 2)
    assert message in content["error"]
    assert hint in content["hint"]


@given(
    st.sampled_from([one.place for one in OPTIONS]) | st.text(max_size=15), st.text(max_size=15) | st.just("9" * 5000)
)
def test_any_setting_is_taken_or_refused(place: str, value: str) -> None:
    with suppress(InputError):
        assert configure(settings=["target.budget=20", f"{place}={value}"]).target.budget


def test_the_reference_is_up_to_date() -> None:
    assert write_reference.stale() == [], "run tools/write_reference.py"


def test_defaults_that_are_told_are_those_of_search_and_training() -> None:
    """What follows nothing is told as a number; the numbers are declared where they are used."""
    for section, kind in (("search", SearchSettings), ("train", Recipe)):
        told = {one.name: one.option.by_default for one in OPTIONS if one.section == section and one.default is None}
        for of_length in ("share", "warmup_share"):
            told.pop(of_length, None)
        assert told.keys() <= vars(kind)["__dataclass_fields__"].keys()
        for name, text in told.items():
            if not text.startswith(("follows", "as ")):
                assert json.loads(text) == getattr(kind, name)


@pytest.mark.parametrize(("section", "kind"), [("search", SearchSettings), ("train", Recipe)])
def test_every_hyper_parameter_can_be_set(section: str, kind: type) -> None:
    decided = {"shortened"}  # on the way
    own = vars(kind)["__dataclass_fields__"].keys() - decided
    assert own <= {one.name for one in OPTIONS if one.section == section}


def test_choices_are_those_that_are_understood() -> None:
    rewards, accelerators = (
        next(one for one in OPTIONS if one.place == place) for place in ("search.reward", "compute.accelerator")
    )
    assert rewards.choices == REWARDS
    assert accelerators.rule == "auto, cpu, cuda, cuda:N or mps"
    for name in (*NAMES, "cuda:0", "cuda:12"):
        assert changed(accelerators, name).compute.accelerator == name
    for name in ("", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cpu:0", "cuda:1\n"):
        with pytest.raises(InputError, match="--accelerator"):
            changed(accelerators, name)


class WiderSearch(Search):
    heat: Annotated[float, Option("Heat of the draws.", flag="--heat", unit="K", gt=0)] = 1.0


class Wider(Configuration):
    title: ClassVar[str] = "configuration"
    search: WiderSearch = WiderSearch()


def test_a_new_option_costs_one_declaration(
    monkeypatch: pytest.MonkeyPatch, asked: list[Configuration], tmp_path: Path
) -> None:
    """It is in the help, on the command line, in --set, in files, in messages and in the reference."""
    for module in (hwnas.config, read):
        monkeypatch.setattr(module, "Configuration", Wider)
    shown = " ".join(hwnas_search("--help").stdout.split())
    assert "--heat" in shown
    assert "Heat of the draws." in shown
    for words in (["--heat", "2.5"], ["--set", "search.heat=2.5"]):
        assert hwnas_search("--budget-ms", "20", *words).exit_code == 0
    assert [config.search.heat for config in asked] == [2.5, 2.5]  # type: ignore[attr-defined]
    asked[0].save(tmp_path / "config.toml")
    assert "heat = 2.5\n" in (tmp_path / "config.toml").read_text()
    assert load_configuration(tmp_path / "config.toml") == asked[0]
    refused = json.loads(hwnas_search("--budget-ms", "20", "--set", "search.heet=1").stdout)
    assert refused["hint"] == "did you mean search.heat? docs/configuration.md lists all options"
    assert "| `heat` | `--heat` | `1.0` | a number above 0; K | Heat of the draws. |" in write_reference.page(
        Wider.sections().values()
    )


@pytest.mark.parametrize("section", ["search", "train"])
def test_one_image_at_once_is_refused(section: str) -> None:
    with pytest.raises(InputError, match="at least 2"):
        configure(None, [f"{section}.micro_batch=1"], {"target.budget": {"--budget-ms": "20"}})
    assert configure(None, [f"{section}.micro_batch=2"], {"target.budget": {"--budget-ms": "20"}})
