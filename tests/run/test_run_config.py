"""Budgets and configurations: what is read, what is refused, what comes back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import hypothesis.strategies as st
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from run_fakes import latencies

from hwnas.errors import InputError
from hwnas.run.config import Budget, RunConfig


@given(st.integers(1, 10**9 - 1), st.integers(0, 10**6 - 1), st.sampled_from(["{}.{:06d}", " {}.{:06d}  "]))
def test_milliseconds_are_read_as_written(whole: int, rest: int, model_format: str) -> None:
    text = model_format.format(whole, rest)
    assert Budget.parse(text) == Budget(float(text), relative=False)


@given(st.integers(1, 100_000_000))
def test_shares_are_read_as_written(millionths: int) -> None:
    assert Budget.parse(f"{millionths / 1e6:.6f}%") == Budget(float(f"{millionths / 1e6:.6f}"), relative=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0.0",
        "-1",
        "0%",
        "100.1%",
        "200%",
        "%",
        "50 % x",
        "ten",
        "1e3",
        "inf",
        "nan",
        "1_000",
        "１２",
        "1,5",
        "--5",
        "+5",
        "0x10",
        "5ms",
        "9" * 5000,
        "1." + "1" * 5000,
        "5%%",
        "\x00",
        "1\n2",
        ".",
        "5.",
    ],
)
def test_what_is_no_budget_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Budget.parse(text)
    assert "--budget-ms" in caught.value.hint


@given(st.text(max_size=30))
def test_any_text_is_a_budget_or_refused(text: str) -> None:
    try:
        budget = Budget.parse(text)
    except InputError:
        return
    assert 0 < budget.value < 1e10
    assert not budget.relative or budget.value <= 100


def test_a_share_lies_between_the_fastest_and_the_slowest_network() -> None:
    model = latencies()
    assert Budget.parse("7.5").ms(model) == 7.5
    assert Budget.parse("100%").ms(model) == pytest.approx(model.largest_ms)
    assert Budget.parse("50%").ms(model) == pytest.approx((model.smallest_ms + model.largest_ms) / 2)
    assert Budget.parse("0.000001%").ms(model) == pytest.approx(model.smallest_ms)


configs = st.builds(
    RunConfig,
    budget=st.text(max_size=10),
    data=st.text(max_size=20),
    device=st.text(max_size=20),
    width=st.floats(0, 8),
    resolution=st.integers(0, 2048),
    seed=st.integers(0, 2**63 - 1),
    train=st.booleans(),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(config=configs)
def test_a_configuration_comes_back(config: RunConfig, tmp_path: Path) -> None:
    config.save(tmp_path / "config.toml")
    assert RunConfig.load(tmp_path / "config.toml") == config


SOUND = asdict(RunConfig("20"))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (SOUND | {"seed": "0"}, "seed"),
        (SOUND | {"seed": True}, "seed"),
        (SOUND | {"width": 1}, "width"),
        (SOUND | {"train": 1}, "train"),
        (SOUND | {"budget": 20}, "budget"),
        (SOUND | {"more": 1}, "more"),
        ({name: value for name, value in SOUND.items() if name != "budget"}, "budget"),
        ({name: value for name, value in SOUND.items() if name != "data"}, "data"),
    ],
)
def test_a_configuration_is_read_strictly(content: dict[str, object], named: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(content))
    with pytest.raises(InputError, match=named):
        RunConfig.load(path)


@pytest.mark.parametrize("content", [b"", b"budget = ", b"\xff", b"x = " + b"[" * 20_000])
def test_what_is_no_configuration_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"config\.toml"):
        RunConfig.load(path)
    path.unlink()
    with pytest.raises(InputError, match=r"config\.toml"):
        RunConfig.load(path)
