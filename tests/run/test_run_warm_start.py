"""Runs whose sampler starts from what that of an earlier run learned, and runs that decode an earlier α."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from run_fakes import SPACE, a_config, install, install_short_scores, latencies, on_replace, write_table
from test_run_init import Killed, Runs, write_init
from test_run_resume import outcome

from hwnas.arch import space_instance
from hwnas.arch.costs import peak_bytes
from hwnas.errors import InputError
from hwnas.meta.initialisation import Initialisation, load_initialisation
from hwnas.nas.make_loop import make_samplers
from hwnas.nas.strategies.base import WarmStartable
from hwnas.run import run_marker
from hwnas.run.pipeline import run_search
from hwnas.run.plan import Plan, make_plan
from hwnas.run.run_folder import RunFolder
from hwnas.train import checkpoint

MODEL = latencies()
CHAIN = space_instance("chain", width=0.05, depth=3, resolution=8, channels=3, classes=3)
PEAKS_KB = {peak_bytes(SPACE.network(one).graph) / 1024 for one in SPACE.enumerate()}
SOME_OPTIONS_KB = sorted(PEAKS_KB)[-2]
CARRYING = ("enas", "metaqnn", "bayesian")


@pytest.fixture(scope="module")
def runs(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs of seconds."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        install(patch.setattr)
        yield Runs(images, root)


def first(runs: Runs, name: str) -> Path:
    """A run of a strategy that starts from nothing; made once."""
    folder = runs.root / name
    if not folder.exists():
        runs(name, strategy=name)
    return folder


def export_state(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RunFolder(folder).sampler_state.read_text())
    return content


def target_ms(share: float) -> float:
    """What predictions must stay under, of a budget in per cent."""
    return MODEL.target_ms(MODEL.smallest_ms + share / 100 * (MODEL.largest_ms - MODEL.smallest_ms))


def planned(runs: Runs, name: str, **changes: Any) -> Plan:
    return make_plan(a_config(runs.images, init=str(first(runs, name)), **changes), runs.tables)


@pytest.mark.parametrize("name", CARRYING)
def test_the_second_sampler_begins_with_what_the_first_one_learned(runs: Runs, name: str) -> None:
    """For another budget. What it then learned is not what it learns from a random start."""
    plan = planned(runs, name, strategy=name, budget="30%")
    assert plan.reused is not None
    assert plan.start is not None
    assert str(plan.reused).endswith("; sampler reused")
    before = export_state(runs.root / name)["strategies"][name]
    limits = [plan.constrained.feasible_set(MODEL, target_ms(30))]
    (sampler,) = make_samplers(plan.strategy, limits, "filter", 0, plan.start.sampler_state)
    assert isinstance(sampler, WarmStartable)
    assert json.loads(json.dumps(sampler.export_state())) == before
    second = runs(f"{name}-second", strategy=name, budget="30%", init=str(runs.root / name))
    assert (second["init"]["sampler"], second["init"]["share"]) == ("reused", 1.0)
    assert second["predicted_ms"] <= target_ms(30) * (1 + 1e-9)
    assert second["budget_met"] is True
    after = export_state(runs.root / f"{name}-second")["strategies"][name]
    assert after != before
    if name == "bayesian":  # which knows of each task apart
        assert (len(before["tasks"]), len(after["tasks"])) == (1, 2)
        assert after["tasks"][0] == before["tasks"][0]


def test_with_several_budgets_it_is_what_the_loosest_learned(runs: Runs) -> None:
    runs("front", strategy="bayesian", budget="30%,90%")
    rows = (runs.root / "front" / "90pct" / "evaluated.csv").read_text().splitlines()[1:]
    slow = {tuple(map(int, row.split(",")[0].split("-"))) for row in rows if float(row.split(",")[1]) > target_ms(30)}
    (task,) = export_state(runs.root / "front")["strategies"]["bayesian"]["tasks"]
    assert slow & {tuple(choices) for choices, _ in task}


@pytest.mark.parametrize(
    ("earlier", "changes", "why"),
    [
        ("enas", {"strategy": "bayesian"}, "what was learned is of enas, not of bayesian"),
        ("gumbel", {"strategy": "metaqnn"}, "no sampler learned there"),
        ("bayesian", {"strategy": "evolution"}, "evolution carries nothing over"),
        ("metaqnn", {"strategy": "metaqnn", "reward": "absolute"}, "it was told the reward filter, not absolute"),
        ("metaqnn", {"strategy": "metaqnn", "max_peak_kb": SOME_OPTIONS_KB}, "with other options"),
    ],
)
def test_where_only_the_weights_fit_it_is_said_why(runs: Runs, earlier: str, changes: dict[str, Any], why: str) -> None:
    plan = planned(runs, earlier, **changes)
    assert plan.reused is not None
    assert plan.start is not None
    assert plan.start.sampler_state is None
    assert plan.start.weights
    assert plan.reused.sampler.startswith("not reused: ")
    assert why in plan.reused.sampler
    assert plan.reused.sampler in str(plan.reused)


def test_a_relaxation_takes_no_notice_of_samplers(runs: Runs) -> None:
    plan = planned(runs, "enas", strategy="gumbel")
    assert plan.reused is not None
    assert (plan.reused.sampler, plan.reused.share) == ("", 1.0)
    assert "sampler" not in str(plan.reused)


def test_an_initialisation_may_hold_what_samplers_learned(runs: Runs, tmp_path: Path) -> None:
    plain = load_initialisation(write_init(tmp_path / "plain"))
    known = export_state(first(runs, "bayesian"))["strategies"]
    Initialisation(plain.origin, plain.weights, plain.alpha, known).save(tmp_path / "full")
    plan = planned(runs, str(tmp_path / "full"), strategy="bayesian")
    assert plan.start is not None
    assert plan.start.sampler_state == known["bayesian"]
    damaged = {"bayesian": {"kind": known["bayesian"]["kind"], "options": known["bayesian"]["options"]}}
    Initialisation(plain.origin, plain.weights, plain.alpha, damaged).save(tmp_path / "damaged")
    plan = planned(runs, str(tmp_path / "damaged"), strategy="bayesian")
    assert plan.reused is not None
    assert "what was learned is damaged" in plan.reused.sampler


@pytest.mark.parametrize(
    ("name", "when", "file"),
    [
        pytest.param("enas", "after", "search.safetensors", marks=pytest.mark.dear),
        ("bayesian", "before", "sampler.json"),
    ],
)
def test_resumed_it_ends_with_the_same_bytes(
    runs: Runs, name: str, when: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the first epoch, and before what was learned is in place."""

    def die() -> None:
        raise Killed

    init = str(first(runs, name))
    runs(f"{name}-whole", strategy=name, init=init)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", on_replace(die, when, file, 1))
        with pytest.raises(Killed):
            runs(f"{name}-cut", strategy=name, init=init)
    runs(f"{name}-cut", strategy=name, init=init, resume=True)
    whole, cut = runs.root / f"{name}-whole", runs.root / f"{name}-cut"
    assert outcome(cut) == outcome(whole)
    assert RunFolder(cut).sampler_state.read_bytes() == RunFolder(whole).sampler_state.read_bytes()
    assert RunFolder(cut).search_state.read_bytes() == RunFolder(whole).search_state.read_bytes()


def best_by_hand(alpha: torch.Tensor, most_ms: float) -> tuple[int, ...]:
    """Of all architectures within the budget, the one with the largest product of probabilities."""
    rows = torch.log_softmax(alpha.double(), dim=1).tolist()
    inside = [one.choices for one in SPACE.enumerate() if MODEL.predict_ms(one.choices) <= most_ms]
    return max(inside, key=lambda choices: sum(row[choice] for row, choice in zip(rows, choices, strict=True)))


@pytest.mark.parametrize("share", [20, 100])
def test_without_a_search_the_alpha_is_decoded_within_the_new_budget(runs: Runs, share: int) -> None:
    """Exactly, from weights that no step of a supernet has touched, and the file is measured as ever."""
    out = runs.root / f"decoded-{share}"
    result = runs(out.name, budget=f"{share}%", init=str(first(runs, "gumbel")), search_share="0")
    plan = planned(runs, "gumbel")
    assert plan.start is not None
    assert plan.start.alpha is not None
    assert tuple(json.loads((out / "architecture.json").read_text())["choices"]) == best_by_hand(
        plan.start.alpha, target_ms(share)
    )
    assert not RunFolder(out).search_state.exists()
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert not [event for event in events if event["event"] == "epoch"]
    assert (out / "evaluated.csv").read_text().splitlines() == [
        "choices,predicted_ms,val_accuracy,val_loss,metric,val_score"
    ]
    unbudgeted = best_by_hand(plan.start.alpha, float("inf"))
    assert result["unbudgeted_ms"] == pytest.approx(MODEL.predict_ms(unbudgeted))
    assert result["budget_binds"] is (MODEL.predict_ms(unbudgeted) > result["budget_ms"])
    assert result["budget_met"] is True
    kept, _ = checkpoint.load(out / "weights.safetensors")
    stem = [value for name, value in kept.items() if name.startswith("stem") and value.dim() == 4]
    assert any(torch.equal(value, given) for value in stem for given in plan.start.weights.values())


def test_other_classes_are_no_obstacle_without_a_search(runs: Runs, tmp_path: Path) -> None:
    """The head is new, so no candidate could be judged; the winner is trained after that, and measured."""
    init = write_init(tmp_path / "five", classes=5)
    config = a_config(runs.images, budget="30%,60%", init=str(init), search_share="0", baseline=False)
    result = run_search(config, tmp_path / "run", tables=runs.tables)
    for one, share in zip(result["front"], (30, 60), strict=True):
        assert one["predicted_ms"] <= target_ms(share) * (1 + 1e-9)
        assert one["budget_met"] is True
        assert one["accuracy"]["test"] > 1 / 3


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"search_share": "0.1"}, "without --init"),
        ({"search_share": "7", "init": "gumbel"}, "between 0 and 1"),
        ({"search_share": "0", "init": "enas", "strategy": "enas"}, "sampler enas does not have"),
        ({"search_share": "0", "init": "enas"}, "decoded from α, and of .* there is none"),
    ],
)
def test_shares_that_make_no_sense_are_refused(runs: Runs, changes: dict[str, Any], complaint: str) -> None:
    changes = changes | ({"init": str(first(runs, changes["init"]))} if "init" in changes else {})
    with pytest.raises(InputError, match=complaint):
        make_plan(a_config(runs.images, **changes), runs.tables)


class Chains:
    """Runs on chains, whose candidates are trained one by one."""

    def __init__(self, runs: Runs, root: Path) -> None:
        self.images, self.root = runs.images, root
        self.tables = write_table(root / "tables", spaces=(CHAIN, SPACE))

    def config(self, **changes: Any) -> Any:
        common = {"space": "chain", "width": 0.05, "depth": 3, "score_epochs": 1, "epochs": 1, "baseline": False}
        return a_config(self.images, **common | changes)

    def __call__(self, name: str, *, resume: bool = False, **changes: Any) -> dict[str, Any]:
        return run_search(self.config(**changes), self.root / name, tables=self.tables, resume=resume)


@pytest.fixture(scope="module")
def chains(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chains]:
    with pytest.MonkeyPatch.context() as patch:
        install_short_scores(patch.setattr)
        made = Chains(runs, tmp_path_factory.mktemp("chains"))
        made("first", strategy="bayesian")
        yield made


def test_chains_start_from_what_a_sampler_learned(chains: Chains, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no weights anywhere, for another budget, cut off and resumed."""
    init = str(chains.root / "first")
    second = chains("second", strategy="bayesian", budget="40%", init=init)
    assert second["init"]["sampler"] == "reused"
    assert second["init"]["all_tensors"] == 0
    assert second["predicted_ms"] <= second["budget_ms"]
    assert second["budget_met"] is True
    before, after = (
        export_state(chains.root / name)["strategies"]["bayesian"]["tasks"] for name in ("first", "second")
    )
    assert len(after) == 2
    assert after[0] == before[0]

    def die() -> None:
        raise Killed

    shutil.copytree(chains.root / "second/state/scores", chains.root / "cut/state/scores")  # trainings are dear
    run_marker.mark(chains.root / "cut")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", on_replace(die, "before", "sampler.json", 1))
        with pytest.raises(Killed):
            chains("cut", strategy="bayesian", budget="40%", init=init)
    chains("cut", resume=True, strategy="bayesian", budget="40%", init=init)
    assert outcome(chains.root / "cut") == outcome(chains.root / "second")
    assert (
        RunFolder(chains.root / "cut").sampler_state.read_bytes()
        == RunFolder(chains.root / "second").sampler_state.read_bytes()
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"strategy": "metaqnn"}, "what was learned is of bayesian, not of metaqnn"),
        ({"strategy": "evolution"}, "evolution carries nothing over"),
        ({"strategy": "bayesian", "depth": 4}, "with other options"),
        ({"strategy": "random", "space": "toy", "width": 1.0, "depth": 0}, "a search of toy cannot start from"),
        ({"strategy": "bayesian", "scores": "supernet", "space": "toy", "depth": 0}, "kept its weights"),
    ],
)
def test_where_nothing_fits_a_search_by_training_is_refused(
    chains: Chains, changes: dict[str, Any], complaint: str
) -> None:
    common = {"init": str(chains.root / "first"), "scores": "training"}
    with pytest.raises(InputError, match=complaint):
        make_plan(chains.config(**common | changes), chains.tables)


def test_scores_by_training_start_from_a_sampler_that_shared_weights_told(runs: Runs) -> None:
    plan = planned(runs, "metaqnn", strategy="metaqnn", scores="training")
    assert plan.start is not None
    assert plan.start.sampler_state == export_state(runs.root / "metaqnn")["strategies"]["metaqnn"]
    assert not plan.start.weights
    assert str(plan.reused) == "sampler reused"
    with pytest.raises(InputError, match="kept what its sampler learned"):
        planned(runs, "gumbel", strategy="metaqnn", scores="training")


def test_what_a_sampler_learned_may_be_damaged(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "run" / "state").mkdir(parents=True)
    for text in ("{}", "[]", '{"strategies": {"bayesian": 1}, "reward": "filter", "space": {}}', "no JSON"):
        (tmp_path / "run" / "state" / "sampler.json").write_text(text)
        with pytest.raises(InputError, match=r"sampler.json(: | must be | is )"):
            planned(runs, str(tmp_path / "run"), strategy="bayesian", scores="training")
