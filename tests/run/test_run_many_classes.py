"""A thousand classes, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from run_fakes import install, write_table
from typer.testing import CliRunner

from hwnas.arch import space_instance
from hwnas.cli import app
from hwnas.metrics import Metrics

CLASSES, EACH = 1000, 50


@pytest.mark.dear
def test_a_thousand_classes_of_fifty_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(CLASSES), EACH))
    means = rng.integers(40, 216, (CLASSES, 1, 1, 3))
    pixels = np.clip(means[labels] + rng.normal(0, 10, (len(labels), 8, 8, 3)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "many.npz", x=pixels, y=labels)
    space = space_instance("toy", width=1.0, resolution=8, channels=3, classes=CLASSES)
    tables = write_table(tmp_path / "tables", spaces=(space,))
    words = ["search", "--data", str(tmp_path / "many.npz"), "--budget-ms", "60%", "--space", "toy", "--width", "1"]
    words += ["--resolution", "8", "--accelerator", "cpu", "--out", str(tmp_path / "run"), "--tables", str(tables)]
    for section in ("search", "train"):  # few steps of many images
        words += ["--set", f"{section}.batch_size=250", "--set", f"{section}.epoch_steps=10"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    test_images = result["accuracy"]["test_images"]
    metrics = Metrics.from_json(result["metrics"])
    assert metrics.confusion.shape == (CLASSES, CLASSES)
    assert metrics.counts.min() >= 7
    assert metrics.n == test_images >= 7000
    assert metrics.accuracy == result["accuracy"]["test"]
    assert (tmp_path / "run" / "result.json").stat().st_size < 600_000
    assert "of 1000 classes with the lowest recall" in (tmp_path / "run" / "report.html").read_text()
