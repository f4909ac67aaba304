"""The page is well-formed, loads nothing, shows the numbers, and trusts none of the files that it reads."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwnas.arch import Architecture, space_instance
from hwnas.config import Configuration, Target
from hwnas.errors import InputError
from hwnas.events import Events
from hwnas.metrics import Metrics
from hwnas.report import plots
from hwnas.report.page import write_report
from hwnas.run.run_folder import RunFolder

torch.set_num_threads(1)

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = "<script>alert(1)</script>"
CHOICES = (0, 2, 1, 0)


class Page(HTMLParser):
    """A strict reader: every tag that opens is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def milliseconds(median: float) -> dict[str, Any]:
    return {
        "median": median,
        "p90": median * 1.1,
        "bounds": [median * 0.99, median * 1.01],
        "processes": 12,
        "n": 27,
        "rejected": 0.325,
    }


METRICS = Metrics(np.array([[152, 8], [12, 28]]), 0)


def a_result(**changes: Any) -> dict[str, Any]:
    result = {
        "budget_ms": 2.0,
        "budget_binds": True,
        "unbudgeted_ms": 2.5,
        "range_ms": [0.5, 4.0],
        "predicted_ms": 1.9,
        "measured_ms": milliseconds(1.95),
        "budget_met": True,
        "verdict": "met",
        "device": "host",
        "condition": "some-cpu/onnxruntime-1.20-t1-fp32",
        "runtime": "onnxruntime",
        "accuracy": {"test": 0.9, "val": 0.92, "test_images": 200},
        "metric": "accuracy",
        "score": {"test": 0.9, "val": 0.92},
        "metrics": METRICS.to_json(("cat", "dog")),
        "baseline_random": {
            "accuracy": 0.7,
            "score": 0.7,
            "metrics": {"balanced": 0.65, "macro-f1": 0.6, "top5": None},
            "predicted_ms": 1.6,
            "predicted_faster": 0.16,
            "matched": False,
            "measured_ms": milliseconds(1.65),
            "trained_from": "scratch",
        },
        "trained_from": "scratch",
        "table_sha256": "ab" * 32,
        "trained": True,
        "macs": 4_713_216,
        "params": 344_474,
        "peak_bytes": 53_632,
        "file_bytes": 1_378_742,
        "data": "digits",
        "space": "toy@w1-r8",
        "strategy": "gumbel",
        "seed": 0,
        "seconds": 223.9,
    }
    return result | changes


PARENT: dict[str, Any] = {
    "name": "efficientnet-lite0",
    "licence": "Apache-2.0",
    "source": "https://example.org/lite",
    "weights": "a package",
    "pixels": "112",
    "own_pixels": "224",
    "predicted_ms": 2.72,
    "own_ms": 5.41,
    "macs": 97_000_000,
    "params": 3_384_000,
    "head": {"images": 341, "accuracy": 0.745, "score": 0.745},
    "blocks": [
        {"name": "s1b0", "parent": "k3e6", "chosen": "k3e4"},
        {"name": "s1b1", "parent": "k5e6", "chosen": "skip"},
        {"name": "s2b0", "parent": "k5e6", "chosen": "k5e6"},
        {"name": "s3b0", "parent": "dw5-pw4", "chosen": "pw2"},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A finished run, as the pipeline leaves it."""
    run = RunFolder(tmp_path)
    space = space_instance("toy", width=1.0, resolution=8, channels=1, classes=10)
    architecture = Architecture(space.name, CHOICES)
    network = {"choices": list(CHOICES), "options": space.describe(architecture)}
    run.architecture.write_text(json.dumps(network | {"network": space.network(architecture).to_json()}))
    run.environment.write_text(json.dumps({"cpu": "Some CPU", "governor": None, "packages": {"onnx": "1.17.0"}}))
    Configuration(target=Target(budget="2")).save(run.config)
    run.evaluated.write_text(
        "choices,predicted_ms,val_accuracy,val_loss\n0-2-1-0,1.9,0.92,0.3\n0-0-1-0,1.8,0.9,0.3\n1-2,bad,,0.3\n"
    )
    for epoch in (1, 2, 3):
        entry = {"event": "epoch", "epoch": epoch, "loss": 2.0 / epoch, "expected_ms": 2.2 - epoch / 10}
        Events(run.on_event).record(entry)
    for seconds in (12.25, 30.0):
        Events(run.on_event).record({"event": "end", "stage": "search", "seconds": seconds})
    return run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without the two plots, which take most of their time; for tests of the words on them."""
    for name in ("candidates_plot", "epochs_plot"):
        monkeypatch.setattr(plots, name, lambda *_: None)


def page_of(run: RunFolder, result: Any) -> Page:
    run.result.write_text(json.dumps(result))
    write_report(run)
    return Page(run.report.read_text())


def test_page_shows_the_numbers(folder: RunFolder) -> None:
    text = page_of(folder, a_result()).text
    for expected in (
        "Budget met",
        "The model runs in 1.950 ms, within its budget of 2.000 ms.",
        "The budget binds",
        "1.930 to 1.970 ms",  # the interval of the median, rounded
        "2.145",  # 90th percentile
        "32.5 %",
        "90.0 %",
        "70.0 %",
        "85.0 % to 93.8 %",  # Clopper-Pearson of 180 in 200
        "200 test images",
        "do not overlap",
        "1.650",
        "4.71 M",
        "344 k",
        "52.4 KiB",
        "1.31 MiB",
        "3 min 44 s",
        "some-cpu/onnxruntime-1.20-t1-fp32",
        "Some CPU",
        "onnx 1.17.0",
        "governor not known",
        "search 42.2 s",  # both attempts at the stage
        "both from random weights",
        "this is the nearest, 16.0 % faster by the table",
        "Balanced accuracy 82.5 %",
        "test balanced accuracy 82.5 % 65.0 %",
        "cat 160 95.0 % 92.7 % 93.8 % dog: 8",
        "dog 40 70.0 % 77.8 % 73.7 % cat: 12",
        "abab",
    ):
        assert expected in text, expected


def test_page_of_another_metric_and_of_a_rival_that_is_near(folder: RunFolder) -> None:
    rival = a_result()["baseline_random"] | {"matched": True, "score": 0.65, "trained_from": "supernet"}
    result = a_result(metric="balanced", score={"test": 0.825, "val": 0.8}, baseline_random=rival)
    text = page_of(folder, result).text
    assert "Test balanced accuracy 82.5 % random network: 65.0 %; accuracy 90.0 %" in text
    assert "as slow as the one found by the table, trained alike, both from the weights that their supernet" in text
    assert "The search was after balanced accuracy." in text
    folder.evaluated.write_text(
        "choices,predicted_ms,val_accuracy,val_loss,metric,val_score\n0-2-1-0,1.9,0.92,0.3,balanced,0.8\n"
    )
    assert "Candidates: validation balanced accuracy" in " ".join(
        str(attrs.get("aria-label")) for _, attrs in page_of(folder, result).tags
    )


@pytest.mark.usefixtures("undrawn")
def test_page_says_which_weights_ship(folder: RunFolder) -> None:
    for own, other, said, how in (
        ("trained", "trained", "Both networks ship the weights that their trainings ended with.", "trained alike"),
        ("start", "start", "trainings began with, which validate better.", "trained by the same recipe"),
        ("trained", "start", "ended with; the random one those that its training began with", "trained by the same"),
    ):
        rival = a_result()["baseline_random"] | {"weights": other}
        text = page_of(folder, a_result(weights=own, baseline_random=rival)).text
        assert said in text
        assert how in text
    text = page_of(folder, a_result(weights="start", baseline_random=None)).text
    assert "The network found ships the weights that its training began with, which validate better." in text


def test_of_many_classes_the_worst_are_shown_and_no_matrix(folder: RunFolder) -> None:
    right = np.arange(60) % 10 + 1
    confusion = np.diag(right) + np.roll(np.diag(11 - right), 1, axis=1)
    names = tuple(f"class{index:02d}" for index in range(60))
    content = Metrics(confusion, 500).to_json(names)
    page = page_of(folder, a_result(metrics=content))
    assert "of the 50 of 60 classes with the lowest recall" in page.text
    assert "top-5 accuracy" in page.text
    assert "class00 11 9.1 %" in page.text
    assert "class09 11 90.9 %" not in page.text
    assert "Confusion matrix" not in page.text


def test_a_run_of_an_earlier_version_has_no_classes(folder: RunFolder) -> None:
    result = {name: value for name, value in a_result().items() if name not in ("metric", "metrics", "score")}
    text = page_of(folder, result).text
    assert "Class by class" not in text
    assert "Test accuracy 90.0 %" in text


@pytest.mark.parametrize("damage", [{"confusion": [[1]]}, {"confusion": [["a", 1], [1, 1]]}, {"classes": [1, 2]}])
def test_damaged_classes_are_left_out(folder: RunFolder, damage: dict[str, Any]) -> None:
    assert "Class by class" not in page_of(folder, a_result(metrics=a_result()["metrics"] | damage)).text


def test_what_is_left_of_the_parent(folder: RunFolder) -> None:
    page = page_of(folder, a_result(parent=PARENT))
    for expected in (
        "Inside of efficientnet-lite0",
        "under the licence Apache-2.0, published at example.org/lite, with the weights of a package",
        "it at 112 pixels, with a head",
        "At the 224 pixels of its own training it is predicted to run in 5.410 ms.",
        "predicted, ms 1.900 2.720",
        "validation accuracy 341 validation images 92.0 % 74.5 %",
        "multiply-adds 4.71 M 97 M",
        "parameters 344 k 3.38 M",
        "3 of 4 blocks that could be replaced are other ones",
        "s1b0 kernel 3 × 3, expansion 6 kernel 3 × 3, expansion 4",
        "s1b1 kernel 5 × 5, expansion 6 skipped",
        "s2b0 kernel 5 × 5, expansion 6 as it was",
        "s3b0 dw5-pw4 pw2",
    ):
        assert expected in page.text, expected
    assert "://" not in folder.report.read_text()
    assert "Inside of" not in page_of(folder, a_result(parent=None)).text
    early = page_of(folder, a_result(parent=PARENT | {"head": None, "own_ms": None, "blocks": []})).text
    assert "not known validation images 92.0 % –" in early
    assert "its own training" not in early
    assert "Block by block" not in early


@pytest.mark.parametrize("damage", [[], "text", [1, {"name": HOSTILE, "parent": [], "chosen": {}}]])
def test_a_damaged_parent_breaks_no_page(folder: RunFolder, damage: Any) -> None:
    for path in (folder.evaluated, folder.log_file):  # nothing to draw
        path.unlink()
    page = page_of(folder, a_result(parent=damage))
    assert page.count("script") == 0
    for name in ("name", "source", "predicted_ms", "head", "blocks"):
        page = page_of(folder, a_result(parent=PARENT | {name: damage}))
        assert page.count("script") == 0


def test_sizes_of_the_random_network_stand_beside(folder: RunFolder) -> None:
    rival = a_result()["baseline_random"] | {"macs": 4_500_000, "params": 300_000, "file_bytes": 1_200_000}
    text = page_of(folder, a_result(baseline_random=rival)).text
    for expected in ("multiply-adds 4.71 M 4.5 M", "parameters 344 k 300 k", "model file 1.31 MiB 1.14 MiB"):
        assert expected in text
    assert "multiply-adds 4.71 M" not in page_of(folder, a_result()).text


@pytest.mark.parametrize(("rejected", "told"), [(1.0, True), (0.5, True), (0.49, False), (None, False), ("x", False)])
def test_a_budget_that_was_met_on_a_busy_device_takes_a_word(folder: RunFolder, rejected: Any, told: bool) -> None:
    for path in (folder.evaluated, folder.log_file):  # nothing to draw
        path.unlink()
    busy = a_result(measured_ms=milliseconds(1.95) | {"rejected": rejected})
    said = "that only ever slows a call, so the model keeps its budget all the same"
    assert (said in page_of(folder, busy).text) is told
    assert said not in page_of(folder, busy | {"budget_met": None, "verdict": "unstable"}).text


def test_a_network_that_says_one_class_alone_is_no_success(folder: RunFolder) -> None:
    for path in (folder.evaluated, folder.log_file):
        path.unlink()
    one = Metrics(np.array([[120, 0], [80, 0]]), 0).to_json(("cat", "dog"))
    page = page_of(folder, a_result(metrics=one))
    assert "Budget met, but not trained enough" in page.text
    assert "every test image is taken for 'cat'; give more --minutes or --epochs" in page.text
    assert ("header", {"class": "unstable"}) in page.tags
    assert ("header", {"class": "met"}) in page_of(folder, a_result()).tags


def test_page_loads_nothing(folder: RunFolder) -> None:
    page = page_of(folder, a_result())
    assert "://" not in folder.report.read_text()
    assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "object", "image"}
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        assert "src" not in attrs
        assert (attrs.get("href") or "#")[1:] in ["", *ids]


def test_plots_are_in_the_colours_of_the_style_sheet(folder: RunFolder) -> None:
    page = page_of(folder, a_result())
    text = folder.report.read_text()
    drawn = text[text.index("<svg") :]
    for variable in ("--ink", "--muted", "--line", "--accent", "--budget"):
        assert f"var({variable})" in drawn
        assert f"{variable}:" in text
    assert "#0" not in drawn
    labels = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert labels[0] == "Candidates: validation accuracy against predicted latency"
    assert page.count("metadata") == 0
    assert page.count("style") == 1


def test_network_is_drawn_slot_by_slot(folder: RunFolder) -> None:
    page = page_of(folder, a_result())
    looks = [attrs.get("class") for tag, attrs in page.tags if tag == "li"][:7]
    assert looks == ["fixed", "picked", "skipped", "picked", "skipped", "picked", "fixed"]
    assert "a mbconv 3 × 3, expansion 2 8 × 4 × 4" in page.text
    assert "b skipped" in page.text


def test_same_files_give_the_same_page(folder: RunFolder) -> None:
    page_of(folder, a_result())
    first = folder.report.read_bytes()
    write_report(folder)
    assert folder.report.read_bytes() == first


COLD = {
    "budget_met": False,
    "verdict": "missed",
    "measured_ms": milliseconds(1.95) | {"judged": 2.6, "statistic": "median, cold", "bounds": [2.574, 2.626]},
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"budget_met": False, "verdict": "missed"}, "above its budget of 2.000 ms"),
        ({"budget_met": None, "verdict": "too close"}, "After 12 processes the bounds"),
        ({"budget_met": False, "verdict": "straddles"}, "too close to its budget"),
        ({"budget_met": None, "verdict": "unstable"}, "Close other programs"),
        (COLD, "The model runs in 2.600 ms, above its budget of 2.000 ms"),
        (
            COLD,
            "measured median, cold, ms below: at least and at most, with 95 % confidence each 2.600 2.574 to 2.626 ms",
        ),
        ({"budget_binds": False}, "The budget does not bind"),
        ({"trained": False}, "with inherited weights"),
        ({"accuracy": {"test": 0.71, "test_images": 100}}, "100 test images do not tell these networks apart"),
        ({"accuracy": {"test": 1.0, "test_images": 10}}, "69.2 % to 100.0 %"),
        ({"accuracy": {"test": 0.0, "test_images": 10}}, "0.0 % to 30.8 %"),
        ({"seconds": 7300}, "2 h 1 min"),
        ({"budget_ms": 1500.0, "file_bytes": 900}, "1,500 ms"),
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_headline_follows_the_result(folder: RunFolder, changes: dict[str, Any], expected: str) -> None:
    assert expected in page_of(folder, a_result(**changes)).text


def test_what_was_asked_for_is_in_the_words_of_the_command_line(folder: RunFolder) -> None:
    for path in (folder.evaluated, folder.log_file):
        path.unlink()
    search = {"init": "", "init_sha256": "a"}
    asked = {"train": {"enabled": False, "lr": 0.01}, "target": {"budget": "5,10"}, "search": search}
    Configuration.model_validate({"data": {"source": "my_photos"}} | asked).save(folder.config)
    text = page_of(folder, a_result()).text
    assert "--data my_photos" in text
    assert "--budgets-ms 5,10" in text
    assert "--no-train yes" in text
    assert "--set train.lr 0.01" in text
    assert "--init none" in text
    for word in ("init_sha256", "init sha256", "--fit", "data.source"):
        assert word not in text


def test_wide_tables_scroll_in_a_narrow_window(folder: RunFolder) -> None:
    page_of(folder, a_result())
    text = folder.report.read_text()
    assert text.count("<table") == text.count('<div class="scroll"><table') > 1


def test_budgets_of_a_front_are_told_apart_and_noise_fills_no_axis() -> None:
    front = [
        {"budget_ms": budget_ms, "measured_ms": {"median": budget_ms - 1}, "accuracy": {"test": share}}
        for budget_ms, share in ((5, 0.998), (10, 1.0))
    ]
    drawn = str(plots.front_plot(front, "accuracy"))
    assert "budget 5.000 ms" in drawn
    assert "budget 10.00 ms" in drawn
    lines = [line for line in re.findall(r'style="([^"]*)"', drawn) if "stroke-dasharray" in line]
    assert len({re.findall(r"stroke: (var\(--\w+\))", line)[0] for line in lines}) == 2
    for values, (low, high) in (([99.8, 100.0], (94.6, 100.4)), ([0.0], (-0.4, 5.4)), ([10.0, 90.0], (3.6, 96.4))):
        axes = plots.Figure().add_subplot()
        plots._show_percent(axes, values)
        assert axes.get_ylim() == pytest.approx((low, high))


def test_letters_of_plots_can_be_read_on_a_phone(folder: RunFolder) -> None:
    page_of(folder, a_result())
    for svg in re.findall(r"<svg.*?</svg>", folder.report.read_text(), re.DOTALL):
        width = float(re.findall(r'viewBox="0 0 ([\d.]+)', svg)[0])
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:[\w ]*?)([\d.]+)px", svg)]
        assert sizes
        assert min(sizes) * 360 / width >= 11.5


def test_text_is_escaped_wherever_it_comes_from(folder: RunFolder) -> None:
    folder.config.write_text(f'data = "{HOSTILE}"\n"{HOSTILE}" = 1\n')
    folder.environment.write_text(json.dumps({"cpu": HOSTILE, "packages": {HOSTILE: [HOSTILE]}}))
    Events(folder.on_event).record({"event": "end", "stage": HOSTILE, "seconds": 1})
    folder.architecture.write_text(json.dumps({"network": [{"name": HOSTILE, "op": HOSTILE}], "choices": [HOSTILE]}))
    names = ("data", "device", "space", "strategy", "seed", "condition", "runtime", "verdict", "budget_met")
    page = page_of(folder, a_result(**dict.fromkeys(names, HOSTILE)))
    assert page.count("script") == 0
    assert page.text.count("<script>") > 10


def test_run_with_little_to_tell(folder: RunFolder) -> None:
    for path in (folder.config, folder.environment, folder.architecture, folder.evaluated, folder.log_file):
        path.unlink()
    page = page_of(folder, {})
    assert "Verdict unstable" in page.text
    assert page.count("svg") == 0


def test_damaged_companions_are_left_out(folder: RunFolder) -> None:
    for path in (folder.config, folder.environment, folder.architecture, folder.evaluated, folder.log_file):
        path.write_bytes(b'\xff{"\x00,[')
    page = page_of(folder, a_result())
    assert "Budget met" in page.text
    assert page.count("svg") == 0


@pytest.mark.parametrize("value", [None, "text", [], {}, {"median": {}}, True, 10**400, "\ud800"])
def test_wrong_types_never_break_the_page(folder: RunFolder, value: Any) -> None:
    Events(folder.on_event).record({"event": "epoch", "epoch": value, "loss": value})
    Events(folder.on_event).record({"event": "end", "stage": value, "seconds": value})
    folder.architecture.write_text(json.dumps({"network": [value, {"name": value, "op": value}], "options": value}))
    page_of(folder, dict.fromkeys([*a_result(), "parent"], value))


def test_random_strategy_has_no_expected_latency(folder: RunFolder) -> None:
    folder.log_file.write_text(json.dumps({"event": "epoch", "epoch": 1, "loss": 0.5}) + "\n")
    assert "expected latency, ms" not in page_of(folder, a_result()).text


@pytest.mark.parametrize("content", [None, "{", "[]", "null"])
def test_no_finished_run(folder: RunFolder, content: str | None) -> None:
    if content is not None:
        folder.result.write_text(content)
    with pytest.raises(InputError, match="no finished run") as raised:
        write_report(folder)
    assert "hwnas search" in raised.value.hint
    assert not folder.report.exists()
