"""What makes steps of a supernet fast changes no gradient: against a plain supernet with a module for every op."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from bench_supernet import STEPS

from hwnas.arch import space_instance

SPACE = space_instance("darts", width=0.25, depth=3, resolution=8, channels=2, classes=5)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("ours", "plain", "limit"), [("darts", "plain first order", 1e-9), ("darts2", "plain second order", 1e-5)]
)
def test_steps_have_the_gradients_of_a_plain_supernet(ours: str, plain: str, limit: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 0.5 * torch.randn(len(SPACE.options), max(SPACE.options), generator=generator)
    batches = [(torch.randn(6, *SPACE.input_shape), torch.randint(5, (6,))) for _ in range(2)]
    steps = [STEPS[name](SPACE, logits) for name in (ours, plain)]
    for _ in range(2):  # the second one sees momentum, and what the first has made of the weights
        found, expected = (step(*batches) for step in steps)
        assert float((found - expected).norm() / expected.norm()) < limit
