"""How the weights of a network that is cut out of a parent are best adapted to a user's classes, in equal steps.

python tools/bench_adaptation.py ../shared/data/clothing --per-class 0 --work work --trials plain w=0.5,T=2

Once for each number of images, kept in the folder `--work`: the parent's head, options that learned from its blocks,
and their scores, from which comes the network that is best within a share of the multiply-adds. With `--tune-steps` the
parent itself is trained for these images before all that. Then trials, each from that network:

    head                    a head of its own on frozen features, and no training
    plain                   the recipe for weights of a parent, without a teacher
    w=0.5,T=2,decay=1       settings in its place: w and T of the teacher, decay of layers, lr (times), kept (0 or 1
                            for norms' statistics), batch, steps, own (0: begin with the parent's head), tuned (steps
                            that the parent itself is trained for, before it teaches)
    parent                  the whole parent, trained by the same recipe

Every trial tells accuracies on the validation and the test part, and seconds of CPU.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hwnas.arch.costs import macs
from hwnas.arch.space import Architecture
from hwnas.arch.spaces import space_instance
from hwnas.data import Dataset, load_dataset
from hwnas.latency.space_latency import latency_model
from hwnas.metrics import class_balanced_choice
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.feasible_set import feasible_set
from hwnas.nas.select import scored_images
from hwnas.nas.supernet import Supernet
from hwnas.parents import ParentWeights, find_parent, inherit, inherited_start, weights_of
from hwnas.parents.blocks import ParentBlocks
from hwnas.parents.distil import DistilSettings, distil
from hwnas.parents.frozen import features, head, head_images, trunk, with_head
from hwnas.parents.replacement import head_loss, replacement_scores
from hwnas.train import Recipe, checkpoint, deterministic, evaluate, keep_freed_memory, peak_memory_mib, train

_CPU = torch.device("cpu")
_NAMES = {"w": "distil_weight", "T": "distil_temperature", "decay": "layer_decay", "batch": "batch_size"}
_NAMES |= {"smooth": "label_smoothing", "ema": "ema_decay", "warm": "warmup_epochs"}


@dataclass(frozen=True)
class Start:
    """What every trial begins with.

    Attributes:
        parent: whole, with its head.
        module: the network that is cut out, with that head.
        body: its trunk.
    """

    parent: nn.Module
    module: nn.Module
    body: nn.Module


def prepared(dataset: Dataset, weights: ParentWeights, share: float, steps: int, work: Path, tuned: int) -> Start:
    """The start for a share of the range of multiply-adds, from what is kept or anew."""
    weights = tuned_parent(dataset, weights, tuned, work) if tuned else weights
    name, channels, classes = weights.parent.name, dataset.channels, len(dataset.classes)
    space = space_instance(name, width=1.0, resolution=dataset.resolution, channels=channels, classes=classes)
    kept = work / f"{name}-{dataset.resolution}-{len(dataset.train)}-{tuned}-{steps}.safetensors"
    supernet = Supernet(space)
    if not kept.exists():
        inherited_start(weights, space).apply(supernet, [])
        network = weights.network_for(space)
        fitted = _head(trunk(network, inherit(weights, network)), dataset)
        blocks = ParentBlocks(supernet, weights)
        distil(blocks, dataset, seed=0, settings=DistilSettings(steps=steps))
        scores = replacement_scores(blocks, scored_images(dataset, 160), dataset, head_loss(fitted))
        state = {**supernet.state_dict(), **{f"head.{part}": value for part, value in fitted.items()}}
        checkpoint.save(kept, state, {"scores": [list(row) for row in scores]})
    found, info = checkpoint.load(kept)
    classifier = {part: found.pop(f"head.{part}") for part in ("weight", "bias")}
    checkpoint.copy_into(supernet.state_dict(), found, kept)
    model = latency_model(space, lambda spec: macs(spec.graph) / 1e6)
    limit = model.smallest_ms + share * (model.largest_ms - model.smallest_ms)
    choices = feasible_set(latency_constraint(model, limit)).decode([[-one for one in row] for row in info["scores"]])
    assert choices is not None
    network = space.network(Architecture(space.name, choices))
    state = supernet.extract(Architecture(space.name, choices)).state_dict()
    print(
        f"{len(dataset.train)} images, {model.predict_ms(choices) / model.largest_ms:.0%} of the multiply-adds",
        flush=True,
    )
    whole = weights.network_for(space)
    parent = with_head(whole, inherit(weights, whole), classifier)
    return Start(parent, with_head(network, state, classifier), trunk(network, state))


def tuned_parent(dataset: Dataset, weights: ParentWeights, steps: int, work: Path) -> ParentWeights:
    """The parent after a head and so many steps for these images."""
    kept = work / f"tuned-{weights.parent.name}-{dataset.resolution}-{len(dataset.train)}-{steps}.safetensors"
    classes = len(dataset.classes)
    if not kept.exists():
        network = weights.parent.network(resolution=dataset.resolution, classes=classes)
        state = inherit(weights, network)
        parent = with_head(network, state, _head(trunk(network, state), dataset))
        print(f"parent with its head: {_accuracies(parent, dataset)}", flush=True)
        train(parent, dataset, _recipe(dataset, steps, kept=True, distil_weight=0.0), seed=0, device=_CPU)
        print(f"parent after {steps} steps: {_accuracies(parent, dataset)}", flush=True)
        checkpoint.save(kept, parent.state_dict(), {})
    return replace(weights, classes=classes, tensors=checkpoint.load(kept)[0])


def _head(body: nn.Module, dataset: Dataset) -> dict[str, Tensor]:
    images = head_images(dataset.train)
    return head(features(body, images, dataset), torch.from_numpy(images.labels), dataset)


def with_own_head(start: Start, dataset: Dataset) -> nn.Module:
    """The network with a head that is fitted on its own features."""
    module = copy.deepcopy(start.module)
    own = _head(start.body, dataset)
    with torch.no_grad():
        for name, value in own.items():
            module.get_submodule("classifier.linear").get_parameter(name).copy_(value)
    return module


def tried(trial: str, start: Start, dataset: Dataset, steps: int) -> nn.Module:
    """The network after a trial."""
    asked = dict(one.split("=") for one in trial.split(",") if "=" in one)
    if trial == "start":
        return start.module
    if trial == "head":
        return with_own_head(start, dataset)
    steps = int(asked.pop("steps", steps))
    tuned, own, lr = int(asked.pop("tuned", 0)), asked.pop("own", "1"), float(asked.pop("lr", 1.0))
    kept = asked.pop("kept", "1") == "1"
    teacher = start.parent
    if tuned:
        teacher = copy.deepcopy(teacher)
        train(teacher, dataset, _recipe(dataset, tuned, kept=True, distil_weight=0.0), seed=0, device=_CPU)
        print(f"  teacher: {_accuracies(teacher, dataset)}", flush=True)
    changes = {_NAMES[name]: float(value) if name != "batch" else int(value) for name, value in asked.items()}
    recipe = _recipe(dataset, steps, kept=kept, **({"distil_weight": 0.0} | changes))
    recipe = replace(recipe, lr=lr * recipe.lr)
    module = copy.deepcopy(start.parent) if "parent" in trial else start.module
    if "parent" not in trial:
        module = with_own_head(start, dataset) if own == "1" else copy.deepcopy(module)
    train(module, dataset, recipe, seed=0, device=_CPU, teacher=teacher)
    return module


def _recipe(dataset: Dataset, steps: int, *, kept: bool, **changes: Any) -> Recipe:
    """The recipe for weights of a parent, of about so many steps."""
    usual = Recipe.for_images(len(dataset.train)).from_parent(keep_statistics=kept)
    asked = replace(usual, **changes)
    full, rest = divmod(len(dataset.train), asked.batch_size)
    whole = full + (rest > 1)
    epochs = max(1, round(steps / whole))
    short = replace(asked, epochs=epochs, epoch_steps=steps if steps < whole else 0)
    return replace(short, warmup_epochs=changes.get("warmup_epochs", 0.1 * epochs))


def _accuracies(module: nn.Module, dataset: Dataset) -> str:
    found = [evaluate(module, part, dataset, device=_CPU).accuracy for part in (dataset.val, dataset.test)]
    return "{:.3f} {:.3f}".format(*found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="images, as hwnas search takes them")
    parser.add_argument("--parent", default="efficientnet-lite0")
    parser.add_argument("--resolution", type=int, default=112, help="input size in pixels")
    parser.add_argument("--per-class", type=int, default=0, help="train images of each class; 0 for all")
    parser.add_argument("--share", type=float, default=0.5, help="of the range of multiply-adds")
    parser.add_argument("--distil-steps", type=int, default=100, help="in which options learn")
    parser.add_argument("--tune-steps", type=int, default=0, help="of the parent, before all else")
    parser.add_argument("--steps", type=int, default=60, help="of a trial")
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder for what trials begin with")
    parser.add_argument("--trials", nargs="+", default=["start", "head", "plain"])
    args = parser.parse_args()
    deterministic(0, 1)
    keep_freed_memory()
    args.work.mkdir(parents=True, exist_ok=True)
    weights = weights_of(find_parent(args.parent))
    dataset = weights.parent.prepared(load_dataset(args.data, resolution=args.resolution, seed=0))
    if args.per_class:
        labels = dataset.train.labels
        chosen = class_balanced_choice(labels, args.per_class * len(dataset.classes))
        dataset = replace(dataset, train=dataset.train.subset(chosen))
    start = prepared(dataset, weights, args.share, args.distil_steps, args.work, args.tune_steps)
    print(f"{'trial':44} validation test seconds", flush=True)
    for trial in args.trials:
        began = time.process_time()
        found = tried(trial, start, dataset, args.steps)
        seconds = time.process_time() - began
        print(f"{trial:44} {_accuracies(found, dataset)} {seconds:.0f}", flush=True)
    print(f"peak {peak_memory_mib(_CPU):.0f} MiB")


if __name__ == "__main__":
    main()
