"""What the supernet costs: a hard-gated weight step against the same step of the sampled network alone.

    python tools/bench_step.py --repeats 30 --out step.json

The supernet's step includes drawing the path and the expected latency. Both are timed in turn, on the same path, batch
and weights; the median of the ratios is what counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hwnas.arch import Architecture, space_instance
from hwnas.arch.costs import macs
from hwnas.files import write_json
from hwnas.latency.space_latency import latency_model
from hwnas.nas.objective import ExpectedLatency
from hwnas.nas.strategies.gumbel import Gumbel
from hwnas.nas.supernet import Supernet
from hwnas.train import keep_freed_memory


def step(forward: Callable[[], Tensor], labels: Tensor, parameters: list[nn.Parameter]) -> float:
    """Seconds of one forward and backward pass."""
    for parameter in parameters:
        parameter.grad = None
    started = time.perf_counter()
    cross_entropy(forward(), labels).backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - started


def main(
    width: float = 0.25,
    resolution: int = 32,
    batch_size: int = 64,
    repeats: int = 30,
    threads: int = 1,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Time both steps alternately and print the ratio."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    keep_freed_memory()
    space = space_instance("mobile", width=width, resolution=resolution, channels=1, classes=10)
    supernet = Supernet(space)
    relaxation = Gumbel([len(decision.options) for decision in space.decisions], hard=True)
    expected = ExpectedLatency(latency_model(space, lambda spec: macs(spec.graph) / 1e6))
    x = torch.randn(batch_size, *space.input_shape).to(memory_format=torch.channels_last)
    labels = torch.randint(space.classes, (batch_size,))
    whole, alone = [], []
    for repeat in range(repeats + 3):
        # The same generator state gives the supernet's step the same path as the network that is extracted here.
        path = relaxation.weight_gates(torch.Generator().manual_seed(repeat))
        network = supernet.extract(Architecture(space.name, tuple(gate.active[0] for gate in path))).train()

        def gated(repeat: int = repeat) -> Tensor:
            gates = relaxation.weight_gates(torch.Generator().manual_seed(repeat))
            expected(torch.softmax(relaxation.logits, dim=1))
            return supernet(x, gates)  # type: ignore[no-any-return]

        def sampled(network: nn.Module = network) -> Tensor:
            return network(x)  # type: ignore[no-any-return]

        step(gated, labels, list(supernet.parameters()))  # both paths warm: kernels are built on first use
        step(sampled, labels, list(network.parameters()))
        both = (step(gated, labels, list(supernet.parameters())), step(sampled, labels, list(network.parameters())))
        if repeat >= 3:
            whole.append(both[0])
            alone.append(both[1])
    ratio = statistics.median(a / b for a, b in zip(whole, alone, strict=True))
    result = {
        "space": space.name,
        "batch_size": batch_size,
        "supernet_step_ms": 1e3 * statistics.median(whole),
        "network_step_ms": 1e3 * statistics.median(alone),
        "median_ratio": ratio,
        "repeats": repeats,
    }
    print(
        f"{space.name}, batch {batch_size}, {threads} thread(s): supernet step {result['supernet_step_ms']:.1f} ms, "
        f"sampled network alone {result['network_step_ms']:.1f} ms, median ratio {ratio:.3f} over {repeats} pairs"
    )
    if out is not None:
        write_json(out, result)


if __name__ == "__main__":
    typer.run(main)
