"""The Gaussian process against closed forms, and what the strategy does with it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, lists
from problems import OPTIONS, RAGGED, TOY, all_choices, random_table, total, toy_model
from scipy.integrate import quad
from scipy.stats import norm, zscore

from hwnas.arch import space_instance
from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.arch.paths import paths_of
from hwnas.latency.space_latency import latency_model
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.choice_set import WithFeatures
from hwnas.nas.constraint import Constraint, latency_constraint
from hwnas.nas.feasible_set import feasible_set, proposable
from hwnas.nas.strategies.bayesian import BayesianOptimization
from hwnas.nas.strategies.gp import (
    Codes,
    FeatureCodes,
    Floats,
    GpPosterior,
    Kernel,
    expected_improvement,
    likeliest,
    normal_quantiles,
    winsorised,
)

CODES = Codes(RAGGED)
EVERY = CODES.rows(list(all_choices([[0.0] * count for count in RAGGED])))
KERNEL = Kernel(1.7, 5.0, 0.05)
COSTS = toy_model().costs_ms
BUDGET = sorted(total(COSTS, choices) for choices in all_choices(COSTS))[60]
FEASIBLE = AdditiveSet(Constraint("ms", AdditiveCosts(COSTS), BUDGET, BUDGET))


def posterior_of(codes: Codes | FeatureCodes, kernel: Kernel, seen: Floats, candidates: Floats) -> GpPosterior:
    posterior = GpPosterior(codes, kernel, seen)
    posterior.consider(candidates)
    return posterior


def test_distances_count_what_differs() -> None:
    codes = Codes([3, 3, 2])
    left, right = codes.rows([[0, 1, 1]]), codes.rows([[1, 0, 1], [0, 1, 0], [2, 2, 0]])
    differ, shared = codes.distances(left, right)
    assert differ[0] == pytest.approx([2 / 3, 1 / 3, 1.0])
    # option counts of the two decisions with three options, and of the one with two, over three decisions
    assert shared[0] == pytest.approx([0.0, 2 / 9, (1 + 1 + 4 + 1 + 1) / 9])


@pytest.mark.parametrize("rate", [6.7, 0.8])
@pytest.mark.parametrize("shared_rate", [50.0, 0.0])
def test_the_kernel_is_positive_definite(rate: float, shared_rate: float) -> None:
    values = np.linalg.eigvalsh(Kernel(rate, shared_rate, 0.0)(CODES.distances(EVERY, EVERY)))
    assert values.min() > -1e-9


@pytest.mark.parametrize("columns", [1, 2])
def test_the_posterior_is_gaussian_conditioning(columns: int) -> None:
    """Against a joint normal in which the trend's coefficients have a huge variance."""
    rng = np.random.default_rng(0)
    picks = rng.permutation(len(EVERY))[:12]
    trend = np.column_stack([np.ones(len(EVERY)), rng.normal(size=len(EVERY))])[:, :columns]
    z = rng.normal(size=12)
    posterior = posterior_of(CODES, KERNEL, EVERY[picks], EVERY)
    mean, deviation = posterior.predict(z, trend[picks], trend)

    prior = KERNEL(CODES.distances(EVERY, EVERY)) + 1e6 * trend @ trend.T
    observed = prior[np.ix_(picks, picks)] + KERNEL.noise * np.eye(12)
    assert mean == pytest.approx(prior[:, picks] @ np.linalg.solve(observed, z), abs=1e-5)
    flat = KERNEL(CODES.distances(EVERY[picks], EVERY[picks])) + KERNEL.noise * np.eye(12)
    weighted = np.linalg.solve(flat, trend[picks])
    rest = z - trend[picks] @ np.linalg.solve(trend[picks].T @ weighted, weighted.T @ z)
    amplitude = rest @ np.linalg.solve(flat, rest) / (12 - columns)
    variance = np.diag(prior - prior[:, picks] @ np.linalg.solve(observed, prior[picks]))
    assert deviation**2 == pytest.approx(amplitude * variance, rel=1e-3, abs=1e-5)


def test_adding_scores_and_candidates_one_by_one_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    picks, z = rng.permutation(len(EVERY))[:10], rng.normal(size=10)
    grown = posterior_of(CODES, KERNEL, EVERY[picks[:4]], EVERY)
    for pick in picks[4:]:
        grown.add(EVERY[[pick]])
    ones = np.ones((len(EVERY), 1))
    whole = posterior_of(CODES, KERNEL, EVERY[picks], EVERY).predict(z, ones[:10], ones)
    for one, other in zip(grown.predict(z, ones[:10], ones), whole, strict=True):
        assert one == pytest.approx(other, abs=1e-9)
    late = posterior_of(CODES, KERNEL, EVERY[picks[:4]], EVERY[:7])
    for count, pick in enumerate(picks[4:], 1):
        late.add(EVERY[[pick]])
        late.consider(EVERY[7 * count : 7 * count + 7])
    late.consider(EVERY[49:])
    for one, other in zip(late.predict(z, ones[:10], ones), whole, strict=True):
        assert one == pytest.approx(other, abs=1e-9)


def test_the_likeliest_kernel_has_the_largest_restricted_likelihood() -> None:
    """Against the density of contrasts: all that scores say whatever the trend's coefficients are."""
    rng = np.random.default_rng(2)
    rows = EVERY[rng.permutation(len(EVERY))[:15]]
    distances, trend = CODES.distances(rows, rows), np.ones((15, 1))
    z = rng.multivariate_normal(np.zeros(15), Kernel(1.7, 10.0, 0.0)(distances) + 0.01 * np.eye(15))
    contrasts = np.linalg.qr(np.hstack([trend, np.eye(15)]))[0][:, 1:15]

    def likelihood(kernel: Kernel) -> float:
        covariance = contrasts.T @ (kernel(distances) + kernel.noise * np.eye(15)) @ contrasts
        y = contrasts.T @ z
        variance = y @ np.linalg.solve(covariance, y) / 14
        return float(-0.5 * (14 * np.log(variance) + np.linalg.slogdet(covariance)[1]))

    grid = [
        Kernel(rate, shared_rate, noise)
        for rate in (6.7, 3.3, 1.7, 0.8)
        for shared_rate in (50.0, 10.0, 2.0, 0.0)
        for noise in (0.01, 0.03, 0.1, 0.3)
    ]
    assert likelihood(likeliest(distances, z, trend)) == pytest.approx(max(map(likelihood, grid)))


@pytest.mark.parametrize("best", [-1.0, 0.2, 3.0])
def test_expected_improvement_is_an_integral(best: float) -> None:
    truth, _ = quad(lambda f: (f - best) * norm.pdf(f, 0.5, 0.8), best, best + 12.0)
    assert expected_improvement(np.array([0.5]), np.array([0.8]), best)[0] == pytest.approx(truth, abs=1e-7)


def test_quantiles_depend_on_ranks_only() -> None:
    assert normal_quantiles([0.9, 0.1, 0.5]) == pytest.approx(norm.ppf([5 / 6, 1 / 6, 3 / 6]))
    assert normal_quantiles([3.0, 3.0]) == pytest.approx([0.0, 0.0])


@given(lists(floats(0.0, 1.0, width=32), min_size=3, max_size=60), floats(0.01, 100.0), floats(-10.0, 10.0))
def test_scores_of_any_scale_are_told_alike(scores: list[float], scale: float, shift: float) -> None:
    """Against scipy's z-score of what is clipped; a failed architecture may score anything."""
    z = winsorised(scores)
    assert (np.diff(z[np.argsort(scores, kind="stable")]) >= 0.0).all()
    if np.ptp(scores) < 1e-3:
        return
    assert winsorised([scale * one + shift for one in scores]) == pytest.approx(z, abs=1e-6)
    limit = min(np.quantile(scores, 0.25, method="higher"), 5 * np.median(scores) - 4 * np.quantile(scores, 0.9))
    clipped = np.clip(scores, limit, None)
    if np.ptp(clipped) > 1e-3:
        assert z == pytest.approx(zscore(clipped), abs=1e-6)
    failed = min(scores)
    if failed < limit - 1e-3:
        assert winsorised([one if one > failed else -1e6 for one in scores]) == pytest.approx(z, abs=1e-6)


def test_equal_scores_are_all_zero() -> None:
    assert winsorised([0.3, 0.3, 0.3]).tolist() == [0.0, 0.0, 0.0]


def test_where_most_scores_tie_those_above_the_lowest_quarter_differ() -> None:
    z = winsorised([0.1, 0.8, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert z[0] == z[1] == z[2] < z[3] == z[7]


def scored(seed: int) -> dict[tuple[int, ...], float]:
    table = random_table(np.random.default_rng(seed))
    return {choices: total(table, choices) / 10.0 for choices in all_choices(COSTS)}


def run(found: BayesianOptimization, scores: dict[tuple[int, ...], float], count: int) -> list[tuple[int, ...]]:
    asked = []
    for _ in range(count):
        asked.append(found.ask())
        found.tell(asked[-1], scores[asked[-1]])
    return asked


def test_it_needs_few_scores_and_keeps_the_budget() -> None:
    scores = scored(0)
    best = max((choices for choices in scores if FEASIBLE.keeps(choices)), key=scores.__getitem__)
    found = BayesianOptimization(FEASIBLE, 0, pool=40)
    asked = run(found, scores, 30)
    assert all(map(FEASIBLE.keeps, asked))
    assert best in asked
    assert found.winners(1) == [best]


def test_winners_are_feasible_and_may_be_unseen() -> None:
    scores = scored(1)
    found = BayesianOptimization(FEASIBLE, 0, start=6, pool=40)
    for choices in [(0,) * len(OPTIONS), *list(scores)[-3:]]:
        found.tell(choices, scores[choices])
    early = found.winners(5)
    assert all(FEASIBLE.keeps(choices) for choices in early)
    assert [scores[choices] for choices in early] == sorted((scores[choices] for choices in early), reverse=True)
    asked = run(found, scores, 6)
    ranked = found.winners(10_000)
    assert len(set(ranked)) == len(ranked)
    assert all(map(FEASIBLE.keeps, ranked))
    assert set(ranked) - set(asked)


@pytest.mark.parametrize("told", [3, 17])
@pytest.mark.parametrize("prior", [None, lambda choices: float(choices[0])], ids=["plain", "prior"])
def test_it_goes_on_from_its_state(told: int, prior: None) -> None:
    scores = scored(2)
    whole, other = (BayesianOptimization(FEASIBLE, seed, prior=prior, pool=40) for seed in (5, 6))
    run(whole, scores, told)
    other.restore(json.loads(json.dumps(whole.state())))
    assert run(other, scores, 12) == run(whole, scores, 12)
    assert other.winners(3) == whole.winners(3)


def test_a_prior_that_knows_the_answer_saves_scores() -> None:
    scores = scored(3)
    best = max((choices for choices in scores if FEASIBLE.keeps(choices)), key=scores.__getitem__)
    found = BayesianOptimization(FEASIBLE, 0, prior=lambda choices: 50.0 - 7.0 * scores[tuple(choices)], pool=200)
    first = run(found, scores, 2)
    assert first[0] != best, "the guess is upside down"
    assert best in run(found, scores, 10)


def test_when_all_is_seen_it_asks_for_the_best_again() -> None:
    scores = scored(4)
    tight = sorted(total(COSTS, choices) for choices in scores)[2]
    few = AdditiveSet(Constraint("ms", AdditiveCosts(COSTS), tight, tight))
    asked = run(BayesianOptimization(few, 0, start=3, pool=10), scores, 12)
    assert all(map(few.keeps, asked))
    assert asked[-1] == max(asked, key=scores.__getitem__)


CELLS = space_instance("nasbench201", width=1.0, resolution=8, channels=1, classes=10)


def cells(seed: int, budget: float) -> WithFeatures:
    """NAS-Bench-201's cells under a random latency table, with their paths."""
    costs = [np.abs(row).tolist() for row in random_table(np.random.default_rng(seed), CELLS.options)]
    paths = paths_of(CELLS)
    assert paths is not None
    return WithFeatures(AdditiveSet(Constraint("ms", AdditiveCosts(costs), budget, budget)), paths)


def test_features_are_compared_by_how_often_they_are_there() -> None:
    feasible = cells(0, 6.0)
    codes, rng = FeatureCodes(CELLS.options, feasible.features), np.random.default_rng(0)
    drawn = [feasible.sample(rng) for _ in range(40)]
    rows = np.vstack([codes.rows(drawn[:15]), codes.rows(drawn[10:])])
    differ, shared = codes.distances(rows, rows)
    assert np.linalg.eigvalsh(KERNEL((differ, shared))).min() > -1e-9
    twice = [*drawn[:15], *drawn[10:]]
    for i, j in rng.integers(len(twice), size=(30, 2)):
        for one, other, distances, scale in zip(
            feasible.features(twice[i]), feasible.features(twice[j]), (differ, shared), (8.0, 36.0), strict=True
        ):
            squares = ((one.get(key, 0) - other.get(key, 0)) ** 2 for key in {*one, *other})
            assert distances[i, j] == pytest.approx(sum(squares) / scale)


def test_with_features_it_goes_on_from_its_state() -> None:
    feasible = cells(1, 5.0)
    scores = {one: float(len(feasible.features(one)[0]) - one[2]) for one in all_choices([[0.0] * 5] * 6)}
    whole, other = (BayesianOptimization(feasible, seed, pool=60) for seed in (5, 6))
    run(whole, scores, 17)
    other.restore(json.loads(json.dumps(whole.state())))
    assert run(other, scores, 8) == run(whole, scores, 8)
    assert other.winners(3) == whole.winners(3)


def test_features_say_what_cells_that_were_never_scored_are_like() -> None:
    """Where scores depend on paths only, what is believed of unseen cells is nearer to them with features."""
    feasible = cells(2, 100.0)
    weights: dict[object, float] = {}
    rng = np.random.default_rng(0)

    def score(choices: tuple[int, ...]) -> float:
        return sum(n * weights.setdefault(path, rng.normal()) for path, n in feasible.features(choices)[0].items())

    drawn = list(dict.fromkeys(feasible.sample(rng) for _ in range(260)))
    z = normal_quantiles([score(one) for one in drawn])
    ones = np.ones((len(drawn), 1))
    found = {}
    for codes in (Codes(CELLS.options), FeatureCodes(CELLS.options, feasible.features)):
        rows = codes.rows(drawn)
        kernel = likeliest(codes.distances(rows[:60], rows[:60]), z[:60], ones[:60])
        mean, _ = posterior_of(codes, kernel, rows[:60], rows[60:]).predict(z[:60], ones[:60], ones[60:])
        found[type(codes)] = np.corrcoef(mean, z[60:])[0, 1]
    assert found[FeatureCodes] > found[Codes] + 0.1


def test_the_engine_hands_on_the_paths_of_cells() -> None:
    model = latency_model(CELLS, lambda spec: 1.0 + len(spec.graph.nodes))
    limits = feasible_set(latency_constraint(model, model.largest_ms))
    assert proposable(limits, CELLS).features is not None
    assert limits.features is None
    toy = toy_model()
    assert proposable(feasible_set(latency_constraint(toy, toy.largest_ms)), TOY).features is None


def test_a_guess_that_scores_contradict_is_left_out() -> None:
    rng = np.random.default_rng(3)
    picks = rng.choice(len(EVERY), 12, replace=False)
    z = rng.normal(size=12)
    ones = np.ones((len(EVERY), 1))
    posterior = posterior_of(CODES, KERNEL, EVERY[picks], EVERY)
    alone = posterior.predict(z, ones[picks], ones)
    guess = np.zeros((len(EVERY), 1))
    for sign, counts in ((1.0, True), (-1.0, False)):
        guess[picks, 0] = sign * z
        trend = np.hstack([ones, guess])
        found = posterior.predict(z, trend[picks], trend)
        assert np.allclose(found, alone) is not counts


def test_of_equal_networks_the_one_with_the_better_score_wins() -> None:
    """Equal features are believed equally good; what is left is a quarter of what each own score differs."""
    feasible = cells(3, 100.0)
    choices = list(all_choices([[0.0] * 5] * 6))
    groups: dict[str, list[tuple[int, ...]]] = {}
    for one in choices:
        groups.setdefault(repr(feasible.features(one)), []).append(one)
    twins = max(groups.values(), key=len)[:2]
    for better, worse in (twins, twins[::-1]):
        found = BayesianOptimization(feasible, 0, pool=20)
        for number, one in enumerate(choices[:: len(choices) // 12]):
            found.tell(one, 0.5 + 0.01 * number)
        found.tell(worse, 0.8)
        found.tell(better, 0.9)
        ranked = found.winners(len(choices))
        assert ranked.index(better) < ranked.index(worse)
