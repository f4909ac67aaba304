"""The network of a finished run in other formats, precisions and interfaces, without another search."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.network import Network
from hwnas.backends.interface import Interface
from hwnas.config import Configuration, load_configuration
from hwnas.data import Dataset
from hwnas.errors import ExportError, InputError
from hwnas.events import Events
from hwnas.exporting.description import FORMAT, NAME, description
from hwnas.exporting.file_images import input_values, real_images
from hwnas.exporting.file_kind import FileKind
from hwnas.exporting.int8 import Allowed, Int8, Quantising
from hwnas.exporting.model_file import written
from hwnas.exporting.model_metadata import with_interface
from hwnas.exporting.predict import ModelReader
from hwnas.files import real_path, sha256_of, write_bytes, write_json, write_text
from hwnas.report.run_files import optional, read_result
from hwnas.run import run_marker
from hwnas.run.images import images_of
from hwnas.run.run_folder import RunFolder
from hwnas.schema import read_json, read_json_as
from hwnas.train import checkpoint

if TYPE_CHECKING:
    from hwnas.backends.parity import Parity

_RANDOM_IMAGES = 16
_COSTS_TOO_MUCH = "allow more with --max-drop, or leave int8 out of --precision"
_AGAIN = "put it back from a copy, or start the run anew with --force"


@dataclass(frozen=True)
class ExportedFile:
    """A file that a run was exported to.

    Attributes:
        interface: what it computes around the network.
        parity: of the file against the trained network: its logits, or what an int8 file ends in.
        images: how many test images that was on; 0 where random pixels stood for them.
        int8: how it was quantised, and what that costs of the run's metric; None where nothing was quantised.
    """

    path: Path
    kind: FileKind
    interface: Interface
    size_bytes: int
    parity: Parity
    images: int
    int8: Int8 | None


def export_run(
    folder: RunFolder, kinds: Sequence[FileKind], out: Path, *, max_drop: float | None = None, events: Events
) -> list[ExportedFile]:
    """Write a file of each kind, `labels.txt` and `model.json` into a folder; nothing unless all of them are right.

    Args:
        max_drop: percentage points of the metric that int8 may cost; None is what the run allowed.

    Raises:
        InputError: the folder holds no finished run, or the files to be written are somebody else's.
        ExportError: a file does not compute what the network computes, or quantising costs too much.
        StorageError: a file cannot be written.
    """
    check_finished(folder)
    check_place(out, folder.exports.name)
    _check_out(out, [*(one.name for one in kinds), folder.labels.name, NAME])
    run = TrainedRun(folder, events)
    made = made_files(run, kinds, out, max_drop, events)
    write_made(run, made, out)
    return [one for _, one in made]


def made_files(
    run: TrainedRun, kinds: Sequence[FileKind], out: Path, max_drop: float | None, events: Events
) -> list[tuple[bytes, ExportedFile]]:
    """The content of a file of each kind that is to go into the folder `out`; nothing is written.

    Raises:
        ExportError: as `export_run`.
    """
    made = []
    with events.track("exporting", len(kinds)) as advance:
        for kind in kinds:
            try:
                made.append(_made(run, kind, out, max_drop))
            except ExportError as error:
                raise ExportError(f"{kind.name}: {error}; no file was written", hint=error.hint) from error
            advance()
    return made


def write_made(run: TrainedRun, made: Sequence[tuple[bytes, ExportedFile]], out: Path) -> dict[str, Any]:
    """Write the files, `labels.txt` and `model.json` into a folder, and tell what the latter says.

    Raises:
        StorageError: a file cannot be written.
    """
    for content, one in made:
        write_bytes(out / one.path.name, content)
    write_text(out / run.folder.labels.name, "".join(f"{name}\n" for name in run.reader.names))
    weights = sha256_of(run.folder.weights)
    own = description(
        [out / one.path.name for _, one in made],
        {one.path.name: one.int8.to_json() for _, one in made if one.int8 is not None},
    )
    whole = own | {"weights": weights, "files": _earlier(out, weights) | own["files"]}
    write_json(out / NAME, whole)
    return whole


def check_finished(folder: RunFolder) -> None:
    """Refuse what is no run, or one that has not ended.

    Raises:
        InputError: it is that.
    """
    run_marker.check_run(folder.path)
    result = read_result(folder)
    if isinstance(front := result.get("front"), list):
        names = [str(one.get("folder")) for one in front if isinstance(one, dict)]
        raise InputError(
            f"{folder.path} holds a run for several budgets or devices, with a network for each",
            hint=f"name the folder of one: {', '.join(str(folder.path / name) for name in names[:9])}",
        )
    needed = (folder.architecture, folder.weights, folder.exported, folder.result)
    changed = sorted({path.name for path in needed} & {*run_marker.holes(folder.path)})
    if changed:
        raise InputError(f"{folder.path / changed[0]} is not as the run left it", hint=_AGAIN)


def check_place(out: Path, name: str) -> None:
    """Refuse a folder that is a run, or in one, but for that of the name.

    Raises:
        InputError: it is that.
    """
    if run_marker.is_run(out):
        raise InputError(f"{out} is the folder of a run, whose files are kept as they are", hint="choose another --out")
    run = next(filter(run_marker.is_run, real_path(out).parents), None)
    if run is not None and real_path(out) != run / name:
        raise InputError(
            f"{out} is in the folder of a run, {run}, where exported files go into {name} alone",
            hint="leave out --out for that folder, or choose one outside of the run's",
        )


def _check_out(out: Path, names: Sequence[str]) -> None:
    """Refuse to replace what `export_run` did not write.

    Raises:
        InputError: the folder holds such files of somebody else.
    """
    there = [name for name in names if os.path.lexists(out / name)]
    if there and optional(read_json, out / NAME).get("format") != FORMAT:
        raise InputError(
            f"{out / there[0]} is there already, and no {NAME} of hwnas beside it says that it may be replaced",
            hint="choose another --out, or move the file away",
        )


def _earlier(out: Path, weights: str) -> dict[str, Any]:
    """What `model.json` says of the files of earlier exports of these weights, as far as they are there unchanged."""
    said = optional(read_json, out / NAME)
    files = said.get("files")
    if said.get("weights") != weights or not isinstance(files, dict):
        return {}
    there = {path.name: path for path in out.iterdir()}
    return {
        name: facts
        for name, facts in files.items()
        if name in there and isinstance(facts, dict) and facts.get("sha256") == sha256_of(there[name])
    }


@dataclass(frozen=True)
class _Architecture:
    """Of `architecture.json`."""

    network: list[dict[str, Any]]


class TrainedRun:
    """A finished run: its network, and how images become what that reads.

    Raises:
        InputError: one of its files is missing or damaged.
    """

    def __init__(self, folder: RunFolder, events: Events) -> None:
        self.folder, self._events = folder, events
        self.network = Network.from_json(read_json_as(folder.architecture, _Architecture, hint=_AGAIN).network)
        tensors, _ = checkpoint.load(folder.weights, hint=_AGAIN)
        self.weights = {name: tensor.numpy() for name, tensor in tensors.items()}
        self.reader = ModelReader(folder.exported)
        read = (self.reader.channels, *self.reader.size)
        if self.network.input_shape != read:
            raise InputError(
                f"{folder.exported} reads images of {' × '.join(map(str, read))} values, but the network of "
                f"{folder.architecture} those of {' × '.join(map(str, self.network.input_shape))}",
                hint=_AGAIN,
            )

    @cached_property
    def config(self) -> Configuration:
        """Of a run for several budgets it lies in the folder above."""
        own = self.folder.config
        return load_configuration(own if own.is_file() else RunFolder(real_path(self.folder.path).parent).config)

    @cached_property
    def dataset(self) -> Dataset:
        """The images of the run, with the mean and the deviation that its network was trained with.

        Raises:
            InputError: they are not there any more, or are others.
        """
        dataset = images_of(self.config, self.reader.size, counted=1, tell=self._events.say)
        if list(dataset.classes) != self.reader.names or dataset.channels != self.reader.channels:
            raise InputError(
                f"{self.config.data.source} has other classes or channels than the run saw there",
                hint="bring the images back as they were",
            )
        return replace(dataset, mean=tuple(self.reader.mean), std=tuple(self.reader.std))

    def quantising(self, max_drop: float | None, label: str) -> Quantising:
        """What int8 may cost: by default what the run allowed.

        Where it comes to a training for int8, that is on the CPU, whatever the run was trained on: the run may come
        from another machine, and there the same run gives the same bytes everywhere.

        Args:
            label: name of the file, for progress.

        Raises:
            InputError: the images are not there any more, or are others.
        """
        config = self.config
        allowed = Allowed(config.target.max_drop if max_drop is None else max_drop, config.search.metric)
        return Quantising(self.dataset, allowed, config.compute.seed, progress=self._events, label=label)

    @cached_property
    def compared_on(self) -> tuple[NDArray[np.uint8], bool]:
        """Pixels (n, C, H, W) of test images, or random ones where there are none, and whether they are real."""
        try:
            return real_images(self.dataset).pixels, True
        except InputError as error:
            self._events.say(f"{error}: files are compared with the trained network on random pixels instead")
            shape = (_RANDOM_IMAGES, *self.network.input_shape)
            return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), False


def _made(run: TrainedRun, kind: FileKind, out: Path, max_drop: float | None) -> tuple[bytes, ExportedFile]:
    """The content of one file, and what is known of it."""
    reader, model_format = run.reader, kind.model_format()
    interface = kind.interface(reader.mean, reader.std)
    metadata = with_interface(reader.metadata, interface) | {"hwnas.precision": kind.precision}
    quantising = run.quantising(max_drop, kind.name) if kind.precision == "int8" else None
    pixels, real = run.compared_on
    made = written(
        model_format,
        run.network,
        run.weights,
        metadata,
        interface,
        input_values(pixels, reader.mean, reader.std),
        pixels,
        quantising=quantising,
        hint=_COSTS_TOO_MUCH,
        tolerance=kind.tolerance,
    )
    content = kind.finished(made.content, pixels)
    images = len(pixels) if real else 0
    return content, ExportedFile(out / kind.name, kind, interface, len(content), made.parity, images, made.int8)
