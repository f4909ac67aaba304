"""Is a package right, and fast enough, on a device? Every model file in it, by the runtime that is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwnas.backends.model_facts import READERS
from hwnas.devices.device import Device
from hwnas.devices.measure_file import MEMORY_GB, STALL_S, Verification, check_limits, reader
from hwnas.devices.outputs import computes_outputs, images_at_once, model_outputs
from hwnas.devices.partitions import Partitions, partitions_of
from hwnas.display import counted, table_html
from hwnas.errors import ExportError, InputError
from hwnas.events import Events
from hwnas.exporting.manifest import Manifest, strangers
from hwnas.exporting.package_reader import Package, PackagedModel, open_package
from hwnas.files import real_path
from hwnas.metrics import Tally, share_error
from hwnas.runtimes import RUNTIMES

if TYPE_CHECKING:
    from hwnas.data import Images
    from hwnas.run.package_images import PackageImages

Measure = Callable[[Path, Device, float | None, str], Verification]
"""Measures a model file on a device, with the runtime that reads it, within a budget in milliseconds; the last is what
the budget is about where nothing else is asked for: warm or cold calls."""

_Outputs = Callable[[NDArray[np.uint8], str], NDArray[np.float32]]

_LIMITS = {"fp32": 1e-4, "fp16": 2e-2, "int8": None}
"""How far a file may be from the trained network, of its largest output: those that an export allows."""


@dataclass(frozen=True)
class Agreement:
    """How far what a device computes is from what was expected.

    Attributes:
        max_difference: of two outputs, the largest.
        limit: what it may be; None where none is set, as quantising moves scores.
        images: how many there were.
        same_classes: of how many the best class was the expected one.
        real: whether they were images, not random pixels.
    """

    max_difference: float
    limit: float | None
    images: int
    same_classes: int
    real: bool = True

    @property
    def ok(self) -> bool:
        """Whether it is within the limit."""
        return self.limit is None or self.max_difference <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "max_difference": self.max_difference,
            "limit": self.limit,
            "images": self.images,
            "same_classes": self.same_classes,
            "real_images": self.real,
            "ok": self.ok,
        }


@dataclass(frozen=True)
class FileVerification:
    """What was found of one model file of a package, on the device.

    Attributes:
        model: as the package describes it.
        golden: of the golden image; None, like `parity` and `accuracy`, where the device tells no outputs.
        parity: against the trained network; None where its run is not at hand.
        accuracy: share of the test images that are classified right, 0 to 1; None where there are none.
        test_images: how many these are.
        partitions: what accelerators take of its graph.
        latency: measured, and judged where there is a budget.
    """

    model: PackagedModel
    golden: Agreement | None
    parity: Agreement | None
    accuracy: float | None
    test_images: int
    partitions: tuple[Partitions, ...]
    latency: Verification

    @property
    def name(self) -> str:
        """Of the file."""
        return self.model.file.path.name

    @property
    def failure(self) -> str:
        """Why its outputs are not those that are expected; empty where they are, or could not be told."""
        golden = self.golden
        if golden is not None and not golden.ok:
            return (
                f"{self.name} is off by {golden.max_difference:.3g} on the golden image, where {golden.limit:g} is "
                "allowed"
            )
        if golden is not None and not golden.same_classes:
            return f"{self.name} takes the golden image for another class"
        if self.parity is not None and not self.parity.ok:
            return (
                f"{self.name} differs from the trained network by {self.parity.max_difference:.3g} on "
                f"{counted(self.parity.images, 'image')}, where {self.parity.limit:.3g} is allowed"
            )
        return ""

    @property
    def doubt(self) -> str:
        """Where the accuracy that the package says is more than two standard errors off the measured one: that."""
        said = self.model.tested
        if self.accuracy is None or said is None:
            return ""
        error = math.hypot(share_error(said.accuracy, said.images), share_error(self.accuracy, self.test_images))
        if abs(said.accuracy - self.accuracy) <= 2 * error:
            return ""
        return (
            f"{self.name} classifies {self.accuracy:.1%} of {counted(self.test_images, 'test image')} rightly, not the "
            f"{said.accuracy:.1%} of {said.images} that the package says"
        )

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        tested = self.model.tested
        return {
            "name": self.name,
            "golden": None if self.golden is None else self.golden.to_json(),
            "parity": None if self.parity is None else self.parity.to_json(),
            "test": None if self.accuracy is None else {"images": self.test_images, "accuracy": self.accuracy},
            "test_when_packed": None if tested is None else {"images": tested.images, "accuracy": tested.accuracy},
            "doubt": self.doubt or None,
            "partitions": [one.to_json() for one in self.partitions],
            "latency": self.latency.to_json(),
        }


@dataclass(frozen=True)
class PackageVerification:
    """What was found of a package on a device: its parts are as they were made, and of each model file what it does.

    Attributes:
        says: the manifest. The number of its files is right, and everything else in it is a claim.
        strangers: what else lies in the folder, which is not looked at.
        asked_ms: the budget that was asked for, for every file. Without it, the file that was searched for is judged by
            the budget that the package says.
    """

    folder: Path
    device: Device
    says: Manifest
    files: tuple[FileVerification, ...]
    strangers: tuple[str, ...] = ()
    asked_ms: float | None = None

    @property
    def failure(self) -> ExportError | None:
        """The error of a package with a file that does not compute what it should."""
        said = [one.failure for one in self.files if one.failure]
        if not said:
            return None
        return ExportError(
            f"{self.folder} on {self.device.id}: {'; '.join(said)}",
            hint="export it again, or use a version of the runtime that the other files are right on",
        )

    @property
    def budget_met(self) -> bool | None:
        """False where a file misses its budget, True where all that have one meet it; None where that is open."""
        met = [one.latency.budget_met for one in self.judged]
        return False if False in met else True if met and all(met) else None

    @property
    def judged(self) -> tuple[FileVerification, ...]:
        """The files that have a budget."""
        return tuple(one for one in self.files if one.latency.budget_ms is not None)

    def _repr_html_(self) -> str:
        facts = {one.name: one.failure or one.latency.verdict.measured for one in self.files}
        return table_html(f"{self.folder} on {self.device.id}", facts)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "package": str(self.folder),
            "parts": len(self.says.files),
            "strangers": list(self.strangers),
            "device": self.device.id,
            "ok": self.failure is None,
            "budget_met": self.budget_met,
            "budget_when_packed": None if self.says.budget_ms is None else self._budget_when_packed(),
            "files": [one.to_json() for one in self.files],
        }

    def _budget_when_packed(self) -> dict[str, Any]:
        searched = self.says.searched
        return {"budget_ms": self.says.budget_ms} | ({} if searched is None else asdict(searched))


def verify_package(
    folder: Path,
    device: Device,
    measure: Measure,
    *,
    runtime: str = "",
    budget_ms: float | None = None,
    run: Path | None = None,
    data: str | None = None,
    stall_s: float = STALL_S,
    memory_gb: float = MEMORY_GB,
    events: Events,
) -> PackageVerification:
    """Check the parts of a package, and what its model files compute and how fast, on a device.

    Args:
        measure: what measures a file.
        runtime: that alone is tried, in place of those that endings say.
        budget_ms: of every file; None is what the run was to keep, of the file that it searched for.
        run: the run that the package was made of; None takes the folder above where it is that.
        data: a data set whose test part is classified; None is that of the run.
        stall_s, memory_gb: limits on what a file may take, see `measure_file`.

    Raises:
        InputError: the package is damaged or hostile, the runtime reads none of its files, or run or data are others.
        DeviceError: the device cannot be reached, or fails.
    """
    check_limits(stall_s, memory_gb)
    package = open_package(folder)
    chosen = [one for one in package.models if not runtime or runtime in READERS[one.file.path.suffix]]
    if not chosen:
        raise InputError(f"{runtime} runs none of the files of {folder}", hint="leave out --runtime")
    says, searched = package.manifest, package.manifest.searched
    limits: dict[str, Any] = {"stall_s": stall_s, "memory_bytes": int(memory_gb * 2**30)}
    told = computes_outputs(device)
    if not told:
        events.say(f"{device.id} measures with benchmark_model, which tells no outputs: only latencies are checked")
    images = _images(package, run, data, events) if told else None
    found = []
    for number, one in enumerate(chosen, 1):
        name = one.file.path.name
        if len(chosen) > 1:
            events.say(f"file {number} of {len(chosen)}: {name}")
        own = _precise(device, one, runtime)
        outputs = _outputs_of(one, reader(own, one.file, runtime), len(package.labels), limits, events)
        golden, parity = _compared(package, one, images, outputs) if told else (None, None)
        test = None if images is None else images.test
        found.append(
            FileVerification(
                one,
                golden,
                parity,
                None if test is None else _accuracy(package, test, outputs),
                0 if test is None else len(test),
                partitions_of(one.file.path, **limits),
                measure(
                    one.file.path,
                    own,
                    says.budget_of(name) if budget_ms is None else budget_ms,
                    "warm" if searched is None else searched.latency,
                ),
            )
        )
    return PackageVerification(folder, device, says, tuple(found), tuple(strangers(folder, says.files)), budget_ms)


def _outputs_of(
    one: PackagedModel, device: Device, classes: int, limits: Mapping[str, Any], events: Events
) -> _Outputs:
    """What computes the outputs of a file on the device, for images (n, C, H, W), under a label for progress."""

    def outputs(pixels: NDArray[np.uint8], label: str) -> NDArray[np.float32]:
        path = one.file.path
        label = f"{label} by {path.name}"
        return model_outputs(device, path, one.as_read(pixels), classes, **limits, progress=events, label=label)

    return outputs


def _precise(device: Device, one: PackagedModel, runtime: str) -> Device:
    """The device with models of the file's precision, which names its tables; onnxruntime-web has but one."""
    fixed = "precision" in RUNTIMES[runtime or device.runtime].only
    return device if fixed else device.with_runtime(precision="int8" if one.precision == "int8" else "fp32")


def _images(package: Package, run: Path | None, data: str | None, events: Events) -> PackageImages | None:
    """None where neither the run nor other images are at hand, so that torch is not loaded."""
    if run is None and data is None and not (real_path(package.folder).parent / "weights.safetensors").is_file():
        return None
    from hwnas.run.package_images import PackageImages, run_of

    return PackageImages(package, run_of(package, run), data, events)


def _compared(
    package: Package,
    one: PackagedModel,
    images: PackageImages | None,
    outputs: _Outputs,
) -> tuple[Agreement, Agreement | None]:
    """The golden image and, where the trained network is at hand, real images: in one process."""
    truth = None if images is None else images.truth
    pixels = package.pixels[None] if truth is None else np.concatenate([package.pixels[None], truth.pixels])
    rows = outputs(pixels, "comparing outputs")
    off = float(np.abs(rows[0] - one.scores).max())
    golden = Agreement(off, one.tolerance, 1, int(rows[0].argmax() == package.label))
    if truth is None:
        return golden, None
    wanted, limit = truth.of(one.output), _LIMITS[one.precision]
    parity = Agreement(
        max_difference=float(np.abs(rows[1:] - wanted).max()),
        limit=None if limit is None else limit * max(1.0, float(np.abs(wanted).max())),
        images=len(wanted),
        same_classes=int((rows[1:].argmax(1) == wanted.argmax(1)).sum()),
        real=truth.real,
    )
    return golden, parity


def _accuracy(package: Package, images: Images, outputs: _Outputs) -> float:
    """Of test images, some at a time in memory and on the device."""
    from hwnas.run.package_images import in_parts

    tally = Tally(len(package.labels))
    for part in in_parts(images, images_at_once(package.pixels.shape)):
        tally.add(outputs(part.pixels, "classifying test images"), part.labels)
    return tally.metrics().accuracy
