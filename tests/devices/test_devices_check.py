"""What `hwnas devices check` warns of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from device_models import HOST, write_convs

from hwnas.devices.check import ROUNDS, Canary, remarks, run_canary
from hwnas.progress import Silent

QUIET = Canary(floor_us=100, noise=0.01, rejected=0.1, load=0.0, warm_s=0.3)


@pytest.mark.parametrize(
    ("asked", "governor", "canary", "said"),
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
    asked: str | None, governor: str | None, canary: Canary | None, said: list[str]
) -> None:
    found = remarks(replace(HOST, governor=asked), governor, canary)
    assert len(found) == len(said)
    assert all(part in remark for part, remark in zip(said, found, strict=True))


def test_the_canary_is_run(tmp_path: Path) -> None:
    canary = run_canary(HOST, write_convs(tmp_path / "canary.onnx", 2), progress=Silent())
    assert canary.floor_us > 0
    assert canary.noise >= 0
    assert canary.rejected in [pytest.approx(count / ROUNDS) for count in range(ROUNDS + 1)]
