"""What a search prints of its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hwnas.cli.result_view import print_result


def a_result(**changes: Any) -> dict[str, Any]:
    result = {
        "budget_ms": 2.0,
        "predicted_ms": 1.9,
        "measured_ms": {"median": 1.95, "bounds": [1.93, 1.97], "rejected": 0.1},
        "accuracy": {"test": 0.9, "val": 0.76},
        "baseline_random": {
            "predicted_ms": 1.9,
            "measured_ms": {"median": 1.94, "bounds": [1.9, 1.98]},
            "accuracy": 0.7,
            "macs": 4_500_000,
            "params": 300_000,
            "file_bytes": 1_200_000,
            "peak_bytes": 40_960,
        },
        "trained": True,
        "macs": 4_710_000,
        "params": 344_000,
        "file_bytes": 1_378_742,
        "peak_bytes": 53_248,
        "budget_met": True,
        "budget_binds": True,
        "verdict": "met",
        "device": "host",
        "seconds": 145.0,
    }
    return result | changes


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "200")

    def text(**changes: Any) -> str:
        print_result(a_result(**changes), Path("runs/demo"))
        return " ".join(capsys.readouterr().out.split())

    return text


def test_sizes_of_the_random_network_stand_beside(printed: Any) -> None:
    text = printed(limits={"max_size_kb": None, "max_peak_kb": 64})
    for row in (
        "MACs 4.71 M 4.50 M",
        "parameters 344 k 300 k",
        "file size 1346 KiB 1172 KiB",
        "peak memory 52 of 64 KiB 40",
    ):
        assert row in text
    early = {name: a_result()["baseline_random"][name] for name in ("predicted_ms", "measured_ms", "accuracy")}
    assert "MACs 4.71 M parameters 344 k file size 1346 KiB" in printed(baseline_random=early)
    assert "MACs 4.71 M parameters" in printed(baseline_random=None)


@pytest.mark.parametrize(("rejected", "told"), [(1.0, True), (0.5, True), (0.2, False)])
def test_a_budget_that_was_met_on_a_busy_device_takes_a_word(rejected: float, told: bool, printed: Any) -> None:
    text = printed(measured_ms={"median": 1.95, "bounds": [None, 1.97], "rejected": rejected})
    said = f"Other work disturbed {rejected:.0%} of the rounds; that only ever slows a call, so the model keeps"
    assert (said in text) is told
    assert "Budget met" in text


def never(*absent: str) -> dict[str, Any]:
    return {"classes": [{"name": name} for name in ("cat", "[dog]", "bird")], "never_predicted": list(absent)}


def test_of_a_network_that_says_one_class_alone_the_last_words_are_to_train_it(printed: Any) -> None:
    """Not to classify images with it; also of one of several budgets."""
    single = a_result(metrics=never("cat", "bird"))
    front = [a_result(), single]
    for index, one in enumerate(front):
        one |= {"folder": f"{index}ms", "model": "model.onnx", "metric": "accuracy", "score": {"test": 0.3}}
    for text in (printed(metrics=never("cat", "bird")), printed(front=front)):
        assert "Not trained enough: every test image is taken for '[dog]'; give more --minutes or --epochs" in text
        assert text.endswith("Next: the same command with more --minutes or --epochs, and --force")
    assert "1ms: Not trained enough" in text
    assert "0ms: Not trained enough" not in text
    some = printed(metrics=never("cat"))
    assert "Not trained enough: no test image is taken for 1 of 3 classes: 'cat'; give more" in some
    assert some.endswith("Next: hwnas predict runs/demo IMAGE")


def test_the_network_stands_beside_its_parent(printed: Any) -> None:
    parent = {"name": "efficientnet-lite0", "pixels": "112", "predicted_ms": 2.72, "head": {"score": 0.745}}
    assert (
        "Found inside of efficientnet-lite0: validation accuracy 0.7600; a head on the frozen features of the whole "
        "network at 112 pixels, predicted 2.720 ms: 0.7450."
    ) in printed(parent=parent)
    early = printed(parent=parent | {"head": None, "predicted_ms": None})
    assert "Found inside of efficientnet-lite0: the whole network at 112 pixels." in early
    assert "Found inside" not in printed(parent=None)
    assert "Found inside" not in printed()
