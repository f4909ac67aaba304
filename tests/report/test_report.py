"""The page is well-formed, loads nothing, shows the numbers, and trusts none of the files that it reads."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hwnas.arch import Architecture, space_instance
from hwnas.config import Configuration, Target
from hwnas.errors import InputError
from hwnas.events import Events
from hwnas.metrics import Metrics
from hwnas.report import plots
from hwnas.report.answer import comparisons, difference_interval
from hwnas.report.chart import Axis
from hwnas.report.page import write_report
from hwnas.report.points import MOST_CANDIDATES, Point, front_of, points_of
from hwnas.report.use_section import command_of, scripts
from hwnas.run.mistakes import KEPT, Mistakes
from hwnas.run.run_folder import RunFolder

torch.set_num_threads(1)

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = "<script>alert(1)</script>"
CHOICES = (0, 2, 1, 0)
LOOKS = ("fixed", "picked", "skipped")


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
        if not self.open or self.open[-1] not in ("style", "script"):
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
        "Better than the random network by more than the error: 90.0 % against 70.0 % of 200 test images",
        "95 % interval 85.0 % to 93.8 %",
        "hwnas search --data digits --budget-ms 2",
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
    (label, *_) = labels_of(page_of(folder, result))
    assert label.startswith("Balanced accuracy against latency: network found: 1.950 ms measured")
    assert "80.0 %" in page_of(folder, result).text


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
    page = page_of(folder, a_result(parent=damage))
    assert page.count("script") == 1
    for name in ("name", "source", "predicted_ms", "head", "blocks"):
        page = page_of(folder, a_result(parent=PARENT | {name: damage}))
        assert page.count("script") == 1


def test_sizes_of_the_random_network_stand_beside(folder: RunFolder) -> None:
    rival = a_result()["baseline_random"] | {"macs": 4_500_000, "params": 300_000, "file_bytes": 1_200_000}
    text = page_of(folder, a_result(baseline_random=rival)).text
    for expected in ("multiply-adds 4.71 M 4.5 M", "parameters 344 k 300 k", "model file 1.31 MiB 1.14 MiB"):
        assert expected in text
    assert "multiply-adds 4.71 M" not in page_of(folder, a_result()).text


@pytest.mark.parametrize(("rejected", "told"), [(1.0, True), (0.5, True), (0.49, False), (None, False), ("x", False)])
def test_a_budget_that_was_met_on_a_busy_device_takes_a_word(folder: RunFolder, rejected: Any, told: bool) -> None:
    busy = a_result(measured_ms=milliseconds(1.95) | {"rejected": rejected})
    said = "that only ever slows a call, so the model keeps its budget all the same"
    assert (said in page_of(folder, busy).text) is told
    assert said not in page_of(folder, busy | {"budget_met": None, "verdict": "unstable"}).text


def test_a_network_that_says_one_class_alone_is_no_success(folder: RunFolder) -> None:
    one = Metrics(np.array([[120, 0], [80, 0]]), 0).to_json(("cat", "dog"))
    page = page_of(folder, a_result(metrics=one))
    assert "Budget met, but not trained enough" in page.text
    assert "every test image is taken for 'cat'; give more --minutes or --epochs" in page.text
    assert ("header", {"class": "unstable"}) in page.tags
    assert ("header", {"class": "met"}) in page_of(folder, a_result()).tags


def test_page_loads_nothing_and_runs_its_own_script_alone(folder: RunFolder) -> None:
    page = page_of(folder, a_result())
    text = folder.report.read_text()
    assert "://" not in text
    assert not {tag for tag, _ in page.tags} & {"img", "link", "iframe", "object", "image"}
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": policy}) in page.tags
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        assert "src" not in attrs
        assert (attrs.get("href") or "#")[1:] in ["", *ids]


def labels_of(page: Page) -> list[str]:
    return [str(attrs["aria-label"]) for tag, attrs in page.tags if tag == "svg" and "aria-label" in attrs]


def test_charts_take_their_look_from_the_style_sheet(folder: RunFolder) -> None:
    page = page_of(folder, a_result(parent=PARENT))
    text = folder.report.read_text()
    styled = set(re.findall(r"\.(\w+)", text[: text.index("</style>")]))
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        assert not re.search(r'(fill|stroke|style|color)="', svg)
        used = {name for group in re.findall(r'class="([^"]*)"', svg) for name in group.split()}
        assert used - {"tick", "axis", "found"} <= styled
    assert [label.partition(":")[0] for label in labels_of(page)] == [
        "Accuracy against latency",
        "Measured against predicted latency of 2 networks; the largest difference is 3.1 %",
        "Loss by epoch of the search",
        "Expected latency, ms by epoch of the search",
    ]
    for tag, attrs in page.tags:
        assert tag != "svg" or attrs.get("role") == "img" or attrs.get("aria-hidden") == "true"
    for title in (
        "network found: 1.950 ms measured (at least 1.930, at most 1.970), 90.0 % of test images (85.0 % to 93.8 %)",
        "random network: 1.650 ms measured (at least",
        "all of efficientnet-lite0: 2.720 ms predicted, 74.5 % of validation images",
        "became the network: 1.900 ms predicted, 92.0 % of validation images",
        "candidate: 1.800 ms predicted, 90.0 % of validation images",
    ):
        assert title in text, title


def test_charts_place_marks_by_their_axes() -> None:
    found = Point("a", "found", 2.0, 0.9, True, "test images")
    beaten = [Point(str(ms), "candidate", ms, 0.8 - ms / 10, False, "validation images") for ms in (1.0, 3.0)]
    drawn = str(plots.accuracy_plot([found, *beaten], [plots.Budget(2.5)], "accuracy"))
    found_marks = re.findall(r'mark (\w+)" transform="translate\((\S+) (\S+)\)', drawn)
    at = {kind: (float(x), float(y)) for kind, x, y in found_marks}
    (line,) = re.findall(r'line budget" points="([\d.]+),', drawn)
    spots = sorted(float(x) for _, x, _ in found_marks)
    assert spots[1] - spots[0] == pytest.approx(spots[2] - spots[1], abs=0.1)  # 1, 2 and 3 ms
    assert float(line) == pytest.approx((spots[1] + spots[2]) / 2, abs=0.1)
    assert at["found"][1] < at["candidate"][1]
    assert [one.ms for one in front_of([found, *beaten])] == [1.0, 2.0]
    assert plots.accuracy_plot([], [], "accuracy") is None
    assert plots.predicted_plot([], []) is None
    for low, high in ((0.0, 1.0), (0.0466, 0.2156), (66.0, 87.3), (4.6, 4.7), (1e-7, 3e-7), (0.0, 9e9)):
        ticks = Axis("", low, high).ticks()
        assert 2 <= len(ticks) <= 6
        assert low <= min(ticks) < max(ticks) <= high * (1 + 1e-9)
    assert Axis.around([5.0], "").high > 5.0


def test_of_many_candidates_the_front_and_the_best_are_drawn() -> None:
    candidates = [(str(index), 1.0 + index, (index * 37 % 1000) / 1000) for index in range(1000)]
    points = points_of({}, candidates, "7")
    assert len(points) == MOST_CANDIDATES
    front = {one.ms for one in front_of([Point("", "candidate", ms, share, False, "") for _, ms, share in candidates])}
    assert front <= {one.ms for one in points}


def test_difference_of_shares_is_that_of_the_literature() -> None:
    """Newcombe (1998), table II, contrast (a), method 10: 56 of 70 against 48 of 80."""
    assert difference_interval(56 / 70, 70, 48 / 80, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    low, high = difference_interval(1.0, 10, 1.0, 10)
    assert low == pytest.approx(-high)


@pytest.mark.parametrize(
    ("own", "its", "outcome"), [(0.9, 0.7, "better"), (0.7, 0.9, "worse"), (0.72, 0.7, "even"), (0.7, 0.7, "even")]
)
def test_networks_are_told_apart_by_more_than_the_error(own: float, its: float, outcome: str) -> None:
    result = {"accuracy": {"test": own, "test_images": 200}, "baseline_random": {"accuracy": its, "matched": True}}
    (said,) = comparisons(result)
    assert said.outcome == outcome
    assert "by more than the error" in said.text
    assert "that is as fast" in said.text
    assert comparisons({"accuracy": {"test": own}, "baseline_random": {"accuracy": its}}) == []


def test_rows_of_the_table_say_where_the_milliseconds_go(folder: RunFolder) -> None:
    """The table is found by its checksum, in the state of the run or of the run of all budgets."""
    ops = [one["op"] for one in json.loads(folder.architecture.read_text())["network"]]
    rows_us = {op: 100.0 + 10 * index for index, op in enumerate(ops) if not op.startswith("skip")}
    total_us = sum(rows_us.get(op, 0.0) for op in ops)
    table = {
        "kind": "measured",
        "rows_us": rows_us | {"x": None},
        "measured_at": ["2026-01-02T03:04:05", "2026-01-03T03:04:05"],
        "validation": {"n": 24, "mape": 0.021, "within_10": 1.0, "spearman": 0.998},
        "noise": {"rejected": 0.25},
        "pairs": [[1.0, 1.05], [2.0, 1.9], "x"],
    }
    kept = {"origin": {}, "model": {}, "table_sha256": "ab" * 32, "table": table}
    folder.state.mkdir()
    (folder.state / "latency-phone.json").write_text(json.dumps(kept))
    (folder.state / "latency.json").write_text(json.dumps(kept | {"table_sha256": "cd" * 32, "table": {"kind": "x"}}))
    page = page_of(folder, a_result())
    for said in (
        "All rows were measured one by one on the device.",
        f"Those of this network add up to {total_us / 1e3:#.4g} ms",
        "that predicts 1.900 ms, and 1.950 ms were measured",
        "0.1000 ms",
        "mean error on them 2.1%",
        "measured 2026-01-02 to 2026-01-03",
        "rank correlation 0.998, Spearman",
    ):
        assert said in page.text, said
    assert "of 4 networks; the largest difference is 5.0 %" in " ".join(labels_of(page))


def test_worst_mistakes_are_shown_as_pictures(folder: RunFolder) -> None:
    dataset = SimpleNamespace(
        classes=("cat", HOSTILE),
        test=SimpleNamespace(take=lambda rows: np.full((1, 3, 200, 100), int(rows[0]), np.uint8)),
    )
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 9.0], [3.0, 1.0]], np.float32)
    mistakes = Mistakes()
    for part in (slice(0, 1), slice(1, 4)):
        mistakes.add(logits[part], np.array([0, 0, 0, 1])[part])
    assert [(one.index, one.taken_for) for one in mistakes.worst] == [(2, 1), (3, 0), (1, 1)]
    assert mistakes.worst[0].sure == pytest.approx(torch.softmax(torch.tensor(logits[2]), 0)[1].item())
    many = Mistakes()
    many.add(np.tile(logits[1], (50, 1)), np.zeros(50, np.int64))
    assert [one.index for one in many.worst] == list(range(KEPT))

    folder.state.mkdir()
    mistakes.write(folder, dataset)  # type: ignore[arg-type]
    page = page_of(folder, a_result())
    shown = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [one["alt"] for one in shown] == [
        f"Image of class cat, taken for {HOSTILE}",
        f"Image of class {HOSTILE}, taken for cat",
        f"Image of class cat, taken for {HOSTILE}",
    ]
    for one, index in zip(shown, (2, 3, 1), strict=True):
        with Image.open(io.BytesIO(base64.b64decode(str(one["src"]).partition("base64,")[2]))) as picture:
            assert picture.size == (48, 96)
            assert picture.getpixel((5, 5)) == (index,) * 3
    assert page.count("script") == 1
    for damage in ([{"png": "x"}], [{"png": base64.b64encode(b"GIF89a").decode()}, 1], {"png": 1}, "x"):
        folder.mistakes.write_text(json.dumps(damage))
        assert "Worst mistakes" not in page_of(folder, a_result()).text


def test_scripts_and_the_command_can_be_taken_as_they_are(folder: RunFolder) -> None:
    preprocess = {"color": "rgb", "resize": [32, 48], "fit": "crop", "layout": "nchw", "output": "probabilities"}
    facts = {
        "input": {"name": "input", "dtype": "float32"},
        "output": {"name": "probabilities", "shape": [1, 3]},
        "preprocess": preprocess,
    }
    ((stack, script),) = scripts({"files": {"model.onnx": facts}})
    assert stack == "ONNX Runtime"
    compile(script, stack, "exec")
    assert "golden" not in script
    assert [one for one, _ in scripts({"files": {"model.tflite": facts}})] == ["LiteRT"]
    folder.description.write_text(json.dumps({"files": {"model.onnx": facts}}))
    assert "InferenceSession" in page_of(folder, a_result()).text
    for bad in (
        {"model.onnx": {}},
        {'x"; import os; ".onnx': facts},
        {"model.onnx": facts | {"output": {"name": "a\n"}}},
        1,
    ):
        assert scripts({"files": bad}) == []
    words = {"--data": "my photos; rm", "--target": "a:1 --target b:2", "--no-train": True, "--set train.lr": 0.01}
    assert shlex.split(command_of(words)) == [
        *("hwnas", "search", "--data", "my photos; rm", "--target", "a:1", "--target", "b:2"),
        *("--no-train", "--set", "train.lr=0.01"),
    ]


def test_warnings_about_images_stand_near_the_top(folder: RunFolder) -> None:
    warning = {"kind": "small", "text": f"few images of {HOSTILE}", "remedy": "add some"}
    sizes = {"train": {"cat": 10, "dog": 30}}
    facts = {"images": sizes, "width": [10, 20.0, 30], "fit": "crop", "warnings": [warning, 1, {}]}
    folder.images.write_text(json.dumps(facts))
    page = page_of(folder, a_result())
    assert f"few images of {HOSTILE} add some" in page.text
    assert "train 40 images, 10 to 30 of a class" in page.text
    assert "width median 20 pixels, from 10 to 30" in page.text
    assert page.count("script") == 1


def test_network_is_drawn_slot_by_slot(folder: RunFolder) -> None:
    page = page_of(folder, a_result())
    looks = [attrs["class"] for tag, attrs in page.tags if tag == "li" and attrs.get("class") in LOOKS]
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
        ({"accuracy": {"test": 0.71, "test_images": 100}}, "Not better than the random network by more than the error"),
        ({"accuracy": {"test": 1.0, "test_images": 10}}, "69.2 % to 100.0 %"),
        ({"accuracy": {"test": 0.0, "test_images": 10}}, "0.0 % to 30.8 %"),
        ({"seconds": 7300}, "2 h 1 min"),
        ({"budget_ms": 1500.0, "file_bytes": 900}, "1,500 ms"),
    ],
)
def test_headline_follows_the_result(folder: RunFolder, changes: dict[str, Any], expected: str) -> None:
    assert expected in page_of(folder, a_result(**changes)).text


def test_what_was_asked_for_is_in_the_words_of_the_command_line(folder: RunFolder) -> None:
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
    named = re.findall('<div class="scroll" tabindex="0" role="region" aria-label="[^"]+"><table', text)
    assert text.count("<table") == len(named) > 1


def test_noise_fills_no_axis_of_scores() -> None:
    for values, ends in (([99.8, 100.0], (94.6, 100.4)), ([0.0], (-0.4, 5.4)), ([10.0, 90.0], (3.6, 96.4))):
        assert plots.score_range(values) == pytest.approx(ends)


def test_letters_of_plots_can_be_read_on_a_phone(folder: RunFolder) -> None:
    page_of(folder, a_result())
    for svg in re.findall(r'<svg class="chart".*?</svg>', folder.report.read_text(), re.DOTALL):
        width = float(re.findall(r'viewBox="0 0 ([\d.]+)', svg)[0])
        sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)"', svg)]
        assert len(sizes) == svg.count("<text")
        assert sizes
        assert min(sizes) * 360 / width >= 11.5


def test_text_is_escaped_wherever_it_comes_from(folder: RunFolder) -> None:
    folder.config.write_text(f'data = "{HOSTILE}"\n"{HOSTILE}" = 1\n')
    folder.environment.write_text(json.dumps({"cpu": HOSTILE, "packages": {HOSTILE: [HOSTILE]}}))
    Events(folder.on_event).record({"event": "end", "stage": HOSTILE, "seconds": 1})
    folder.architecture.write_text(json.dumps({"network": [{"name": HOSTILE, "op": HOSTILE}], "choices": [HOSTILE]}))
    names = ("data", "device", "space", "strategy", "seed", "condition", "runtime", "verdict", "budget_met")
    page = page_of(folder, a_result(**dict.fromkeys(names, HOSTILE)))
    assert page.count("script") == 1
    assert page.text.count("<script>") > 10


def test_run_with_little_to_tell(folder: RunFolder) -> None:
    for path in (folder.config, folder.environment, folder.architecture, folder.evaluated, folder.log_file):
        path.unlink()
    page = page_of(folder, {})
    assert "Verdict unstable" in page.text
    assert page.count("svg") == 0


def test_damaged_companions_are_left_out(folder: RunFolder) -> None:
    folder.state.mkdir()
    companions = (folder.config, folder.environment, folder.architecture, folder.evaluated, folder.log_file)
    others = (folder.state / "latency.json", folder.mistakes, folder.images, folder.description)
    for path in (*companions, *others):
        path.write_bytes(b'\xff{"\x00,[')
    page = page_of(folder, a_result())
    assert "Budget met" in page.text
    assert [label.partition(":")[0] for label in labels_of(page)][1:] == [
        "Measured against predicted latency of 2 networks; the largest difference is 3.1 %"
    ]


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
