"""Configurations in files: what comes back, what is refused, and the flat files of earlier versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings

from hwnas.config import Configuration, Declared, Target, configure, load_configuration
from hwnas.errors import InputError
from hwnas.runtimes import PRECISIONS, PROVIDERS, RUNTIMES

PLAIN = Configuration(target=Target(budget="20"))
OPTIONS = [one for one in Configuration.options() if one.option.settable]

LAST_FLAT = """\
budget = "50%"
device = "host"
runtime = ""
precision = ""
data = "photos"
space = "mobile"
width = 0.25
depth = 5
resolution = 32
strategy = "enas"
seed = 3
threads = 2
accelerator = "cpu"
mixed_precision = true
max_size_kb = 500.0
max_peak_kb = 0.0
train = false
epochs = 7
recipe = "auto"
minutes = 0.0
baseline = false
max_drop = 2.0
scores = "training"
score_epochs = 2
reward = "absolute"
init = "runs/first"
init_sha256 = "abc"
search_share = "10%"
"""
"""As the last version with a flat file wrote it."""
BEFORE_RUNTIMES = """\
budget = "5,10"
device = "host"
data = "digits"
space = "mobile"
width = 0.0
depth = 0
resolution = 0
strategy = "gumbel"
seed = 0
threads = 1
accelerator = "auto"
max_size_kb = 0.0
max_peak_kb = 0.0
train = true
epochs = 0
minutes = 30.0
baseline = true
"""
"""As a version wrote it that had one runtime, one recipe, and no initialisations."""


def values(one: Declared) -> st.SearchStrategy[Any]:
    """Values that keep the rule of an option."""
    if one.place == "target.budget":
        return st.integers(1, 10**6).map(str)
    if one.place == "space.resolution":
        return st.just(0) | st.integers(4, 2048)
    if one.place == "compute.accelerator":
        return st.sampled_from(["auto", "cpu", "cuda", "cuda:7", "mps"])
    if one.place in ("target.runtime", "target.provider", "target.precision"):
        known = {"runtime": tuple(RUNTIMES), "provider": PROVIDERS, "precision": PRECISIONS}
        return st.sampled_from(known[one.name])
    if one.choices:
        return st.sampled_from([choice for choice in one.choices if choice])
    option = one.option
    if one.kind == "text":
        return st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
    if one.kind == "switch":
        return st.booleans()
    if one.kind == "count":
        return st.integers(int(option.ge or 0), int(option.le or 9))
    upper = 1.0 if one.place == "search.share" else option.le if option.le is not None else option.lt
    lower = option.ge if option.ge is not None else option.gt
    return st.floats(
        lower or 0.0, upper, exclude_min=option.gt is not None, exclude_max=option.lt is not None, allow_nan=False,
        allow_infinity=False,
    )  # fmt: skip


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    content: dict[str, dict[str, Any]] = {}
    for one in OPTIONS:
        if one.place == "target.budget" or (one.place != "target.targets" and draw(st.booleans())):
            content.setdefault(one.section, {})[one.name] = draw(values(one))
    return Configuration.model_validate(content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=configurations())
def test_a_configuration_comes_back(config: Configuration, tmp_path: Path) -> None:
    config.save(tmp_path / "config.toml")
    assert load_configuration(tmp_path / "config.toml") == config
    assert configure(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ({"compute": {"seed": "0"}}, r"\[compute\] seed \(--seed\) is a whole number of at least 0 .* not '0'", "is 0"),
        ({"compute": {"seed": True}}, "not True", ""),
        ({"compute": {"seed": 1.0}}, r"not 1\.0", ""),
        ({"compute": {"seed": 2**63}}, "seed", ""),
        ({"compute": {"threads": 0}}, "at least 1", "the default is 1"),
        ({"train": {"enabled": 1}}, "true or false, not 1", ""),
        ({"train": {"recipe": "soup"}}, "one of auto, default, cells, not 'soup'", "'auto'"),
        ({"train": {"label_smoothing": 1.0}}, "at least 0 and below 1, not 1.0", "the default is 0.1"),
        ({"search": {"lr": float("inf")}}, "a number above 0, not inf", "0.004"),
        ({"search": {"lr": float("nan")}}, "a number above 0, not nan", ""),
        ({"search": {"lr": "fast"}}, "not 'fast'", ""),
        ({"search": {"lr": 10**400}}, "search", ""),
        ({"search": {"leraning_rate": 1.0}}, r"\[search\] has no option 'leraning_rate'", "did you mean search.lr?"),
        ({"search": {"wieght_decay": 1.0}}, "no option", "did you mean search.weight_decay?"),
        ({"search": {"score_epochs": 1}}, "no option", "did you mean search.evaluator_epochs?"),
        ({"search": {"learning rate of adamw": 1}}, "no option", "did you mean search.lr?"),
        ({"train": {"strategy": "enas"}}, r"\[train\] has no option", "did you mean search.strategy?"),
        ({"data": {"zzzz": 1}}, "zzzz", "docs/configuration.md"),
        ({"serach": {"lr": 1.0}}, "no section 'serach'", r"did you mean [search]?"),
        ({"batch_size": 3}, "no section 'batch_size'", "did you mean search.batch_size?"),
        ({"qqq": {}}, "no section 'qqq'", "the sections are data, target"),
        ({"search": 3}, r"\[search\] is a section", ""),
        ({"data": {"source": 3}}, r"source \(--data\) is text, not 3", "'digits'"),
        ({"data": {"source": "a\x00b"}}, "without NUL", ""),
        ({"target": {"budget": "soon"}}, "positive number", "--budget-ms 20"),
        ({"target": {"device": "host"}}, r"\[target\] needs budget", "--budget-ms 20"),
    ],
)
def test_one_message_names_the_rule_and_the_nearest_name(
    content: dict[str, Any], message: str, hint: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps({"target": {"budget": "20"}} | content))
    with pytest.raises(InputError, match=message) as caught:
        configure(path)
    assert "mine.toml" in str(caught.value)
    assert hint in caught.value.hint


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[target]\nbudget = 20\n[train]\nepochs = 3\n")
    assert configure(path) == PLAIN.changed(train={"epochs": 3})
    path.write_text("")
    with pytest.raises(InputError, match="needs budget"):
        configure(path)


DAMAGED = [
    b"budget = ",
    b"\xff",
    b"x = " + b"[" * 20_000,
    b"x = " + b"9" * 5000,
    b"[target]\nbudget = 0x" + b"f" * 5000,
]


@pytest.mark.parametrize("content", DAMAGED)
def test_what_is_no_configuration_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    for read in (load_configuration, configure):
        with pytest.raises(InputError, match=r"config\.toml"):
            read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "config.toml", tmp_path):
        with pytest.raises(InputError, match="cannot read"):
            load_configuration(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_toml_is_a_configuration_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    leaves = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.datetimes(), st.just(10**400))
    anything = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    )
    names = st.sampled_from([one.name for one in OPTIONS]) | st.text(max_size=9)
    section = st.dictionaries(names, anything, max_size=4) | anything
    sections = st.sampled_from([*Configuration.sections(), "device"]) | st.text(max_size=9)
    content = data.draw(st.dictionaries(sections, section, max_size=4))
    path = tmp_path / "any.toml"
    try:
        path.write_bytes(tomli_w.dumps(content).encode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return
    try:
        config = configure(path)
    except InputError:
        return
    config.save(path)
    assert load_configuration(path) == config


def test_the_last_flat_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(LAST_FLAT)
    assert load_configuration(path) == Configuration.model_validate(
        {
            "data": {"source": "photos"},
            "target": {"budget": "50%", "max_size_kb": 500.0, "max_drop": 2.0},
            "space": {"name": "mobile", "width": 0.25, "depth": 5, "resolution": 32},
            "search": {
                "strategy": "enas",
                "evaluator": "from-scratch",
                "evaluator_epochs": 2,
                "reward": "absolute",
                "init": "runs/first",
                "init_sha256": "abc",
                "share": 0.1,
            },
            "train": {"enabled": False, "epochs": 7, "baseline": False},
            "compute": {"seed": 3, "threads": 2, "accelerator": "cpu", "mixed_precision": True},
        }
    )


def test_what_earlier_flat_files_lack_is_as_it_was_then(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(BEFORE_RUNTIMES)
    expected = {
        "target": {"budget": "5,10"},
        "search": {"init": "none"},
        "train": {"minutes": 30.0, "recipe": "default"},
    }
    assert load_configuration(path) == Configuration.model_validate(expected)


@pytest.mark.parametrize("lacking", BEFORE_RUNTIMES.splitlines()[:1] + BEFORE_RUNTIMES.splitlines()[2:])
def test_what_every_flat_file_holds_is_missed(lacking: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(BEFORE_RUNTIMES.replace(f"{lacking}\n", ""))
    with pytest.raises(InputError, match=lacking.split()[0]):
        load_configuration(path)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("seed = 3", 'seed = "3"'),
        ("seed = 3", "seed = true"),
        ("train = false", "train = 1"),
        ("epochs = 7", "more = 7"),
    ],
)
def test_flat_files_are_read_strictly(line: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(LAST_FLAT.replace(f"\n{line}\n", f"\n{wrong}\n"))
    with pytest.raises(InputError, match=r"config\.toml"):
        load_configuration(path)


def test_a_start_from_random_weights_has_two_names(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[target]\nbudget = 20\n[search]\ninit = 'none'\n")
    found = load_configuration(path)
    assert found == PLAIN.changed(search={"init": ""})
    assert not found.started
    found.save(path)
    assert load_configuration(path) == found


def test_what_follows_an_automatic_start_waits_for_it() -> None:
    """And survives every change until then."""
    asked = PLAIN.changed(compute={"seed": 3})
    assert (asked.search.init, asked.space.name, asked.search.strategy, asked.search.evaluator) == ("auto", "", "", "")
    assert not asked.started
    random, parent = (asked.changed(search={"init": init}) for init in ("", "efficientnet-lite1"))
    assert (random.space.name, random.search.strategy, random.search.evaluator) == ("mobile", "gumbel", "one-shot")
    assert (parent.space.name, parent.search.strategy) == ("efficientnet-lite1", "replace")
    chosen = asked.changed(search={"strategy": "enas"}).changed(search={"init": "efficientnet-lite0"})
    assert (chosen.space.name, chosen.search.strategy) == ("efficientnet-lite0", "enas")
    chains = asked.changed(space={"name": "chain"}).changed(search={"init": ""})
    assert (chains.search.strategy, chains.search.evaluator) == ("metaqnn", "from-scratch")
