"""Accuracy of a head on the frozen features of a pre-trained parent, and of networks that are cut out of it.

python tools/bench_parents.py ../shared/data/clothing --resolutions 160,224
python tools/bench_parents.py ../shared/data/clothing --resolutions 160 --cut k5e4,k3e6,k3e3
"""

from __future__ import annotations

import argparse
import time

import torch

from hwnas.arch.network import Network
from hwnas.arch.spaces import space_instance
from hwnas.data import Dataset, load_dataset
from hwnas.parents import ParentWeights, find_parent, inherit, weights_of
from hwnas.parents.frozen import features, head, trunk


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="images, as hwnas search takes them")
    parser.add_argument("--parent", default="efficientnet-lite0")
    parser.add_argument("--resolutions", default="160,224", help="input sizes in pixels")
    parser.add_argument("--cut", default="", help="options that all blocks take that have them, such as k5e4,k3e3")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    weights = weights_of(find_parent(args.parent))
    print(f"{'network':24} {'pixels':>6} {'validation':>10} {'test':>6} {'seconds':>8}")
    for resolution in map(int, args.resolutions.split(",")):
        dataset = weights.parent.prepared(load_dataset(args.data, resolution=resolution, seed=0))
        for option in ["", *filter(None, args.cut.split(","))]:
            start = time.perf_counter()
            scores = accuracies(weights, member(args.parent, dataset, option), dataset)
            name = option or args.parent
            seconds = time.perf_counter() - start
            print(f"{name:24} {resolution:6} {scores['val']:10.3f} {scores['test']:6.3f} {seconds:8.1f}", flush=True)


def member(parent: str, dataset: Dataset, option: str) -> Network:
    """The parent's network, or the one whose blocks all take `option` where they have it."""
    space = space_instance(
        parent, width=1.0, resolution=dataset.resolution, channels=dataset.channels, classes=len(dataset.classes)
    )
    taken = [one.options.index(option) if option in one.options else 0 for one in space.decisions]
    return space.network(space.architecture(taken))


def accuracies(weights: ParentWeights, network: Network, dataset: Dataset) -> dict[str, float]:
    """Of the head, on the validation and the test part."""
    body = trunk(network, inherit(weights, network))
    found = {name: features(body, getattr(dataset, name), dataset) for name in ("train", "val", "test")}
    linear = head(found["train"], torch.from_numpy(dataset.train.labels), dataset)
    return {name: accuracy(found[name], linear, getattr(dataset, name).labels) for name in ("val", "test")}


def accuracy(found: torch.Tensor, linear: dict[str, torch.Tensor], labels: object) -> float:
    logits = found @ linear["weight"].T + linear["bias"]
    return float((logits.argmax(1) == torch.as_tensor(labels)).float().mean())


if __name__ == "__main__":
    main()
