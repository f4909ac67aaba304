"""Random networks of a space with trained-like weights: does a runtime compute what torch computes?

    python tools/check_parity.py --networks 200 --space mobile --width 0.5 --resolution 32 --runtime litert

Exits with 1 when any network differs by more than the limit, has logits that hardly move, or is not wholly
delegated to XNNPACK by LiteRT.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hwnas.arch import Network, SearchSpace, space_instance, space_names
from hwnas.backends.model_format import format_of
from hwnas.backends.parity import Parity, compare, random_inputs, trained_like
from hwnas.backends.torch import export_weights, network_module
from hwnas.files import write_text


def random_network(space: SearchSpace, rng: random.Random) -> Network:
    return space.network(space.drawn(rng.randrange))


def parity(network: Network, runtime: str, seed: int, images: int) -> tuple[Parity, bool]:
    """Torch against the written model of `network` with trained-like weights, on `images` random inputs.

    Beside it, whether LiteRT leaves an operator to its own kernels; False for other runtimes.
    """
    torch.manual_seed(seed)
    module = network_module(network)
    trained_like(module, network, seed)
    weights, inputs = export_weights(module), random_inputs(network, images, seed)
    model_format = format_of(runtime)
    model = model_format.model(network, weights)
    left = runtime == "litert" and not _runs_as_one_delegate(model)
    return compare(network, weights, model, inputs, model_format.run), left


def _runs_as_one_delegate(model: bytes) -> bool:
    from hwnas.backends.litert_runtime import runs_as_one_delegate

    return runs_as_one_delegate(model)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=200, help="how many random networks")
    parser.add_argument("--space", choices=space_names(), default="mobile")
    parser.add_argument("--runtime", choices=("onnxruntime", "litert"), default="onnxruntime")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--depth", type=int, default=0, help="0 is the space's default")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--images", type=int, default=4, help="random inputs per network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    start = time.perf_counter()
    space = space_instance(
        arguments.space,
        width=arguments.width,
        depth=arguments.depth,
        resolution=arguments.resolution,
        channels=3,
        classes=10,
    )
    rng = random.Random(arguments.seed)
    both = [
        parity(random_network(space, rng), arguments.runtime, seed, arguments.images)
        for seed in range(arguments.seed, arguments.seed + arguments.networks)
    ]
    results = [result for result, _ in both]
    summary: dict[str, Any] = {
        "space": space.name,
        "runtime": arguments.runtime,
        "networks": len(results),
        "failed": sum(not result.ok for result in results),
        "not_one_xnnpack_delegate": sum(left for _, left in both),
        "worst_difference_over_limit": max(result.max_difference / result.limit for result in results),
        "worst_difference": max(result.max_difference for result in results),
        "smallest_deviation": min(result.deviation for result in results),
        "seconds": round(time.perf_counter() - start, 1),
    }
    for name, value in summary.items():
        print(f"{name:28} {value:.4g}" if isinstance(value, float) else f"{name:28} {value}")
    if arguments.out is not None:
        content = summary | {"seed": arguments.seed, "results": [asdict(result) for result in results]}
        write_text(arguments.out, json.dumps(content, indent=1) + "\n")
    return int(summary["failed"] + summary["not_one_xnnpack_delegate"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
