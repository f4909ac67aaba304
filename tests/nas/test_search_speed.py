"""What makes steps of a supernet fast changes no gradient: against a plain supernet with a module for every op."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from bench_supernet import gradient_errors

from hwnas.arch import space_instance
from hwnas.nas.bilevel import Bilevel
from hwnas.nas.strategies.darts import DARTS
from hwnas.nas.supernet import Supernet

SPACE = space_instance("darts", width=0.25, depth=3, resolution=8, channels=2, classes=5)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_steps_have_the_gradients_of_a_plain_supernet() -> None:
    """Those of second order are differences, which rounding hurts more."""
    errors = gradient_errors()
    assert errors["darts"] < 1e-9
    assert errors["darts2"] < 1e-5


def test_a_step_on_alpha_builds_no_graph_for_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    supernet, found, generator = Supernet(SPACE), DARTS(SPACE.options), torch.Generator()
    x, y = torch.randn(4, *SPACE.input_shape), torch.arange(4)
    optimizer = torch.optim.SGD(supernet.parameters(), 0.1)
    problem = Bilevel(supernet, optimizer, (x, y), (x, y), cross_entropy, cross_entropy)
    leaves: list[Tensor] = []
    grad = torch.autograd.grad

    def watched(loss: Tensor, *args: Tensor) -> tuple[Tensor, ...]:
        leaves.extend(leaves_of(loss))
        return grad(loss, *args)

    monkeypatch.setattr(torch.autograd, "grad", watched)
    gradient = found.gradient(problem, generator)
    assert [leaf is found.logits for leaf in leaves] == [True]
    assert all(w.requires_grad for w in supernet.parameters())
    (expected,) = grad(problem.val(found.arch_gates(generator)), found.logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)
    weights = {id(w) for w in supernet.parameters()}
    assert {id(leaf) for leaf in leaves_of(problem.train(found.weight_gates(generator)))} == weights


def leaves_of(loss: Tensor) -> list[Tensor]:
    """Those that a backward pass from `loss` gives gradients to."""
    nodes, seen, found = [loss.grad_fn], set[object](), []
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        nodes += [following for following, _ in node.next_functions]
    return found
