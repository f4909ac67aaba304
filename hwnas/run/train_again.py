"""The architecture of a finished run trained again: on other images, with another seed or recipe, without a search."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hwnas.arch.costs import costs
from hwnas.arch.network import Network
from hwnas.backends.model_format import format_of
from hwnas.backends.torch import export_weights, network_module
from hwnas.data import Dataset
from hwnas.errors import InputError
from hwnas.exporting.description import description
from hwnas.exporting.int8 import Allowed, Quantising
from hwnas.exporting.model_file import Exported, export_model
from hwnas.files import real_path, write_json
from hwnas.report.run_files import read_result
from hwnas.run import run_marker
from hwnas.run.export_run import TrainedRun, check_finished
from hwnas.run.images import images_of
from hwnas.run.run_folder import RunFolder, beside, plain
from hwnas.run.train_start import Start, origin_of, recipe_from, settled_start
from hwnas.schema import read_json
from hwnas.train import checkpoint, evaluate, mixed_precision, resolve, train, training_session

if TYPE_CHECKING:
    from hwnas.config import Configuration
    from hwnas.config.starts import TrainStart
    from hwnas.events import Events

_SETTABLE = ("data", "train", "compute")
_KEPT = (
    *("budget_ms", "range_ms", "predicted_ms", "device", "condition", "runtime", "precision", "metric"),
    *("architecture", "space", "strategy", "table_sha256"),
)
"""Of `result.json`: what holds for the same architecture, whatever its weights are."""
_FACTS = ("device", "condition", "budget_ms", "predicted_ms")


def configuration_of(folder: RunFolder, events: Events) -> Configuration:
    """What a finished run was asked for, for another training to start from.

    Raises:
        InputError: it is no finished run.
    """
    check_finished(folder)
    return TrainedRun(folder, events).config


def retrained_folder(folder: RunFolder) -> Path:
    """The folder when none is named, such as `runs/photos-20-s0-trained`; for a part of a run it is beside the run."""
    path = plain(folder.path)
    if run_marker.is_run(path.parent):
        path = path.parent.with_name(f"{path.parent.name}-{path.name}")
    return beside(path, f"{path.name}-trained")


def train_again(
    folder: RunFolder, out: RunFolder, config: Configuration, *, start: TrainStart, force: bool, events: Events
) -> dict[str, Any]:
    """Train the network of a run into a run directory of its own; the result is what its `result.json` then holds.

    Nothing is measured: latency follows the architecture, and `hwnas verify` tells it.

    Args:
        config: of the run, with other values in the sections data, train and compute.
        start: from random weights, or from those of the run as far as they fit: the classes may be others; see
            `settled_start`.
        force: whether a run that is in `out` is replaced.

    Raises:
        InputError: no finished run, another section is changed, the images have other channels, or `out` holds a run.
        DivergedError, ExportError, StorageError: as their names say.
    """
    check_finished(folder)
    if real_path(out.path) == real_path(folder.path):
        raise InputError(f"{folder.path} is the run itself, which is kept as it is", hint="choose another --out")
    if out.config.exists() and not force:
        raise InputError(
            f"{out.path} holds a run already", hint="--force trains it anew there, --out names another folder"
        )
    run, began = TrainedRun(folder, events), time.monotonic()
    _check_changes(run.config, config)
    before = read_result(folder)
    dataset = images_of(config, run.reader.size, tell=events.say)
    if dataset.channels != (own := run.reader.channels):
        raise InputError(
            f"the network reads images of {own} channel{'s' * (own > 1)}, not of {dataset.channels}: {dataset.name}",
            hint="name images of as many: 1 is grey, 3 are colours",
        )
    begins = settled_start(start, folder, (run.config, before), config, dataset, events)
    if begins == "weights":
        dataset = replace(dataset, mean=tuple(run.reader.mean), std=tuple(run.reader.std))
    network = with_classes(run.network, len(dataset.classes))
    told = events.also(out.on_event)
    with (
        out.claimed(config, resume=False, force=force),
        training_session(config.compute.seed, config.compute.threads),
    ):
        out.same_data(dataset.digest())
        with told.stage("train"):
            module, epochs = _trained(run, network, dataset, config, begins, told)
        checkpoint.save(out.weights, module.state_dict(), {"space": config.space.name})
        write_json(out.architecture, read_json(folder.architecture) | {"network": network.to_json()})
        with told.stage("export"):
            exported = _exported(run, out, network, module, dataset, config, before, told)
        result = {name: before.get(name) for name in _KEPT} | _result(exported, network, module, dataset, config)
        result |= {"trained_from": begins, "init": origin_of(begins, folder, before), "epochs": epochs}
        result |= {"seconds": round(time.monotonic() - began, 1)}
        write_json(out.result, result)
        run_marker.seal(out.path, out.shipped())
    return result


def with_classes(network: Network, classes: int) -> Network:
    """The network with a classifier for so many classes.

    Raises:
        InputError: it ends in something else than a classifier.
    """
    name, last = network.ops[-1]
    if last.output_shape[0] == classes:
        return network
    changed = Network((*network.ops[:-1], (name, replace(last, cout=classes))), network.reads)
    if changed.ops[-1][1].output_shape != (classes, 1, 1):
        raise InputError(f"the network ends in {last}, which has no classes")
    return changed


def _check_changes(before: Configuration, config: Configuration) -> None:
    """Refuse what would be another architecture or budget."""
    changed = [one for one in before.differences(config) if one.partition(".")[0] not in _SETTABLE]
    if changed:
        raise InputError(
            f"a training keeps architecture, budget and device of the run, but {changed[0]}",
            hint=f"set options of {', '.join(_SETTABLE)}, or start a search",
        )


def _trained(
    run: TrainedRun, network: Network, dataset: Dataset, config: Configuration, start: Start, events: Events
) -> tuple[nn.Module, int]:
    """The network with its weights, and the epochs that it took."""
    module = network_module(network)
    if start == "weights":
        live = module.state_dict()
        with torch.no_grad():
            for name, one in run.weights.items():
                if live[name].shape == one.shape:
                    live[name].copy_(torch.from_numpy(one))
    recipe = recipe_from(start, config, len(dataset.train))
    device = resolve(config.compute.accelerator)
    with mixed_precision(device, on=config.compute.mixed_precision):
        train(module, dataset, recipe, seed=config.compute.seed, device=device, progress=events)
    return module.cpu(), recipe.epochs


def _exported(
    run: TrainedRun,
    out: RunFolder,
    network: Network,
    module: nn.Module,
    dataset: Dataset,
    config: Configuration,
    before: dict[str, Any],
    events: Events,
) -> Exported:
    """The file in format and precision of the run's, with `labels.txt` and `model.json`.

    Where int8 takes a training, that is on the accelerator that the network was trained on, as in a search.
    """
    model_format = format_of(str(before.get("runtime")), str(before.get("precision")))
    facts = {name: run.reader.metadata[f"hwnas.{name}"] for name in _FACTS if f"hwnas.{name}" in run.reader.metadata}
    path, allowed = out.model(model_format.suffix), Allowed(config.target.max_drop, config.search.metric)
    device = resolve(config.compute.accelerator)
    exported = export_model(
        path,
        model_format,
        network,
        export_weights(module),
        Quantising(dataset, allowed, config.compute.seed, device, events, path.name),
        {"architecture": json.dumps(network.to_json()), **facts},
        labels=out.labels,
        interface=model_format.app_interface(dataset.mean, dataset.std),
    )
    quantised = {} if exported.int8 is None else {exported.path.name: exported.int8.to_json()}
    write_json(out.description, description([exported.path], quantised))
    return exported


def _result(
    exported: Exported,
    network: Network,
    module: nn.Module,
    dataset: Dataset,
    config: Configuration,
) -> dict[str, Any]:
    """What the training makes of `result.json`."""
    device, metric = resolve(config.compute.accelerator), config.search.metric
    found = evaluate(module, dataset.test, dataset, device=device).metrics
    val = evaluate(module, dataset.val, dataset, device=device).metrics
    if exported.int8 is not None and exported.int8.test is not None:
        found = exported.int8.test
    size = costs(network.graph)
    return {
        "measured_ms": None,
        "budget_met": None,
        "budget_binds": None,
        "verdict": "not measured",
        "model": exported.path.name,
        "metric": metric,
        "score": {"test": found.value(metric), "val": val.value(metric)},
        "accuracy": {"test": found.accuracy, "val": val.accuracy, "test_images": found.n},
        "metrics": found.to_json(dataset.classes),
        "baseline_random": None,
        "trained": True,
        "weights": "trained",
        "macs": size.macs,
        "params": size.params,
        "peak_bytes": size.peak_bytes,
        "file_bytes": exported.size_bytes,
        "int8": None if exported.int8 is None else exported.int8.to_json(),
        "parity": {"max_difference": exported.parity.max_difference, "images": exported.images},
        "data": config.data.source,
        "parent": None,
        "seed": config.compute.seed,
    }
