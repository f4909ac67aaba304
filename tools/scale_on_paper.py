"""What a search on ImageNet-1k costs on a node of GPUs, from operations and bytes alone: nothing here is measured.

    python tools/scale_on_paper.py --space mobile --resolution 224

Each primitive of a network takes the longer of its arithmetic and its traffic (the roofline of Williams, Waterman and
Patterson, 2009), both at a stated share of the data sheet's peak. docs/scale.md explains the terms.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Annotated

import typer

from hwnas.arch import space_instance
from hwnas.arch.op import OpSpec
from hwnas.arch.primitives import Conv, Graph, Linear

IMAGES = 1_281_167
DRAWN = 50
BYTES_A_VALUE = 2  # bfloat16
GRADIENT_BYTES = 4  # float32
NORM_READS = 2  # a batch norm reads its input once for statistics and once to normalise it
BACKWARD = 3  # forward and backward against forward alone: gradients of inputs and of weights


@dataclass(frozen=True)
class Node:
    """Some GPUs in one machine; peaks of the data sheet, and the share of them that is counted on."""

    gpus: int = 8
    tflops: float = 989.0  # H100 SXM, bfloat16, dense
    memory_tb_s: float = 3.35
    link_gb_s: float = 450.0  # NVLink, each way
    arithmetic: float = 0.3
    traffic: float = 0.5
    link: float = 0.6


def graph_seconds(graph: Graph, node: Node) -> float:
    """Of one image, forward and backward, on one GPU without fused kernels."""
    total = 0.0
    for one in graph.nodes:
        shapes = [graph.shape(value) for value in one.inputs]
        moved = sum(map(prod, shapes)) + prod(one.shape)
        flops = 0
        match one.primitive:
            case Conv(kernel=kernel, groups=groups, norm=norm):
                flops = 2 * prod(one.shape) * kernel * kernel * shapes[0][0] // groups
                moved += (NORM_READS + 1) * prod(one.shape) if norm else 0
            case Linear(cout):
                flops = 2 * shapes[0][0] * cout
        arithmetic_s = flops / (node.tflops * 1e12 * node.arithmetic)
        traffic_s = moved * BYTES_A_VALUE / (node.memory_tb_s * 1e12 * node.traffic)
        total += BACKWARD * max(arithmetic_s, traffic_s)
    return total


def all_reduce_seconds(parameters: float, node: Node) -> float:
    """Of float32 gradients in a ring (Patarasuk and Yuan, 2009): 2 · (n - 1) / n times their bytes over one link."""
    moved = 2 * (node.gpus - 1) / node.gpus * parameters * GRADIENT_BYTES
    return moved / (node.link_gb_s * 1e9 * node.link)


def parameters_of(specs: Iterable[OpSpec]) -> int:
    """Trained parameters of some ops."""
    return sum(prod(shape) for spec in specs for shape in spec.graph.parameters().values())


def main(
    space: str = "mobile",
    width: float = 1.0,
    resolution: int = 224,
    batch: Annotated[int, typer.Option(help="Images of one GPU and step.")] = 128,
    epochs: Annotated[int, typer.Option(help="Of the supernet.")] = 90,
    final_epochs: Annotated[int, typer.Option(help="Of the network that was found.")] = 300,
    gpus: int = 8,
) -> None:
    """Print the table."""
    node = Node(gpus=gpus)
    made = space_instance(space, width=width, resolution=resolution, channels=3, classes=1000)
    if not made.slots:
        raise typer.BadParameter(f"the ops of {space} depend on the choices before them")
    rng = random.Random(0)
    drawn = [made.network(made.drawn(rng.randrange)) for _ in range(DRAWN)]
    steps = {
        "supernet, one path": [[spec for _, spec in network.ops] for network in drawn],
        "supernet, all options": [[spec for slot in made.slots for spec in slot.ops]],
    }
    steps["the network found"] = steps["supernet, one path"]
    print(f"{made.name}, {gpus} GPUs, {batch} images a GPU and step\n")
    print("| step | images a second, one GPU | compute, ms | all-reduce, ms | epochs | hours | images a second, all |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, ops in steps.items():
        image_s = statistics.mean(sum(graph_seconds(spec.graph, node) for spec in specs) for specs in ops)
        exchange_s = all_reduce_seconds(statistics.mean(map(parameters_of, ops)), node)
        rate = gpus * batch / (batch * image_s + exchange_s)
        passes = final_epochs if name == "the network found" else epochs
        cells = (
            name,
            f"{1 / image_s:,.0f}",
            f"{1e3 * batch * image_s:.1f}",
            f"{1e3 * exchange_s:.2f}",
            str(passes),
            f"{passes * IMAGES / rate / 3600:.1f}",
            f"{rate:,.0f}",
        )
        print("| " + " | ".join(cells) + " |")
    print(f"\nstore: {IMAGES * 3 * resolution**2 / 1e9:,.0f} GB of {IMAGES:,} images")


if __name__ == "__main__":
    typer.run(main)
