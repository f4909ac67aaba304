"""A finished run as a package: model files, and all that an app needs to use them rightly and to check that it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwnas import __version__
from hwnas.data import Dataset
from hwnas.errors import InputError
from hwnas.events import Events
from hwnas.exporting import manifest
from hwnas.exporting.file_images import file_outcome
from hwnas.exporting.file_kind import FileKind
from hwnas.exporting.golden import ScoredFile, choose_golden, golden_files
from hwnas.exporting.manifest import SearchedFor, Tested
from hwnas.exporting.package_readme import NAME as README
from hwnas.exporting.package_readme import RunFacts, package_readme
from hwnas.exporting.snippets import FOLDER as SNIPPETS
from hwnas.exporting.snippets import snippets
from hwnas.files import sha256_of, user_path, write_bytes, write_json, write_text
from hwnas.report.run_files import number, read_result
from hwnas.run.export_run import ExportedFile, TrainedRun, check_finished, check_place, made_files, write_made
from hwnas.run.run_folder import RunFolder
from hwnas.whole_folder import replacing_folder, settle


def package_run(
    folder: RunFolder,
    kinds: Sequence[FileKind],
    out: Path,
    *,
    max_drop: float | None = None,
    force: bool = False,
    events: Events,
) -> list[ExportedFile]:
    """Write a package into a folder of its own, which is there as a whole or not at all.

    Args:
        max_drop: as in `export_run`.
        force: whether a package that is there is replaced.

    Raises:
        InputError: as `export_run`, the images of the run are not there any more, or the folder is somebody else's.
        ExportError: as `export_run`, or there is no test image that all files classify right.
        StorageError: a file cannot be written.
    """
    check_finished(folder)
    check_place(out, folder.package.name)
    for back in settle(out.parent, out.name):
        events.say(f"{back} was put back: an export that was killed had moved it aside")
    manifest.check_replaceable(out, force=force)
    run = TrainedRun(folder, events)
    dataset = run.dataset
    made, searched = made_files(run, kinds, out, max_drop, events), _searched(run)
    if searched is not None and searched.file not in [one.path.name for _, one in made]:
        form = f"--format {Path(searched.file).suffix[1:]} --precision {read_result(folder)['precision']}"
        events.say(f"the package has no {searched.file}, which the budget of the run was measured on: {form} packs it")
    scored = {one.path.name: _scored(content, one) for content, one in made}
    tested = {one.path.name: _tested(content, one, dataset, events) for content, one in made}
    golden = golden_files(choose_golden(scored, dataset.test), scored, dataset.classes)
    image = next(iter(golden))
    with replacing_folder(out) as part:
        described = write_made(run, made, part)
        _write(part, golden)
        sources = snippets(described["files"], folder.labels.name)
        for one_snippet, (text, _) in sources.items():
            write_text(part / SNIPPETS / one_snippet.name, text)
        facts = _facts(folder, run.config.data.source)
        text = package_readme(described, facts, tested, sources, labels=folder.labels.name, golden=image)
        write_text(part / README, text)
        whole = manifest.content_of(
            manifest.listed(part),
            hwnas_version=__version__,
            weights=sha256_of(folder.weights),
            budget_ms=facts.budget_ms,
            split_seed=run.config.compute.seed,
            tested=tested,
            searched=searched,
        )
        write_json(part / manifest.NAME, whole)
    return [one for _, one in made]


def _tested(content: bytes, one: ExportedFile, dataset: Dataset, events: Events) -> Tested:
    """What a file makes of the test images."""
    with events.track(f"classifying the test images by {one.path.name}", len(dataset.test)) as advance:
        found = file_outcome(one.kind.model_format(), content, dataset, dataset.test, advance).metrics
    return Tested(found.n, found.accuracy)


def _scored(content: bytes, one: ExportedFile) -> ScoredFile:
    return ScoredFile(content, one.kind.model_format().run, one.interface.output, one.kind.precision)


def _write(folder: Path, files: Mapping[str, Any]) -> None:
    """Bytes as they are, everything else as JSON."""
    for name, content in files.items():
        if isinstance(content, bytes):
            write_bytes(folder / name, content)
        else:
            write_json(folder / name, content)


def _facts(folder: RunFolder, source: str) -> RunFacts:
    """What `result.json` says, as far as it can be relied upon."""
    result = read_result(folder)
    budget_ms = number(result, "budget_ms")
    runtime, precision = (str(result.get(name, "")) for name in ("runtime", "precision"))
    return RunFacts(
        data=user_path(source).name,
        model=f"a file in {precision} for {runtime}",
        budget_ms=budget_ms if budget_ms is not None and budget_ms > 0 else None,
        measured_ms=number(result, "measured_ms", "judged"),
        device=str(result.get("device", "")),
        condition=str(result.get("condition", "")),
    )


def _searched(run: TrainedRun) -> SearchedFor | None:
    """What the budget of a run was about; None where its `result.json` does not say."""
    result = read_result(run.folder)
    model, precision, device = (str(result.get(name, "")) for name in ("model", "precision", "device"))
    try:
        return SearchedFor(FileKind(Path(model).suffix[1:], precision).name, device, run.config.target.latency)
    except InputError:
        return None
