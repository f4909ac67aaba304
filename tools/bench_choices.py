"""How choices that few validation photos make turn out on many others: of weights, of heads, and of input sizes.

    python tools/bench_choices.py weights ../shared/data/clothing --work work
    python tools/bench_choices.py sizes ../shared/data/clothing --work work

All photos of a folder are split anew for each seed, so that most of them are left to tell what a choice was worth.

`weights`: networks inside of the parent, whole or with some blocks replaced, get heads of their own and are trained for
a few steps. Rules that choose between the weights before and after see the validation photos alone. Each row tells the
mean accuracy on the other photos of what a rule takes, and how often it takes the trained weights.

`sizes`: features of the whole parent at several input sizes. Rules see a few train photos, as a plan does. Each row
tells the mean accuracy on the other photos of a head on all train photos at the size that a rule takes.

What is computed for a case is kept in the folder `--work`; rules are applied to all cases that are there.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hwnas.arch.network import Network
from hwnas.arch.spaces import space_instance
from hwnas.data import Dataset, Images, batches, load_dataset
from hwnas.metrics import stratified_choice
from hwnas.parents import ParentWeights, find_parent, inherit, weights_of
from hwnas.parents.frozen import PENALTY, features, head, trunk, with_head
from hwnas.train import Recipe, deterministic, keep_freed_memory, train

_CPU = torch.device("cpu")
_PASSES = 3  # of augmented validation photos
Values = NDArray[np.float64]
KINDS = ("plain", "mirrored", "augmented")
"""Losses of the validation photos, in nats: as they are, with their mirror images, and of three augmented passes."""


class Case(NamedTuple):
    """A network before and after its training.

    Attributes:
        name: seed, share of blocks that were replaced, steps.
        differences: for each of `KINDS`, by how much a photo's loss is larger with the trained weights.
        right: on the validation photos, by how much more often each is classified rightly with them.
        start, trained: accuracies on the other photos.
    """

    name: str
    differences: dict[str, Values]
    right: Values
    start: float
    trained: float


def pooled(data: str, side: int, weights: ParentWeights) -> Dataset:
    """All images as train images."""
    found = load_dataset(data, resolution=side, seed=0)
    parts = (found.train, found.val, found.test)
    pixels, labels = np.concatenate([one.pixels for one in parts]), np.concatenate([one.labels for one in parts])
    return weights.parent.prepared(replace(found, train=Images(pixels, labels)))


def split(labels: NDArray[np.int64], train: int, val: int, seed: int) -> tuple[NDArray[np.int64], ...]:
    """Indices of train, validation and other photos, with the shares of the classes."""
    chosen = stratified_choice(labels, train + val, 1, seed)
    first = chosen[stratified_choice(labels[chosen], train, 1, seed + 1)]
    return first, np.setdiff1d(chosen, first), np.setdiff1d(np.arange(len(labels)), chosen)


def member(weights: ParentWeights, dataset: Dataset, share: float, seed: int) -> Network:
    """The parent with that share of its decisions drawn anew."""
    classes = len(dataset.classes)
    space = space_instance(weights.parent.name, width=1.0, resolution=dataset.resolution, channels=3, classes=classes)
    rng = np.random.default_rng(seed)
    drawn = [int(rng.integers(len(one.options))) if rng.random() < share else 0 for one in space.decisions]
    return space.network(space.architecture(drawn))


@torch.inference_mode()
def outputs(module: nn.Module, images: Images, dataset: Dataset, kind: str) -> tuple[Tensor, Tensor]:
    """Logits (N, K) and labels (N,)."""
    generator = torch.Generator().manual_seed(0)
    found, labels = [], []
    for _ in range(_PASSES if kind == "augmented" else 1):
        augment = kind == "augmented"
        stream = batches(
            images, dataset, batch_size=64, device=_CPU, generator=generator if augment else None, augment=augment
        )
        for x, y in stream:
            found.append(module.eval()(x))
            labels.append(y)
    return torch.cat(found), torch.cat(labels)


def mirrored(images: Images) -> Images:
    return Images(np.ascontiguousarray(images.pixels[..., ::-1]), images.labels)


def trained_case(
    weights: ParentWeights, dataset: Dataset, network: Network, steps: int, seed: int
) -> dict[str, Values]:
    """Losses of the photos before and after a training, by part, kind and weights."""
    labels = torch.from_numpy(dataset.train.labels)
    classes = len(dataset.classes)
    whole = weights.parent.network(resolution=dataset.resolution, classes=classes)
    state = inherit(weights, whole)
    teacher = with_head(whole, state, head(features(trunk(whole, state), dataset.train, dataset), labels, dataset))
    state = inherit(weights, network)
    body = trunk(network, state)
    start = with_head(network, state, head(features(body, dataset.train, dataset), labels, dataset))
    usual = Recipe.for_images(len(dataset.train)).from_parent(keep_statistics=True)
    per_epoch = -(-len(dataset.train) // usual.batch_size)
    epochs = -(-steps // per_epoch)
    recipe = replace(usual, epochs=epochs, epoch_steps=steps // epochs, warmup_epochs=0.1 * epochs)
    after = copy.deepcopy(start)
    train(after, dataset, recipe, seed=seed, device=_CPU, teacher=teacher)
    middle = copy.deepcopy(start)
    with torch.no_grad():
        for name, value in middle.state_dict().items():
            if value.is_floating_point():
                value.lerp_(after.state_dict()[name], 0.5)
    found: dict[str, Values] = {}
    for name, module in (("start", start), ("trained", after), ("middle", middle)):
        parts = [("test", "plain", dataset.test)]
        if name != "middle":
            parts += [("val", "plain", dataset.val), ("val", "mirrored", mirrored(dataset.val))]
            parts += [("val", "augmented", dataset.val)]
        for part, kind, images in parts:
            logits, seen = outputs(module, images, dataset, kind)
            found[f"{part}-{kind}-{name}"] = cross_entropy(logits, seen, reduction="none").double().numpy()
            found[f"{part}-{kind}-{name}-right"] = (logits.argmax(1) == seen).double().numpy()
    return found


def case_of(name: str, found: dict[str, Values]) -> Case:
    def difference(kind: str, what: str = "") -> Values:
        return np.asarray(found[f"val-{kind}-trained{what}"] - found[f"val-{kind}-start{what}"])

    plain, turned = difference("plain"), difference("mirrored")
    kinds = {"plain": plain, "mirrored": (plain + turned) / 2, "augmented": difference("augmented")}
    start, trained = (float(found[f"test-plain-{one}-right"].mean()) for one in ("start", "trained"))
    return Case(name, kinds, difference("plain", "-right"), start, trained)


def error(differences: Values) -> float:
    """Standard error of their mean."""
    return float(differences.std() / np.sqrt(len(differences)))


def weight_rules(seen: int) -> Iterator[tuple[str, Callable[[Case], bool]]]:
    """Names, and whether the trained weights are taken."""
    yield "always the trained weights", lambda case: True
    yield "never", lambda case: False
    yield f"accuracy on {seen}", lambda case: case.right[:seen].mean() >= 0
    yield "accuracy on all", lambda case: case.right.mean() >= 0
    yield "accuracy, one error", lambda case: case.right.mean() >= -error(case.right)
    for kind in KINDS:
        for errors in (0.0, 1.0, 2.0):

            def rule(case: Case, kind: str = kind, errors: float = errors) -> bool:
                found = case.differences[kind]
                return bool(found.mean() <= errors * error(found))

            def either(case: Case, rule: Callable[[Case], bool] = rule) -> bool:
                return rule(case) or case.right.mean() >= 0

            yield f"{kind} loss, {errors:g} errors", rule
            yield f"{kind} loss, {errors:g} errors, or accuracy", either
    yield "the best of both, as the other photos have it", lambda case: case.trained >= case.start


def weights_command(args: argparse.Namespace) -> None:
    parent = weights_of(find_parent(args.parent))
    every = pooled(args.data, args.resolution, parent) if args.seeds else None
    for seed in args.seeds:
        for share in args.shares:
            for steps in args.steps:
                kept = args.work / f"weights-{args.resolution}-{args.train}-{seed}-{share:g}-{steps}.npz"
                if kept.exists() or every is None:
                    continue
                parts = [every.train.subset(one) for one in split(every.train.labels, args.train, args.val, seed)]
                parts[2] = parts[2].subset(np.arange(min(len(parts[2]), args.others)))
                dataset = replace(every, train=parts[0], val=parts[1], test=parts[2])
                network = member(parent, dataset, share, seed)
                found = trained_case(parent, dataset, network, steps, seed)
                np.savez(kept, **found)  # type: ignore[arg-type]
                case, middle = case_of(kept.stem, found), found["test-plain-middle-right"].mean()
                told = f"start {case.start:.3f}, trained {case.trained:.3f}, middle {middle:.3f}"
                print(f"{kept.stem}: {told}", flush=True)
    kept_cases = sorted(args.work.glob("weights-*.npz"))
    cases = [case_of(one.stem, dict(np.load(one))) for one in kept_cases]
    print(f"\n{len(cases)} cases; rule: accuracy on the other photos, share of trained weights")
    for name, rule in weight_rules(args.seen):
        taken = [rule(one) for one in cases]
        mean = np.mean([one.trained if yes else one.start for one, yes in zip(cases, taken, strict=True)])
        print(f"{name:48} {mean:.4f} {np.mean(taken):.2f}")
    middle = np.mean([np.load(one)["test-plain-middle-right"].mean() for one in kept_cases])
    print(f"{'weights half way between both':48} {middle:.4f}")


class Sized(NamedTuple):
    """Features (N, D) of all photos at one input size."""

    side: int
    found: Tensor


def held_out(found: Tensor, labels: Tensor, dataset: Dataset, folds: int, penalty: float) -> Values:
    """Losses of photos under heads that were fitted without them."""
    which = torch.arange(len(labels)) % folds
    losses = torch.zeros(len(labels))
    for fold in range(folds):
        own = head(found[which != fold], labels[which != fold], dataset, penalty=penalty)
        out = found[which == fold] @ own["weight"].T + own["bias"]
        losses[which == fold] = cross_entropy(out, labels[which == fold], reduction="none")
    return np.asarray(losses.double().numpy())


def least(losses: Sequence[Values]) -> Values:
    return min(losses, key=lambda one: float(one.mean()))


def size_rules(
    sizes: Sequence[Sized], labels: Tensor, dataset: Dataset, chosen: NDArray[np.int64], val: int
) -> dict[str, int]:
    """The index of the size that each rule takes, by what it sees of the chosen photos."""
    penalties = (PENALTY, 10 * PENALTY, 100 * PENALTY)
    which = torch.from_numpy(chosen)
    seen = labels[which]
    single, crossed = [], []
    for one in sizes:
        found = one.found[which]
        heads = [head(found[val:], seen[val:], dataset, penalty=each) for each in penalties]
        outs = [found[:val] @ own["weight"].T + own["bias"] for own in heads]
        single.append(least([cross_entropy(out, seen[:val], reduction="none").double().numpy() for out in outs]))
        crossed.append(least([held_out(found, seen, dataset, 4, each) for each in penalties]))
    return {
        "a part to validate on": int(np.argmin([one.mean() for one in single])),
        "cross-validation": int(np.argmin([one.mean() for one in crossed])),
        "cross-validation, larger if alike": alike(crossed, min),
        "cross-validation, smaller if alike": alike(crossed, max),
    }


def alike(losses: Sequence[Values], pick: Callable[[Sequence[int]], int]) -> int:
    """Of those that are within a standard error of the best, as `pick` says; from the largest input to the smallest."""
    best = int(np.argmin([one.mean() for one in losses]))
    differences = [one - losses[best] for one in losses]
    return pick([place for place, one in enumerate(differences) if one.mean() <= error(one)])


def sizes_command(args: argparse.Namespace) -> None:
    parent = weights_of(find_parent(args.parent))
    sizes, every = [], pooled(args.data, min(args.sides), parent)
    labels = torch.from_numpy(every.train.labels)
    for side, share in zip(args.sides, args.shares, strict=True):
        kept = args.work / f"features-{side}-{share:g}.npz"
        if not kept.exists():
            dataset = pooled(args.data, side, parent)
            network = member(parent, dataset, share, 0)
            body = trunk(network, inherit(parent, network))
            np.savez(kept, found=features(body, dataset.train, dataset).numpy())
        sizes.append(Sized(side, torch.from_numpy(np.load(kept)["found"])))
    first, _, others = split(every.train.labels, args.train, 0, 0)
    truth = []
    for one in sizes:
        own = head(one.found[first], labels[first], every)
        out = one.found[others] @ own["weight"].T + own["bias"]
        truth.append(float((out.argmax(1) == labels[others]).double().mean()))
    print({one.side: round(value, 4) for one, value in zip(sizes, truth, strict=True)}, flush=True)
    for count, val in args.seen_of:
        taken: dict[str, list[int]] = {}
        for draw in range(args.draws):
            rng = np.random.default_rng(draw)
            chosen = first[stratified_choice(every.train.labels[first], count, 4, draw)]
            for name, place in size_rules(sizes, labels, every, rng.permutation(chosen), val).items():
                taken.setdefault(name, []).append(place)
        for name, places in taken.items():
            counts = {one.side: places.count(place) for place, one in enumerate(sizes)}
            found = [truth[place] for place in places]
            print(f"{count} photos, {name:40} {np.mean(found):.4f}, least {min(found):.4f}; {counts}", flush=True)


def _pair(text: str) -> tuple[int, int]:
    first, second = text.split(",")
    return int(first), int(second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("weights", weights_command), ("sizes", sizes_command)):
        one = commands.add_parser(name)
        one.set_defaults(run=run)
        one.add_argument("data", help="images, as hwnas search takes them")
        one.add_argument("--parent", default="efficientnet-lite0")
        one.add_argument("--work", type=Path, default=Path("work"), help="folder for cases")
        one.add_argument("--train", type=int, default=1500, help="train photos")
        if name == "weights":
            one.add_argument("--resolution", type=int, default=64, help="input size in pixels")
            one.add_argument("--val", type=int, default=340, help="validation photos")
            one.add_argument("--seen", type=int, default=214, help="validation photos of the rule on a part of them")
            one.add_argument("--others", type=int, default=1500, help="photos that tell what a choice is worth")
            one.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3])
            one.add_argument("--shares", nargs="+", type=float, default=[0.0, 0.2, 0.5], help="of replaced blocks")
            one.add_argument("--steps", nargs="+", type=int, default=[16, 64])
        else:
            one.add_argument("--sides", nargs="+", type=int, default=[112, 96, 80, 64], help="from large to small")
            one.add_argument("--shares", nargs="+", type=float, default=[0.0] * 4, help="of replaced blocks, each side")
            one.add_argument("--draws", type=int, default=20, help="of the photos that a rule sees")
            one.add_argument("--seen-of", nargs="+", type=_pair, default=[(218, 85), (400, 133), (1200, 400)])
    args = parser.parse_args()
    deterministic(0, 1)
    keep_freed_memory()
    args.work.mkdir(parents=True, exist_ok=True)
    args.run(args)


if __name__ == "__main__":
    main()
