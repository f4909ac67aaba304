"""Devices with their budgets: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from hwnas.config import Configuration, DeviceTarget, Target, configure, load_configuration, parse_budgets
from hwnas.config.targets import parse_targets
from hwnas.errors import InputError


@pytest.mark.parametrize(
    ("text", "device", "runtime", "precision", "budgets", "kept", "folder"),
    [
        ("pi4:50ms", "pi4", "", "", "50", "pi4:50ms", "pi4"),
        (" host@litert:10, 5ms", "host", "litert", "", "5,10", "host@litert:5ms,10ms", "host-litert"),
        ("host@ort-web:20%", "host", "ort-web", "", "20%", "host@ort-web:20%", "host-ort-web"),
        ("host@litert:int8:5", "host", "litert", "int8", "5", "host@litert:int8:5ms", "host-litert-int8"),
        ("host@:int8:5", "host", "", "int8", "5", "host@:int8:5ms", "host-int8"),
        ("my files/p.1.toml@litert:.5", "my files/p.1.toml", "litert", "", "0.5", None, "p.1-litert"),
        ("a@b/pi.toml:5", "a@b/pi.toml", "", "", "5", "a@b/pi.toml:5ms", "pi"),
    ],
)
def test_targets_are_read_as_written(
    text: str, device: str, runtime: str, precision: str, budgets: str, kept: str | None, folder: str
) -> None:
    target = DeviceTarget.parse(text)
    assert target == DeviceTarget(device, runtime, precision, parse_budgets(budgets))
    assert kept is None or str(target) == kept
    assert target.folder == folder
    assert DeviceTarget.parse(str(target)) == target
    assert [DeviceTarget.parse(name).budgets for name in target.names] == [(one,) for one in target.budgets]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["pi4"],
            r"targets are devices with budgets: DEVICE\[@RUNTIME\[\+PROVIDER\]\[:PRECISION\]\]:BUDGET\[,BUDGET...\], "
            "not 'pi4'",
        ),
        ([""], "not ''"),
        ([":5"], "not ':5'"),
        (["pi4:"], "the target 'pi4:': a budget is a positive number"),
        (["pi4:fast"], "not 'fast'"),
        (["pi4:5msms"], "not '5ms'"),
        (["pi4:5,20%"], "all in milliseconds or all shares"),
        (["pi4:5", "pi4:5ms"], "all different, but 5 ms comes twice"),
        (["host+openvino:5"], r"goes behind @, but '\+openvino' goes without"),
        (["host:litert:5"], "goes behind @, but ':litert' goes without"),
        (["host@:5"], "the target 'host@:5': the runtime after @ is missing"),
        (["host@+:5"], r"the provider after \+ is missing"),
        (["host@onnxruntime+:int8:5"], r"the provider after \+ is missing"),
        (["host@litert::5"], "the precision after : is missing"),
        (["host@onnxruntime+open-vino:5"], "unknown provider 'open-vino'"),
        (["a/pi.toml:5", "b/pi.toml:5"], r"a/pi.toml and b/pi.toml are both pi"),
    ],
)
def test_what_is_no_target_is_refused_with_examples(texts: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_targets(texts)
    assert caught.value.hint


@given(st.text(max_size=30))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    try:
        target = DeviceTarget.parse(text)
    except InputError:
        return
    assert DeviceTarget.parse(str(target)) == target


@pytest.mark.parametrize(
    ("text", "what", "kept", "folder"),
    [
        ("host@onnxruntime+openvino:5", ("onnxruntime", "", "openvino"), None, "host-onnxruntime-openvino"),
        ("host@+cuda:int8:5", ("", "int8", "cuda"), "host@+cuda:int8:5ms", "host-cuda-int8"),
    ],
)
def test_a_target_names_its_provider(text: str, what: tuple[str, str, str], kept: str | None, folder: str) -> None:
    target = DeviceTarget.parse(text)
    assert tuple(target.runs_there.values()) == what
    assert str(target) == (kept or f"{text}ms")
    assert DeviceTarget.parse(str(target)) == target
    assert target.folder == folder
    config = Configuration.model_validate({"target": {"targets": [text]}})
    assert (config.target.provider, config.targets) == (what[2], (target,))
    with pytest.raises(InputError, match="but provider is given besides"):
        Configuration.model_validate({"target": {"targets": [text], "provider": "cpu"}})


SEVERAL = ("pi4:50ms", "host@litert:5ms,10ms")


@pytest.mark.parametrize("given", [SEVERAL, list(SEVERAL), "pi4:50 host@litert:10,5", ["host@litert:10"]])
def test_a_configuration_keeps_targets(given: Any, tmp_path: Path) -> None:
    config = Configuration.model_validate({"target": {"targets": given}})
    config.save(tmp_path / "config.toml")
    assert load_configuration(tmp_path / "config.toml") == config
    assert config.changed(compute={"seed": 1}).target == config.target
    if len(given) == 1:
        assert config.target == Target(budget="10", runtime="litert")
        return
    assert config.target.targets == SEVERAL
    assert [one.place for one in config.targets] == ["pi4", "host@litert"]
    assert [str(one) for one in config.budgets] == ["50 ms", "5 ms", "10 ms"]
    assert config.parts == ("pi4-50ms", "host-litert-5ms", "host-litert-10ms")
    assert config.at("host-litert-5ms") == Target(budget="5", runtime="litert")


def test_one_device_has_parts_by_budget_alone() -> None:
    assert Configuration(target=Target(budget="20")).parts == ()
    assert Configuration(target=Target(budget="5,10")).parts == ("5ms", "10ms")
    assert "targets" not in Configuration(target=Target(budget="20")).to_json()["target"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"targets": SEVERAL, "budget": "5"}, "but budget is given besides"),
        ({"targets": SEVERAL, "device": "pi4", "runtime": "litert"}, "but device and runtime are given besides"),
        ({"targets": ["pi4:5"], "precision": "int8"}, "but precision is given besides"),
        ({"targets": ["pi4:5"], "budget": 20}, "but budget is given besides"),
        ({"targets": 5}, r"targets \(--target\) is devices with budgets"),
        ({"targets": [5]}, r"targets \(--target\) is devices with budgets"),
        ({"targets": []}, r"\[target\] needs budget"),
        ({}, r"\[target\] needs budget"),
    ],
)
def test_targets_go_with_nothing_that_they_say(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Configuration.model_validate({"target": content})


def test_targets_come_from_flags_and_settings(tmp_path: Path) -> None:
    flags = configure(flags={"target.targets": {"--target": list(SEVERAL)}})
    settings = configure(settings=["target.targets=pi4:50ms host@litert:5ms,10ms"])
    (tmp_path / "mine.toml").write_text('[target]\ntargets = ["pi4:50ms", "host@litert:10,5"]\n')
    assert flags == settings == configure(tmp_path / "mine.toml")
