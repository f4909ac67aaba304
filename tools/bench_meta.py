"""Meta-learned initialisations: one-shot tasks, and searches on new devices and new classes.

    python tools/bench_meta.py --part tasks --seeds 5 --runs runs/meta --out docs/results/meta.json

Tasks: --images is an .npz file of many classes called `alphabet/character`. For every seed another alphabet is tested
on and the next one validated on; --test names a file of other alphabets to test on instead. Rows: the same small
network of the space `chain` from scratch for every task; from the weights of an ordinary training on the other
alphabets (warm start); from a meta-training that starts there (Reptile, FOMAML); from FOMAML without inner steps, which
is the training of a prototypical network, from random weights (episodes); and a prototypical network with Conv-4.
Learning sees each character in four turns as four classes; its images are moved, those of meta-trainings and of the
ProtoNet strongly. What a row does with a support set is chosen on validation tasks. Errors are told with both kinds of
statistics of batch norms.

Devices: half of the classes of CIFAR-10 are learned on, the others are new, and so are --new-devices, whose tables take
no part in the learning. A new task has --slice-images of each new class. Rows: searches from scratch; from a first
search, on a slice of the learned classes and another device (warm start); from a search on --learned-images of these
classes (pooled); and from a meta-training that goes on from there, with tasks on made-up devices. The last three do not
search again (`--search-share 0`), but decode their α for the device and its budget, fit the classifier and train. Each
is repeated with less and less of the epochs, to see with how little it is as good as from scratch. Networks are not
measured: a budget is kept by the tables.

Transfer: α of a search on slices of MNIST or CIFAR-10 (--slice-images of each class), decoded for the other one with 0,
10 and 100 % of a search there; beside it a search from scratch, and a random network within the budget. All are trained
alike, and no weights are transferred.

Finished rows are kept in --runs, with the states of those that are not finished, and not repeated.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import meta_devices
import meta_parts
import meta_tasks
import meta_transfer
import numpy as np
import torch
import typer
from cell_table import data_folder
from meta_report import page, plot

from hwnas.arch.network import Network
from hwnas.arch.spaces import space_instance
from hwnas.cli import console
from hwnas.data import load_dataset
from hwnas.data.known import OMNIGLOT, VARIABLE
from hwnas.devices.device import load_device
from hwnas.files import write_json, write_text
from hwnas.meta.devices import device_models
from hwnas.meta.pools import load_pool
from hwnas.run.instance import floor_ms
from hwnas.schema import read_json

RESOLUTIONS = {"chain": 28, "conv4": 28}
LAYERS = "conv3_32 pool2_2 conv3_64 pool2_2 conv3_64 pool2_2 conv3_64 conv3_128"
NEW_DEVICES = ",".join(
    (
        "amd-epyc-f25m17/onnxruntime-1.32.0-t1-int8",
        "amd-epyc-f25m17/litert-2.3.0-t1-int8",
        "amd-epyc-f25m1/litert-2.3.0-t1-fp32",
    )
)

PARTS = "tasks,devices,transfer"
LEVELS = ",".join(f"{epochs / 64:g}" for epochs in (1, 2, 3, 4, 5, 6, 8, 12, 16))

Left = Callable[[], bool]


def rows_of(seeds: Iterable[Iterator[dict[str, Any]]], left: Left) -> list[dict[str, Any]]:
    """Of one seed after the other, as long as there is time."""
    found = []
    for row in itertools.chain.from_iterable(seeds):
        found.append(row)
        if not left():
            break
    return found


def tasks(
    images: Path,
    test: Path | None,
    seeds: int,
    scale: meta_tasks.Scale,
    networks: dict[str, Network],
    runs: Path,
    left: Left,
    names: Sequence[str] = meta_tasks.ROWS,
) -> dict[str, Any]:
    """The part on one-shot tasks."""
    pools = {kind: load_pool(str(images), resolution=size) for kind, size in RESOLUTIONS.items()}
    others = {kind: load_pool(str(test), resolution=size) if test else None for kind, size in RESOLUTIONS.items()}

    def benches() -> Iterator[meta_tasks.Bench]:
        for seed in range(seeds):
            parts = {kind: meta_parts.split(pools[kind], others[kind], seed, scale.ways) for kind in pools}
            yield meta_tasks.Bench(parts, networks, scale, seed, runs / f"tasks-s{seed}")

    rows = rows_of((bench.rows(names) for bench in benches()), left)
    return {
        "scale": asdict(scale),
        "seeds": len({row["seed"] for row in rows}),
        "tested": sorted({name for row in rows for name in row["test"]}),
        "rows": meta_tasks.summary(rows),
        "histories": {row["row"]: row["history"] for row in rows if row["seed"] == 0 and row["history"]},
    }


def network_facts(networks: dict[str, Network], names: dict[str, str], kept: Path) -> dict[str, Any]:
    """What each network costs; its undisturbed latency is measured once."""
    if not kept.exists():
        device = load_device("host")
        write_json(kept, floor_ms(networks, device, progress=console.progress(quiet=False)))
    ms = read_json(kept)
    return {
        kind: meta_parts.network_facts(one) | {"name": names[kind], "ms": ms[kind]} for kind, one in networks.items()
    }


def devices(
    new: list[str], seeds: int, scale: meta_devices.Scale, runs: Path, tables: Path | None, left: Left
) -> dict[str, Any]:
    """The part on new devices and new classes."""
    dataset = load_dataset("cifar10", resolution=32, seed=0)
    space = space_instance("mobile", width=0.25, resolution=32, channels=3, classes=len(dataset.classes) // 2)
    models = device_models(space, ["all"], tables)
    absent = sorted(set(new) - set(models))
    if absent:
        raise typer.BadParameter(f"no table of {', '.join(absent)} holds all options; there are {', '.join(models)}")
    known = {name: model for name, model in models.items() if name not in new}
    held_out = {name: models[name] for name in new}
    rows = rows_of(
        (
            meta_devices.Bench(space, known, held_out, dataset, scale, seed, runs / f"devices-s{seed}").rows()
            for seed in range(seeds)
        ),
        left,
    )
    return {
        "scale": asdict(scale),
        "data": dataset.name,
        "seeds": len({row["seed"] for row in rows}),
        "devices": sorted({row["device"] for row in rows}),
        "known": sorted(known),
        "learning_s": {
            name: float(np.mean([read_json(path)["seconds"] for path in runs.glob(f"devices-s*/{name}-cost.json")]))
            for name in ("warm", "pooled")
        },
        "rows": meta_devices.to_reach(rows),
    }


def transfer(
    device: str, seeds: int, images: int, data: Sequence[str], runs: Path, tables: Path | None, left: Left
) -> dict[str, Any]:
    """The part on architectures across tasks."""
    tasks = [transfer_task(name, device, tables) for name in data]

    def benches() -> Iterator[meta_transfer.Bench]:
        for seed in range(seeds):
            for source, target in (tasks, tasks[::-1]):
                folder = runs / f"transfer-s{seed}-{source.dataset.name}-{target.dataset.name}"
                yield meta_transfer.Bench(source, target, images, seed, folder)

    rows = rows_of((bench.rows() for bench in benches()), left)
    return {"images": images, "device": device, "rows": meta_transfer.summary(rows)}


def transfer_task(name: str, device: str, tables: Path | None) -> meta_transfer.Task:
    """A data set at 32 pixels with the instance of `mobile` for it, and its costs."""
    dataset = load_dataset(name, resolution=32, seed=0)
    classes, channels = len(dataset.classes), dataset.train.pixels.shape[1]
    space = space_instance("mobile", width=0.25, resolution=32, channels=channels, classes=classes)
    return meta_transfer.Task(dataset, space, device_models(space, [device], tables)[device])


def main(
    part: Annotated[str, typer.Option(help="tasks, devices, transfer, or several with commas.")] = PARTS,
    data: Annotated[Path | None, typer.Option(help="Folder with the data sets.")] = None,
    images: Annotated[Path | None, typer.Option(help="An .npz file of alphabets. [default: Omniglot]")] = None,
    test: Annotated[Path | None, typer.Option(help="Another one to test on.")] = None,
    seeds: int = 1,
    minutes: Annotated[float, typer.Option(help="Start nothing after these.")] = float("inf"),
    tasks_: Annotated[int, typer.Option("--tasks", help="Test tasks for each seed.")] = 20,
    rows: Annotated[str, typer.Option(help="Of the one-shot tasks.")] = ",".join(meta_tasks.ROWS),
    epochs: Annotated[int, typer.Option(help="Of the ordinary training.")] = 20,
    steps: Annotated[int, typer.Option(help="Outer steps of each meta-training.")] = 3000,
    protonet_steps: Annotated[int, typer.Option(help="Episodes of the prototypical network.")] = 3000,
    width: Annotated[float, typer.Option(help="Of the chain.")] = 0.5,
    layers: Annotated[str, typer.Option(help="Of the chain.")] = LAYERS,
    new_devices: Annotated[str, typer.Option(help="DEVICE/CONDITION with commas.")] = NEW_DEVICES,
    slice_images: Annotated[int, typer.Option(help="Train images of each class of a slice.")] = 100,
    learned_images: Annotated[int, typer.Option(help="Train images of each class that is learned on.")] = 4000,
    scratch_levels: Annotated[str, typer.Option(help="Shares of the usual epochs, for scratch.")] = "0.25,0.5,1",
    levels: Annotated[str, typer.Option(help="Shares of the usual epochs of training, for the other rows.")] = LEVELS,
    meta_steps: Annotated[int, typer.Option(help="Outer steps of the meta-training on devices.")] = 400,
    tables: Path | None = None,
    runs: Path = Path("runs/meta"),
    out: Annotated[Path | None, typer.Option(help="JSON file; a page and a plot are written beside it.")] = None,
) -> None:
    """Run what is missing, then print the tables."""
    torch.set_num_threads(1)
    started = time.monotonic()
    folder = data or data_folder()
    os.environ[VARIABLE] = str(folder)

    def left() -> bool:
        return time.monotonic() - started < 60.0 * minutes

    result: dict[str, Any] = read_json(out) if out is not None and out.exists() else {}
    if unknown := sorted(set(rows.split(",")) - set(meta_tasks.ROWS)):
        raise typer.BadParameter(f"no row is called {', '.join(unknown)}; there are {', '.join(meta_tasks.ROWS)}")
    if "tasks" in part.split(","):
        scale = meta_tasks.Scale(epochs=epochs, steps=steps, protonet_steps=protonet_steps, tasks=tasks_)
        networks = {
            "chain": meta_parts.chained(layers.split(), width, RESOLUTIONS["chain"], scale.ways),
            "conv4": meta_parts.conv4(RESOLUTIONS["conv4"], scale.ways),
        }
        result["tasks"] = tasks(images or folder / OMNIGLOT, test, seeds, scale, networks, runs, left, rows.split(","))
        names = {"chain": f"chain@w{width:g}-r{RESOLUTIONS['chain']}", "conv4": "Conv-4, 64, r28"}
        result["tasks"]["layers"] = layers
        result["tasks"]["networks"] = network_facts(networks, names, runs / "latency.json")
    if "devices" in part.split(","):
        scratch, others = (tuple(map(float, text.split(","))) for text in (scratch_levels, levels))
        of_devices = meta_devices.Scale(slice_images, learned_images, scratch, others, meta_steps)
        result["devices"] = devices(new_devices.split(","), seeds, of_devices, runs, tables, left)
    if "transfer" in part.split(","):
        device = new_devices.partition(",")[0]
        result["transfer"] = transfer(device, seeds, slice_images, ("mnist", "cifar10"), runs, tables, left)
    print(page(result))
    if out is not None:
        write_json(out, result)
        write_text(out.with_suffix(".md"), page(result, out.with_suffix(".svg").name))
        plot(result, out.with_suffix(".svg"))


if __name__ == "__main__":
    typer.run(main)
