"""What `hwnas devices check` warns of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from device_models import HOST, write_convs

from hwnas.devices.device_check import ROUNDS, ReferenceRun, remarks, run_reference_model
from hwnas.progress import Silent

QUIET = ReferenceRun(floor_us=100, noise=0.01, rejected=0.1, load=0.0, warm_s=0.3)


@pytest.mark.parametrize(
    ("asked", "governor", "reference", "said"),
    [
        (None, None, None, []),
        (None, "performance", QUIET, []),
        ("performance", "performance", QUIET, []),
        ("performance", "ondemand", QUIET, ["the governor is ondemand: setting 'performance' was not allowed"]),
        ("performance", None, QUIET, ["the governor is not known"]),
        (None, "schedutil", QUIET, ['with governor = "performance"']),
        (None, None, replace(QUIET, load=0.6), ["other work takes 60%"]),
        (None, None, replace(QUIET, load=None, rejected=0.9), ["90% of the rounds were disturbed"]),
    ],
)
def test_what_stands_in_the_way(
    asked: str | None, governor: str | None, reference: ReferenceRun | None, said: list[str]
) -> None:
    found = remarks(replace(HOST, governor=asked), governor, reference)
    assert len(found) == len(said)
    assert all(part in remark for part, remark in zip(said, found, strict=True))


def test_the_reference_model_is_run(tmp_path: Path) -> None:
    reference = run_reference_model(HOST, write_convs(tmp_path / "reference.onnx", 2), progress=Silent())
    assert reference.floor_us > 0
    assert reference.noise >= 0
    assert reference.rejected in [pytest.approx(count / ROUNDS) for count in range(ROUNDS + 1)]
