"""`hwnas.export`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from hwnas.api.arguments import AtLeast0, PathArgument, checked
from hwnas.backends.onnx_versions import OPSET
from hwnas.display import table_html
from hwnas.errors import InputError
from hwnas.events import Events, OnEvent
from hwnas.exporting.file_kind import COREML, UNWRITTEN, FileKind
from hwnas.run.export_coreml import COREML_PRECISIONS, CoreMlPackage, coreml_packages
from hwnas.run.export_run import ExportedFile, export_run
from hwnas.run.package_run import package_run
from hwnas.run.run_folder import RunFolder


@dataclass(frozen=True)
class ExportResult:
    """The files that a run was exported to.

    Attributes:
        folder: where they lie, with `labels.txt` and `model.json`.
        files: one for each format and precision.
        package: whether the folder is a package, which has all else that an app needs.
        coreml: the packages for Core ML.
    """

    folder: Path
    files: tuple[ExportedFile, ...]
    package: bool = False
    coreml: tuple[CoreMlPackage, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "folder": str(self.folder),
            "package": self.package,
            "files": [_facts(one) for one in self.files],
            "coreml": [
                {"path": str(one.path), "precision": one.precision, "bytes": one.size_bytes} for one in self.coreml
            ],
        }

    def _repr_html_(self) -> str:
        sizes = {one.path: one.size_bytes for one in self.files} | {one.path: one.size_bytes for one in self.coreml}
        shown = {path.name: f"{size_bytes / 1024:.0f} KiB" for path, size_bytes in sizes.items()}
        return table_html(f"hwnas export: {self.folder}", shown)


def _facts(one: ExportedFile) -> Mapping[str, Any]:
    return {
        "path": str(one.path),
        "format": one.kind.format,
        "precision": one.kind.precision,
        "input": one.interface.input,
        "layout": one.interface.layout,
        "output": one.interface.output,
        "bytes": one.size_bytes,
        "parity": {"max_difference": one.parity.max_difference, "images": one.images},
        "val_drop": None if one.int8 is None else one.int8.taken.drop,
        "int8": None if one.int8 is None else one.int8.to_json(),
    }


@checked
def export(
    run: PathArgument,
    *,
    formats: Sequence[str] | str = "onnx",
    precisions: Sequence[str] | str = "fp32",
    input: Literal["", "float", "uint8"] = "",
    output: Literal["probabilities", "logits"] = "probabilities",
    layout: Literal["", "nchw", "nhwc"] = "",
    providers: Sequence[str] | str = (),
    opset: int = OPSET,
    ir_version: Annotated[int, AtLeast0] = 0,
    max_drop: Annotated[float, AtLeast0] | None = None,
    package: bool = False,
    out: PathArgument | None = None,
    force: bool = False,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> ExportResult:
    """Write the network of a finished run to files of other formats and precisions, without another search.

    Every file is compared with the trained network before it is written, on test images of the run where they are
    there. What runs in the app is not measured: `hwnas.verify` does that.

    Args:
        run: the folder of a finished run.
        formats: onnx, tflite, ort and coreml, one or several. Core ML packages take pictures, end in the classes with
            their probabilities, and are not run: only macOS can.
        precisions: fp32, fp16 and int8, one or several, of each format but for .ort in fp16 and Core ML in int8, which
            are left out; int8 needs the images of the run.
        input: type of the pixels from 0 to 255; '' is uint8 for int8 and else float.
        output: what the files end in.
        layout: order of the input's axes; '' is nhwc for tflite and else nchw.
        providers: nnapi and coreml, for .onnx and .ort files that these take as a whole.
        opset, ir_version: of ONNX; an IR version of 0 is the oldest that goes with the opset, but at least 8.
        max_drop: percentage points of the run's metric that int8 may cost; None is what the run allowed.
        package: write a package, a folder with all that an app needs: a test image with the scores that are expected,
            checksums, a README.md and sources in several languages. It is there as a whole or not at all.
        out: folder to write into; by default `export` in the run's, or `app` for a package.
        force: whether a package that is there already is replaced.

    Raises:
        InputError: no finished run, an unknown format, or a folder with files of somebody else.
        ExportError: a file computes something else than the network, int8 costs too much, or there is no test image
            that all files of a package classify right.
        StorageError: a file cannot be written.
    """
    events = Events.of(on_event)
    asked = [(form, precision) for form in _several(formats) for precision in _several(precisions)]
    ours = [precision for form, precision in asked if form == COREML]
    kept = [one for one in ours if one in COREML_PRECISIONS] or ours
    if len(kept) < len(ours):
        events.say(f"left out: a Core ML package is {' or '.join(COREML_PRECISIONS)}, not int8")
    pairs = [pair for pair in asked if pair[0] != COREML]
    written = [pair for pair in pairs if pair not in UNWRITTEN] or pairs
    wanted = [FileKind(*pair, input, output, layout, _several(providers), opset, ir_version) for pair in written]
    for pair in pairs:
        if pair not in written:
            events.say(f"left out: {UNWRITTEN[pair]}")
    if not asked:
        raise InputError("an export takes a format and a precision, but none are given", hint='formats="onnx"')
    _check_used(
        wanted,
        every={"--input": bool(input), "--layout": bool(layout), "--output": output != "probabilities"},
        onnx={"--providers": bool(providers), "--opset": opset != OPSET, "--ir-version": ir_version != 0},
        int8={"--max-drop": max_drop is not None},
    )
    if force and not package:
        raise InputError(
            "force replaces packages, but no package is asked for", hint="add --package, or leave out --force"
        )
    folder = RunFolder(Path(run))
    target = (folder.package if package else folder.exports) if out is None else Path(out)
    if package:
        if kept:
            raise InputError("a package for apps has no Core ML model", hint="export it by itself: --format coreml")
        made = package_run(folder, wanted, target, max_drop=max_drop, force=force, events=events)
        return ExportResult(target, tuple(made), package)
    models = coreml_packages(folder, kept, target, events=events) if kept else []
    made = export_run(folder, wanted, target, max_drop=max_drop, events=events) if wanted else []
    for one in models:
        one.write()
    return ExportResult(target, tuple(made), package, tuple(models))


def _check_used(
    wanted: Sequence[FileKind], *, every: Mapping[str, bool], onnx: Mapping[str, bool], int8: Mapping[str, bool]
) -> None:
    """Refuse options that nothing would follow. Core ML packages, which are not among the files, follow none of them.

    Args:
        every, onnx, int8: options of all files, and of such files alone, each with whether it is given.

    Raises:
        InputError: one is given, and no such file is asked for.
    """
    asked = f"only {' and '.join(sorted({f'.{one.format}' for one in wanted}) or ['Core ML'])} is asked for"
    for options, kind, used, other in (
        (every, "other files than Core ML packages", bool(wanted), "--format onnx"),
        (onnx, ".onnx and .ort files", any(one.format != "tflite" for one in wanted), "--format onnx"),
        (int8, "int8 files", any(one.precision == "int8" for one in wanted), "--precision int8"),
    ):
        for option, given in options.items():
            if given and not used:
                said = "none is asked for" if options is int8 else asked
                raise InputError(
                    f"{option} is for {kind}, but {said}", hint=f"leave out {option}, or ask for {other} too"
                )


def _several(names: Sequence[str] | str) -> tuple[str, ...]:
    """Each name once; one alone may be text."""
    return tuple(dict.fromkeys((names,) if isinstance(names, str) else names))
