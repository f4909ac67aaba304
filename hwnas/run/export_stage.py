"""Stage `export`: the model file of a trained network, with labels, metadata, model.json and its weights beside it."""

from __future__ import annotations

import json

from torch import nn

from hwnas.arch.costs import peak_bytes
from hwnas.backends.torch import export_weights
from hwnas.errors import ExportError
from hwnas.exporting.description import description
from hwnas.exporting.model_file import Exported, export_model
from hwnas.files import write_json
from hwnas.run.context import RunContext
from hwnas.train import checkpoint


def save_weights(run: RunContext, module: nn.Module) -> None:
    """Write `weights.safetensors`.

    Raises:
        StorageError: it cannot be written.
    """
    checkpoint.save(run.folder.weights, module.state_dict(), {"space": run.plan.space.name})


def exported_file(run: RunContext, choices: tuple[int, ...], module: nn.Module) -> Exported:
    """The exported file, compared with the trained network on real images.

    Raises:
        ExportError: it computes something else, quantising costs too much, or it breaks a constraint.
        StorageError: it cannot be written.
    """
    facts = {
        "architecture": json.dumps(run.network(choices).to_json()),
        "device": run.plan.device.id,
        "condition": str(run.plan.condition.folder),
        "budget_ms": f"{run.budget_ms:.6g}",
        "predicted_ms": f"{run.model.predict_ms(choices):.6g}",
    }
    network = run.network(choices)
    exported = export_model(
        run.folder.model(run.model_format.suffix),
        run.model_format,
        network,
        export_weights(module),
        run.dataset,
        facts,
        labels=run.folder.labels,
        max_drop=run.plan.config.target.max_drop,
        metric=run.plan.config.search.metric,
        interface=run.interface,
    )
    write_json(run.folder.description, description([exported.path]))
    broken = run.plan.constrained.broken(exported.size_bytes, peak_bytes(network.graph))
    if broken:
        raise ExportError(broken, hint="this is a defect of hwnas: please report it with the run's architecture.json")
    return exported
