"""How well do shared weights rank networks? Their scores against trainings from scratch.

    python tools/bench_supernet_rank.py --data digits --networks 24 --workers 2

A supernet is trained on uniform paths, as a search with `random` does it, and uniformly drawn networks are scored with
its weights. Each of them is also trained from scratch, by the recipe of final trainings. Rank correlations are over the
networks, with 95 % intervals from a bootstrap that draws networks. Beside them stand those of multiply-adds: what is no
better than that has only learned that larger networks are more accurate. The same command goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from hwnas.arch.costs import macs
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import space_instance
from hwnas.cli import console
from hwnas.data import Dataset, load_dataset, native_shape
from hwnas.executors.place import Place
from hwnas.files import write_json
from hwnas.latency.space_latency import latency_model
from hwnas.nas.comparison import OneShotEvaluator
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.feasible_set import FeasibleSet, feasible_set
from hwnas.nas.from_scratch import FromScratchEvaluator
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.select import Scored
from hwnas.nas.strategies import strategy
from hwnas.run.instance_choice import default_resolution, default_width
from hwnas.train import Recipe, deterministic, resolve

_DRAWS = 2000

Values = NDArray[np.float64]


def all_of(space: SearchSpace) -> FeasibleSet:
    """All networks; what they cost are millions of multiply-adds."""
    model = latency_model(space, lambda spec: macs(spec.graph) / 1e6)
    return feasible_set(latency_constraint(model, model.largest_ms * (1.0 + 1e-9)))


def correlation(measure: Callable[[Values, Values], float], one: Values, other: Values, *, seed: int) -> dict[str, Any]:
    """A rank correlation with its 95 % bootstrap interval (Efron, 1979); draws without any difference are left out."""
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(len(one), size=len(one)) for _ in range(_DRAWS))
    values = [measure(one[rows], other[rows]) for rows in drawn if np.ptp(one[rows]) and np.ptp(other[rows])]
    low, high = np.quantile(values, [0.025, 0.975])
    return {"value": measure(one, other), "ci95": [float(low), float(high)]}


def spearman(one: Values, other: Values) -> float:
    """Spearman's rho, ties by their mean rank."""
    return float(spearmanr(one, other).statistic)


def kendall(one: Values, other: Values) -> float:
    """Kendall's tau-b."""
    return float(kendalltau(one, other).statistic)


def shared_scores(
    space: SearchSpace, dataset: Dataset, chosen: list[tuple[int, ...]], settings: SearchSettings, seed: int, out: Path
) -> list[Scored]:
    """Scores with the weights of a supernet trained on uniform paths."""
    progress, device = console.progress(quiet=False), resolve("auto")
    loop = make_loop(space, [all_of(space)], strategy("random"), dataset, settings, seed=seed, device=device)
    loop.run(checkpoint=out / "supernet.safetensors", progress=progress, log=lambda event: None)
    with progress.track("score with shared weights", len(chosen)) as advance:
        scored = []
        for one in OneShotEvaluator(loop.supernet, dataset, device)(chosen):
            scored.append(one)
            advance()
    return scored


def trained_scores(evaluator: FromScratchEvaluator, chosen: list[tuple[int, ...]]) -> list[Scored]:
    """Scores of networks that are trained from scratch."""
    with evaluator, console.progress(quiet=False).track("train from scratch", len(chosen)) as advance:
        scored = []
        for one in evaluator(chosen):
            scored.append(one)
            advance(1, f"validation accuracy {one.accuracy:.3f}")
    return scored


def main(
    data: Annotated[str, typer.Option(help="As for hwnas search.")] = "digits",
    space: Annotated[str, typer.Option(help="Search space.")] = "mobile",
    networks: Annotated[int, typer.Option(min=3, help="Networks to train.")] = 24,
    epochs: Annotated[int, typer.Option(min=0, help="Of each training; 0 follows the data.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train.")] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the state and of result.json.")] = Path("runs/supernet-rank"),
) -> None:
    """Train, score and correlate."""
    deterministic(seed, 1)
    _, native = native_shape(data)
    width, resolution = default_width(native), default_resolution(native)
    dataset = load_dataset(data, resolution=resolution, seed=seed)
    searched = space_instance(
        space, width=width, resolution=resolution, channels=dataset.channels, classes=len(dataset.classes)
    )
    if not searched.shares_weights:
        raise typer.BadParameter(f"the networks of {space} share no weights")
    images = len(dataset.train)
    settings, recipe = SearchSettings.for_images(images), Recipe.for_images(images)
    settings = replace(settings, epochs=settings.epochs + round(settings.epochs / settings.arch_every))
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    feasible, rng = all_of(searched), np.random.default_rng(seed)
    drawn = dict[tuple[int, ...], None]()
    while len(drawn) < networks:
        drawn[feasible.sample(rng)] = None
    chosen = list(drawn)

    shared = shared_scores(searched, dataset, chosen, settings, seed, out)
    place, scores = Place(workers), out / "scores"
    evaluator = FromScratchEvaluator(
        searched, dataset, recipe, seed=seed, threads=1, device=resolve("auto"), place=place, folder=scores
    )
    truth = trained_scores(evaluator, chosen)
    ours = {
        "shared accuracy": np.array([one.accuracy for one in shared]),
        "shared loss": np.array([-one.loss for one in shared]),
        "multiply-adds": np.array([feasible.cost(choices) for choices in chosen]),
    }
    theirs = {
        "accuracy": np.array([one.accuracy for one in truth]),
        "loss": np.array([-one.loss for one in truth]),
    }
    result: dict[str, Any] = {
        "data": data,
        "space": searched.name,
        "networks": [
            {
                "choices": choices,
                "mmacs": float(size),
                "shared": {"accuracy": one.accuracy, "loss": one.loss},
                "trained": {"accuracy": other.accuracy, "loss": other.loss},
            }
            for choices, size, one, other in zip(chosen, ours["multiply-adds"], shared, truth, strict=True)
        ],
        "supernet_epochs": settings.all_epochs,
        "training_epochs": recipe.epochs,
        "seed": seed,
        "threads": torch.get_num_threads(),
    }
    for name, values in ours.items():
        for target, right in theirs.items():
            both = {
                "spearman": correlation(spearman, values, right, seed=seed),
                "kendall": correlation(kendall, values, right, seed=seed),
            }
            result[f"{name} with trained {target}"] = both
            said = ", ".join(
                f"{kind} {one['value']:.2f} [{one['ci95'][0]:.2f}, {one['ci95'][1]:.2f}]" for kind, one in both.items()
            )
            console.out().print(f"{name} with trained {target}: {said}")
    write_json(out / "result.json", result)


if __name__ == "__main__":
    typer.run(main)
