"""Every setting of both quantisers on the network of a run: how many classes it keeps, and how far scores move.

    python tools/bench_calibration.py RUN --images 1024

No layer stays in float, and nothing is trained: these are the first ways that `hwnas export --precision int8` tries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table as Screen

from hwnas.events import Events
from hwnas.exporting.file_images import calibration_inputs
from hwnas.exporting.file_kind import FileKind
from hwnas.exporting.int8_ways import divergence
from hwnas.exporting.model_metadata import with_interface
from hwnas.run.export_run import TrainedRun
from hwnas.run.run_folder import RunFolder

HEADS = ("file", "setting", "classes of the float file", "accuracy", "divergence, nats", "scores off by")


def main(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    images: Annotated[int, typer.Option(help="Test images, at most.")] = 1024,
) -> None:
    """Quantise with every setting, and print a row for each."""
    trained = TrainedRun(RunFolder(run), Events.of(()))
    dataset, reader = trained.dataset, trained.reader
    chosen = np.linspace(0, len(dataset.test) - 1, min(images, len(dataset.test))).astype(np.int64)
    part = dataset.test.subset(chosen)
    pixels, labels = np.asarray(part.pixels), np.asarray(part.labels)
    screen = Screen(*HEADS)
    for form in ("onnx", "tflite"):
        kind = FileKind(form, "int8")
        model_format, interface = kind.model_format(), kind.interface(reader.mean, reader.std)
        content = model_format.model(
            trained.network,
            trained.weights,
            metadata=with_interface(reader.metadata, interface),
            interface=interface,
        )
        wanted = model_format.run(content, pixels)
        screen.add_row(f".{form}", "float", str(len(labels)), f"{(wanted.argmax(1) == labels).mean():.4f}", "", "")
        assert model_format.calibrate is not None
        calibrated = model_format.calibrate(content, calibration_inputs(dataset, interface))
        for setting in calibrated.settings:
            scores = model_format.run(calibrated.quantised(setting), pixels)
            screen.add_row(
                f".{form}",
                str(setting),
                str(int((scores.argmax(1) == wanted.argmax(1)).sum())),
                f"{(scores.argmax(1) == labels).mean():.4f}",
                f"{divergence(wanted, scores, interface.output):.5f}",
                f"{np.abs(scores - wanted).max():.3f}",
            )
    Console(width=130).print(screen)


if __name__ == "__main__":
    typer.run(main)
