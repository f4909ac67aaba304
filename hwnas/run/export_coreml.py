"""The network of a finished run as Core ML packages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwnas.arch.network import Network
from hwnas.backends.coreml import Package, coreml_package
from hwnas.backends.interface import Interface
from hwnas.errors import InputError
from hwnas.events import Events
from hwnas.exporting.model_metadata import with_interface
from hwnas.exporting.predict import ModelReader
from hwnas.files import write_bytes
from hwnas.run import run_marker
from hwnas.run.export_folder import COREML_SUFFIX, is_our_coreml
from hwnas.run.export_run import check_finished
from hwnas.run.run_folder import RunFolder
from hwnas.schema import read_json
from hwnas.train import checkpoint
from hwnas.whole_folder import replacing_folder

COREML_PRECISIONS = ("fp32", "fp16")


@dataclass(frozen=True)
class CoreMlPackage:
    """A folder that Core ML takes for a model.

    Attributes:
        files: their content, by their paths in it.
    """

    path: Path
    precision: str
    files: Package

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(map(len, self.files.values()))

    def write(self) -> None:
        """Put it in its place, as a whole.

        Raises:
            StorageError: it cannot be written.
        """
        with replacing_folder(self.path) as place:
            for name, content in self.files.items():
                write_bytes(place / name, content)


def coreml_packages(folder: RunFolder, precisions: Sequence[str], out: Path, *, events: Events) -> list[CoreMlPackage]:
    """A package for each precision, to be written into a folder.

    Raises:
        InputError: the folder holds no finished run, a package is there that hwnas did not write, coremltools is not
            installed, or the precision is int8.
        ExportError: coremltools refuses the network, or what it wrote says something else.
    """
    unknown = [one for one in precisions if one not in COREML_PRECISIONS]
    if unknown:
        raise InputError(
            f"a Core ML package is {' or '.join(COREML_PRECISIONS)}, not {unknown[0]}",
            hint="ask for another --format with --precision int8",
        )
    check_finished(folder)
    paths = {one: out / f"model{'' if one == 'fp32' else f'-{one}'}{COREML_SUFFIX}" for one in precisions}
    _check_out(out, list(paths.values()))
    reader = ModelReader(folder.exported)
    network = Network.from_json(read_json(folder.architecture)["network"])
    weights = {name: tensor.numpy() for name, tensor in checkpoint.load(folder.weights)[0].items()}
    interface = Interface("float", "probabilities", "nchw", tuple(reader.mean), tuple(reader.std))
    metadata = with_interface(reader.metadata, interface)
    made = []
    with events.track("exporting to Core ML", len(paths)) as advance:
        for precision, path in paths.items():
            own = metadata | {"hwnas.precision": precision}
            files = coreml_package(
                network, weights, reader.names, interface=interface, metadata=own, half=precision == "fp16"
            )
            made.append(CoreMlPackage(path, precision, files))
            advance()
    return made


def _check_out(out: Path, paths: Sequence[Path]) -> None:
    """Refuse to replace what hwnas did not write.

    Raises:
        InputError: the folder is a run, or holds such packages of somebody else.
    """
    if run_marker.is_run(out):
        raise InputError(f"{out} is the folder of a run, whose files are kept as they are", hint="choose another --out")
    for path in paths:
        if os.path.lexists(path) and not is_our_coreml(path):
            raise InputError(
                f"{path} is there already, and hwnas did not write it", hint="choose another --out, or move it away"
            )
