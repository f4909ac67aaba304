"""Inner loops and outer gradients against closed forms, finite differences and torch's own optimisers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hwnas.arch import space_instance
from hwnas.errors import InputError
from hwnas.meta.head import prototypes
from hwnas.meta.inner_loop import ALPHA, Inner, Params, adapt
from hwnas.meta.learner import Learner
from hwnas.meta.outer import METHODS, Problem, fomaml, maml, outer_gradient, reptile
from hwnas.nas.supernet import Gate, Supernet

SGD = Inner(steps=3, lr=0.1, alpha_lr=0.3)
ADAM = Inner(rule="adam", steps=4, lr=0.05, alpha_lr=0.2)
SMOOTH = replace(ADAM, eps=0.01)  # with a smaller one, a step is nearly the sign of the gradient: too steep at 0


class Quadratic:
    """Half of (θ - c)ᵀ A (θ - c), for the weights and for α; the query has another A and c."""

    def __init__(self, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)

        def matrix() -> Tensor:
            root = torch.randn(4, 4, generator=g, dtype=torch.float64)
            return root @ root.T / 4 + torch.eye(4, dtype=torch.float64) / 2

        def vector() -> Tensor:
            return torch.randn(4, generator=g, dtype=torch.float64)

        self.a = {"w": matrix(), ALPHA: matrix()}
        self.c = {"w": vector(), ALPHA: vector()}
        self.qa = {"w": matrix(), ALPHA: matrix()}
        self.qc = {"w": vector(), ALPHA: vector()}
        self.init = {"w": vector(), ALPHA: vector()}
        self.problem = Problem(
            lambda params, _: self._loss(params, self.a, self.c), lambda params: self._loss(params, self.qa, self.qc)
        )

    @staticmethod
    def _loss(params: Params, a: Params, c: Params) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for name, value in params.items():
            gap = value - c[name]
            total = total + gap @ a[name] @ gap / 2
        return total

    def shrink(self, name: str, inner: Inner) -> Tensor:
        """(I - rA)^k."""
        step = torch.eye(4, dtype=torch.float64) - inner.rate(name) * self.a[name]
        return torch.linalg.matrix_power(step, inner.steps)

    def adapted(self, inner: Inner) -> Params:
        """θ_k = c + (I - rA)^k (θ_0 - c)."""
        return {n: self.c[n] + self.shrink(n, inner) @ (self.init[n] - self.c[n]) for n in self.init}


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_outer_gradients_on_a_quadratic(seed: int) -> None:
    q = Quadratic(seed)
    end = q.adapted(SGD)
    for name in q.init:
        at_end = q.qa[name] @ (end[name] - q.qc[name])
        torch.testing.assert_close(adapt(q.init, q.problem.support, SGD)[name], end[name])
        torch.testing.assert_close(reptile(q.init, q.problem, SGD)[name], q.init[name] - end[name])
        torch.testing.assert_close(fomaml(q.init, q.problem, SGD)[name], at_end)
        torch.testing.assert_close(maml(q.init, q.problem, SGD)[name], q.shrink(name, SGD) @ at_end)


@pytest.mark.parametrize(
    ("inner", "optimizer"),
    [
        (SGD, lambda groups: torch.optim.SGD(groups)),
        (ADAM, lambda groups: torch.optim.Adam(groups, betas=(0.0, 0.999))),
    ],
)
def test_inner_rules_are_those_of_torch(inner: Inner, optimizer: Callable[[Any], torch.optim.Optimizer]) -> None:
    q = Quadratic(1)
    leaves = {name: value.clone().requires_grad_() for name, value in q.init.items()}
    other = optimizer([{"params": [value], "lr": inner.rate(name)} for name, value in leaves.items()])
    for step in range(inner.steps):
        other.zero_grad()
        q.problem.support(leaves, step).backward()  # type: ignore[no-untyped-call]
        other.step()
    torch.testing.assert_close(adapt(q.init, q.problem.support, inner), {n: v.detach() for n, v in leaves.items()})


class TinyNet(nn.Module):
    """Two mixed options around a smooth activation, with a batch norm, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.options = nn.ModuleList([nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 3, padding=1)])
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 3)

    def forward(self, x: Tensor, gates: list[Gate]) -> Tensor:
        assert gates[0].weights is not None
        parts = [w * self.options[k](x) for k, w in zip(gates[0].active, gates[0].weights, strict=True)]
        return self.head(torch.tanh(self.norm(sum(parts))).mean((2, 3)))  # type: ignore[no-any-return]


def tiny_problem(norm: Any = "transductive", head: str = "learned") -> tuple[Learner, Params, Problem]:
    torch.manual_seed(3)
    learner = Learner(TinyNet().double(), [2])
    init = learner.fresh()
    init[ALPHA] = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    x, y = torch.randn(12, 1, 4, 4, dtype=torch.float64), torch.arange(12) % 3
    support, query = (x[:6], y[:6]), (x[6:], y[6:])

    def loss(params: Params, step: int) -> Tensor:
        logits = learner.logits(params, support[0], statistics=None, temperature=1.0 / (step + 1))
        return cross_entropy(logits, support[1])

    def query_loss(params: Params) -> Tensor:
        statistics = learner.query_statistics(norm, params, support[0], learner.buffers)
        return cross_entropy(learner.logits(params, query[0], statistics=statistics), query[1])

    made = {"learned": None, "prototypes": lambda params: prototypes(learner, params, *support)}[head]
    return learner, init, Problem(loss, query_loss, made)


@pytest.mark.parametrize("inner", [SGD, SMOOTH])
@pytest.mark.parametrize(
    ("norm", "head"), [("transductive", "learned"), ("running", "learned"), ("transductive", "prototypes")]
)
def test_maml_is_the_derivative_of_the_adapted_loss(inner: Inner, norm: str, head: str) -> None:
    """Central differences of every weight and of α, in float64."""
    _, init, problem = tiny_problem(norm, head)
    found = maml(init, problem, inner)

    def outer_loss(params: Params) -> float:
        return problem.query(adapt(problem.start(params), problem.support, inner)).item()

    for name, value in init.items():
        for place in range(value.numel()):
            ends = []
            for sign in (1, -1):
                moved = value.clone()
                moved.view(-1)[place] += sign * 1e-6
                ends.append(outer_loss(init | {name: moved}))
            numeric = (ends[0] - ends[1]) / 2e-6
            assert found[name].view(-1)[place].item() == pytest.approx(numeric, rel=2e-4, abs=2e-8), name


def test_first_order_leaves_out_what_the_second_order_has() -> None:
    _, init, problem = tiny_problem()
    first, second = (method(init, problem, SGD) for method in (fomaml, maml))
    assert max(float((first[name] - second[name]).abs().max()) for name in init) > 1e-3
    nearly_none = Inner(steps=1, lr=1e-9, alpha_lr=1e-9)
    torch.testing.assert_close(fomaml(init, problem, nearly_none), maml(init, problem, nearly_none))


def distances(params: Params) -> Tensor:
    """Squared distances (query images, classes) of features to class means, by the modules of the network itself."""
    net = TinyNet().double()
    net.load_state_dict(params, strict=False)
    torch.manual_seed(3)
    TinyNet()  # what tiny_problem draws before the images
    x = torch.randn(12, 1, 4, 4, dtype=torch.float64)
    weights = torch.softmax(params[ALPHA][0], 0)
    net.head = nn.Identity()  # type: ignore[assignment]
    for name, value in params.items():
        if name != ALPHA and not name.startswith("head."):
            owner, _, leaf = name.rpartition(".")
            del net.get_submodule(owner)._parameters[leaf]
            setattr(net.get_submodule(owner), leaf, value)
    support, query = net(x[:6], [Gate((0, 1), weights)]), net(x[6:], [Gate((0, 1), weights)])
    centres = support.reshape(2, 3, 2).mean(0)
    return (query[:, None] - centres).square().sum(2)  # type: ignore[no-any-return]


def test_a_head_of_prototypes_classifies_by_distance() -> None:
    learner, init, problem = tiny_problem(head="prototypes")
    start = problem.start(init)
    torch.manual_seed(3)
    TinyNet()
    x = torch.randn(12, 1, 4, 4, dtype=torch.float64)[6:]
    gap = learner.logits(start, x, statistics=None) + distances(init)
    torch.testing.assert_close(gap, gap[:, :1].expand(6, 3))


@pytest.mark.parametrize("method", ["fomaml", "maml"])
def test_without_a_step_a_head_of_prototypes_is_a_prototypical_network(method: str) -> None:
    _, init, problem = tiny_problem(head="prototypes")
    still = Inner(steps=1, lr=0.0, alpha_lr=0.0)
    found = outer_gradient(method)(init, problem, still)
    leaves = {name: value.clone().requires_grad_() for name, value in init.items()}
    loss = cross_entropy(-distances(leaves), torch.arange(6) % 3)
    wanted = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), allow_unused=True), strict=True))
    for name, value in found.items():
        if name.startswith("head."):
            assert not value.any()
        else:
            torch.testing.assert_close(value, wanted[name])


def test_reptile_leaves_a_head_alone_that_is_made_for_the_task() -> None:
    _, init, problem = tiny_problem(head="prototypes")
    found = reptile(init, problem, SGD)
    assert not found["head.weight"].any()
    adapted = problem.adapted(init, SGD)
    torch.testing.assert_close(found["options.0.weight"], init["options.0.weight"] - adapted["options.0.weight"])


def test_a_head_of_prototypes_needs_a_linear_layer() -> None:
    learner = Learner(nn.Conv2d(1, 2, 1))
    with pytest.raises(InputError, match="ends with a linear layer"):
        prototypes(learner, learner.fresh(), torch.zeros(2, 1, 1, 1), torch.arange(2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", ["transductive", "support", "running"])
@pytest.mark.parametrize("head", ["learned", "prototypes"])
def test_nothing_changes_the_initialisation(method: str, norm: str, head: str) -> None:
    learner, init, problem = tiny_problem(norm, head)
    before = {name: value.clone() for name, value in init.items()}
    module = {name: value.clone() for name, value in learner._module.state_dict().items()}
    first = outer_gradient(method)(init, problem, SGD)
    again = outer_gradient(method)(init, problem, SGD)
    for name in init:
        assert torch.equal(init[name], before[name])
        assert init[name].grad is None
        assert not init[name].requires_grad
        assert torch.equal(first[name], again[name])
    for name, value in learner._module.state_dict().items():
        assert torch.equal(value, module[name])


def test_an_unknown_method_and_wrong_settings_say_so() -> None:
    with pytest.raises(InputError, match="unknown method"):
        outer_gradient("leap")
    with pytest.raises(InputError, match="steps of an inner loop must be at least 1"):
        Inner(steps=0)
    with pytest.raises(InputError, match="sgd or adam"):
        Inner(rule="lion")
    with pytest.raises(InputError, match="transductive"):
        Learner(nn.Linear(1, 1)).query_statistics("batch", {}, torch.zeros(1), {})  # type: ignore[arg-type]


def a_supernet() -> tuple[Supernet, Learner, Params, Tensor]:
    torch.manual_seed(0)
    net = Supernet(space_instance("toy", width=0.5, resolution=8, channels=1, classes=4))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    learner = Learner(net, net.space.options)
    return net, learner, learner.fresh(), torch.randn(6, 1, 8, 8)


def test_the_logits_are_those_of_the_supernet() -> None:
    net, learner, params, x = a_supernet()
    params[ALPHA] = torch.randn_like(params[ALPHA])
    rows = [row[:count] for row, count in zip(params[ALPHA], net.space.options, strict=True)]
    gates = [Gate(tuple(range(len(row))), torch.softmax(row / 0.7, 0)) for row in rows]
    with torch.no_grad():
        own = learner.logits(params, x, statistics=learner.buffers, temperature=0.7)
        torch.testing.assert_close(own, net.eval()(x, gates))
        own = learner.logits(params, x, statistics=None, temperature=0.7)
        torch.testing.assert_close(own, net.train()(x, gates))


def test_sharp_alpha_computes_one_option_and_noise_draws_two() -> None:
    net, learner, params, x = a_supernet()
    params[ALPHA][:, 1] = 1.0
    with torch.no_grad():
        one = learner.logits(params, x, statistics=learner.buffers, temperature=0.05)
        torch.testing.assert_close(one, net.eval()(x, [Gate((1,))] * len(net.space.options)))
        noise = torch.zeros_like(params[ALPHA])
        two = learner.logits(params, x, statistics=learner.buffers, temperature=0.05, noise=noise)
        torch.testing.assert_close(two, one)


def test_statistics_of_the_support_are_those_of_its_batch_norms() -> None:
    """In eval mode with the statistics of a batch, that batch gives what it gives in train mode."""
    _, learner, params, x = a_supernet()
    statistics = learner.statistics(params, x)
    n = len(x)
    with torch.no_grad():
        own, batch = (learner.logits(params, x, statistics=given) for given in (statistics, None))
    # The stored variance is the unbiased one, so both differ by up to n / (n - 1) in each norm.
    torch.testing.assert_close(own, batch, rtol=n / (n - 1) - 1, atol=0.05 * float(batch.abs().max()))
    name = next(name for name in statistics if name.startswith("stem") and name.endswith("running_mean"))
    weight = params[name.replace("norm.running_mean", "weight")]
    map_ = nn.functional.conv2d(x, weight, stride=2, padding=1)
    torch.testing.assert_close(statistics[name], map_.mean((0, 2, 3)))
    torch.testing.assert_close(statistics[name.replace("mean", "var")], map_.var((0, 2, 3)))
