"""The benchmarks on tables: what they read, and that their answers keep the rules."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from bench_fewshot_latency import Scores, Task, tasks
from bench_nasbench201 import FREE, PRIOR, Bench, Cells
from cell_table import LatencyTable, load_table
from nasbench201_report import mean_and_error, page, summary
from scipy.stats import spearmanr

from hwnas.errors import DataError

OPS = ("none", "skip_connect", "nor_conv_3x3")
EDGES = ("1<-0", "2<-0", "2<-1", "3<-0", "3<-2")
CHOICES = np.array(list(itertools.product(range(3), repeat=5)))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    """243 made-up cells on six made-up devices."""
    rng = np.random.default_rng(0)
    convs = (CHOICES == 2).sum(1) * 2.0 + (CHOICES == 1).sum(1) * 0.3
    latencies = (3.0 + convs) * rng.uniform(1.0, 4.0, size=(6, 1)) * rng.lognormal(0.0, 0.05, size=(6, 243))
    path = tmp_path_factory.mktemp("data") / "nasbench201.npz"
    accuracy = {
        f"{name}_{key}": 50.0 + convs + rng.normal(size=243) for name in ("a", "b") for key in ("val12", "test200")
    }
    np.savez(
        path,
        arch_ops=CHOICES.astype(np.uint8),
        ops=np.array(OPS),
        edges=np.array(EDGES),
        devices_train=np.array(["x_1", "x_2", "y_1", "z_1"]),
        devices_valid=np.array(["v_1", "v_2"]),
        latency_ms_train=latencies[:4],
        latency_ms_valid=latencies[4:],
        **accuracy,
    )
    return load_table(path)


def reaches_output(cell: tuple[int, ...], edge: int) -> bool:
    """Whether a path of ops leads from an edge to node 3, by following every one of them."""
    ends = [tuple(map(int, text.split("<-"))) for text in EDGES]
    if cell[edge] == 0:
        return False
    target = ends[edge][0]
    return target == 3 or any(reaches_output(cell, i) for i, (_, source) in enumerate(ends) if source == target)


def test_dead_edges_are_those_that_lead_nowhere(table: LatencyTable) -> None:
    assert table.without_dead is not None
    for cell, kept in zip(CHOICES.tolist(), table.without_dead.tolist(), strict=True):
        assert kept == [op if reaches_output(tuple(cell), i) else 0 for i, op in enumerate(cell)]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        load_table(tmp_path / "nasbench201.npz")


def test_families_are_left_out_whole(table: LatencyTable) -> None:
    sources = {(task.protocol, task.device): len(task.sources_ms) for task in tasks(table)}
    assert sources == {
        ("valid", "v_1"): 4,
        ("valid", "v_2"): 4,
        ("family", "x_1"): 2,
        ("family", "x_2"): 2,
        ("family", "y_1"): 3,
        ("family", "z_1"): 3,
    }


def test_spearman_is_aware_of_ties() -> None:
    rng = np.random.default_rng(1)
    true, predicted = rng.integers(1, 6, size=50).astype(float), rng.integers(1, 6, size=50).astype(float)
    found = Scores(Task("valid", "v", true[None], true)).spearman(predicted)
    assert found == pytest.approx(spearmanr(true, predicted).statistic)


def test_cells_allow_what_can_be_completed(table: LatencyTable) -> None:
    mask = np.random.default_rng(2).random(243) < 0.1
    cells = Cells(table, mask)
    kept = {tuple(row) for row in CHOICES[mask].tolist()}
    for length in range(5):
        for prefix in itertools.product(range(3), repeat=length):
            expected = tuple(any(one[: length + 1] == (*prefix, k) for one in kept) for k in range(3))
            assert cells.allowed(prefix) == expected
    rng = np.random.default_rng(3)
    assert {cells.sample(rng) for _ in range(2000)} == kept
    assert all(cells.keeps(one) for one in kept)
    assert not cells.keeps(tuple(CHOICES[~mask][0].tolist()))


@pytest.mark.parametrize("name", ["random", "evolution", PRIOR])
def test_answers_hold_and_regret_is_the_distance_to_the_best(table: LatencyTable, name: str) -> None:
    bench = Bench(table, margin=-1.0)
    problem = bench.problems[4]
    runs = [run for seed in range(3) for run in bench.run(name, "a", problem, seed)]
    assert [run.queries for run in runs] == [50, 100] * 3
    test = table.values["a_test200"]
    for run in runs:
        assert problem.holds[run.cell]
        assert run.violated == 0
        assert run.verified >= 1
        assert run.regret == pytest.approx(test[problem.holds].max() - test[run.cell], abs=1e-3)
    assert list(bench.run(name, "a", problem, 0)) == runs[:2]


def test_a_winner_that_does_not_hold_is_passed_over(table: LatencyTable) -> None:
    bench = Bench(table, margin=0.0)
    problem = bench.problems[0]
    slow, fast = int(np.flatnonzero(~problem.holds)[0]), int(np.flatnonzero(problem.holds)[0])
    run = bench.answer([slow, fast], "a", problem, "random", 0, 50)
    assert (run.cell, run.verified, run.violated) == (fast, 2, 0)


def test_the_page_has_every_sampler(table: LatencyTable) -> None:
    bench = Bench(table, margin=0.0)
    runs = [
        run for problem in bench.problems[-3:] for seed in range(2) for run in bench.run("random", "a", problem, seed)
    ]
    runs += [run for problem in bench.problems for run in bench.trivial("a", problem)]
    rows = summary(runs)
    text = page(rows, FREE)
    assert "| random | 50 | 2 |" in text
    assert "largest cell" in text
    assert "0 budget violations" in text
    own = [row for row in rows if row["sampler"] == "random" and row["queries"] == 50 and row["device"] != FREE]
    regrets = [
        [run.regret for run in runs if run.sampler == "random" and run.queries == 50 and run.quantile == q]
        for q in (0.8, 0.9)
    ]
    mean, error = mean_and_error(own)
    assert mean == pytest.approx(np.mean(regrets), abs=1e-3)
    assert error == pytest.approx(np.sqrt(sum(np.var(one, ddof=1) / 2 for one in regrets)) / 2, abs=1e-3)
