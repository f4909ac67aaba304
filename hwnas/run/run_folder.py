"""The run directory: names of its files, its log, and the lock that keeps a second process out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

from hwnas.config import AUTO, Configuration, load_configuration
from hwnas.errors import InputError
from hwnas.events import Event
from hwnas.files import open_to_append, real_path, remove_folder, remove_leftovers, storage_errors, write_json
from hwnas.locks import held
from hwnas.run import run_marker
from hwnas.run.export_folder import EXPORT, PACKAGE, remove_exported, remove_package
from hwnas.schema import json_as, lines_of, one_of, read_json_as

_CHANGEABLE = ("loader_threads", "tracker", "gpus_per_trial")  # of what a run is computed on, when it goes on
_LONGEST = 100  # letters of a folder's name that targets make


@dataclass(frozen=True)
class _Data:
    """The images and labels that a run works with, by their checksum, and the run whose search was on them."""

    sha256: str
    searched_in: str = ""


@dataclass(frozen=True)
class _Ended:
    """Of `log.jsonl`: the end of a stage."""

    event: Annotated[str, one_of("end")]
    seconds: float


@dataclass(frozen=True)
class _Noted:
    """Of any entry of `log.jsonl`."""

    at: str
    event: str


def interrupted_s(log_file: Path) -> float:
    """Seconds of stages that began and did not end, each up to the last entry that its process wrote."""
    total_s, began, last = 0.0, None, None
    for line in lines_of(log_file):
        try:
            entry = json_as(line, _Noted, log_file)
            at = datetime.fromisoformat(entry.at).timestamp()
        except (InputError, ValueError):  # what a full disk cut short
            continue
        if entry.event == "start":
            total_s += _between_s(began, last)
            began = at
        elif entry.event == "end":
            began = None
        last = at
    return total_s + _between_s(began, last)


def _between_s(began: float | None, last: float | None) -> float:
    return 0.0 if began is None or last is None else max(0.0, last - began)


class RunFolder:
    """Paths of one run below `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.marker = path / run_marker.NAME
        self.config = path / "config.toml"
        self.environment = path / "env.json"
        self.images = path / "images.json"
        self.log_file = path / "log.jsonl"
        self.evaluated = path / "evaluated.csv"
        self.architecture = path / "architecture.json"
        self.weights = path / "weights.safetensors"
        self.onnx = path / "model.onnx"
        self.tflite = path / "model.tflite"
        self.labels = path / "labels.txt"
        self.description = path / "model.json"
        self.result = path / "result.json"
        self.report = path / "report.html"
        self.state = path / "state"

    def model(self, suffix: str) -> Path:
        """The exported file in the format whose names end so."""
        return self.path / f"model{suffix}"

    def baseline(self, suffix: str) -> Path:
        """The file of the random network, in the format whose names end so."""
        return self.state / f"baseline{suffix}"

    @property
    def exports(self) -> Path:
        """The folder of files that the run is exported to afterwards."""
        return self.path / EXPORT

    @property
    def package(self) -> Path:
        """The folder of a package of the run for apps."""
        return self.path / PACKAGE

    @property
    def exported(self) -> Path:
        """The exported file that is there; where there is none, the one that most runs write."""
        return self.tflite if self.tflite.is_file() else self.onnx

    def part(self, name: str) -> RunFolder:
        """Where the results for one of several budgets are."""
        return RunFolder(self.path / name)

    @property
    def mistakes(self) -> Path:
        """The worst mistakes on the test images, as pictures for the report."""
        return self.state / "mistakes.json"

    @property
    def search_state(self) -> Path:
        """The checkpoint of the search; it exists once a search has begun."""
        return self.state / "search.safetensors"

    @property
    def search_settings(self) -> Path:
        """How long the search runs; the file exists once that has been decided."""
        return self.state / "search.json"

    @property
    def begun(self) -> bool:
        """Whether a search has begun here."""
        return self.search_settings.exists() or self.search_state.exists()

    @property
    def sampler_state(self) -> Path:
        """The exported state of the search's sampler; it exists once a search has ended whose sampler can start others.

        Runs of earlier versions call it `learned.json`.
        """
        before = self.state / "learned.json"
        return before if before.is_file() else self.state / "sampler.json"

    def check(self, config: Configuration, *, resume: bool, force: bool) -> None:
        """Refuse what `claimed` would refuse, before anything is written or measured.

        Raises:
            InputError: the folder is no run of hwnas and not empty, or holds none that could be continued, or holds one
                and neither `resume` nor `force` is asked for.
        """
        named = config.started and not config.from_parent
        if named and real_path(Path(config.search.init)) == real_path(self.path):
            raise InputError(
                f"a run cannot start from itself, but --init is {config.search.init}", hint="choose another --out"
            )
        if resume and force:
            raise InputError(
                "a run is either continued or started anew, but both --resume and --force are given",
                hint="leave out --force to keep what is there",
            )
        run_marker.check_own(self.path)
        if force and self.path.is_symlink():
            raise InputError(
                f"{self.path} is a symbolic link, which --force does not follow",
                hint=f"give --out {real_path(self.path)} to start anew there",
            )
        if resume and not run_marker.is_run(self.path):
            raise InputError(
                f"there is no run in {self.path} to continue",
                hint="leave out --resume to start one, or name its folder with --out",
            )
        if self.config.exists() and not (force or resume):
            raise InputError(
                f"{self.path} holds a run already",
                hint="--resume continues it, --force starts it anew, --out names another folder",
            )
        known = {part.path for part in self._earlier_parts()}
        for part in self._parts(config):
            if not resume and part.path not in known:
                run_marker.check_own(part.path, "part of a run of hwnas")
            if part.path.is_symlink():
                raise InputError(f"{part.path} must be a folder, not a symbolic link", hint="choose another --out")

    def shipped(self) -> tuple[Path, ...]:
        """The files of a finished run that are kept as they are; those that may be written again left out."""
        changing = (self.config, self.environment, self.images, self.log_file, self.report)
        return tuple(
            path for path in vars(self).values() if path not in (self.path, self.state, self.marker, *changing)
        )

    @contextmanager
    def claimed(self, config: Configuration, *, resume: bool, force: bool) -> Iterator[None]:
        """Hold the folder for one process, with its configuration on disk.

        Raises:
            InputError: the folder holds another run, holds this one and neither `resume` nor `force` is asked for, or
                another process works in it.
            StorageError: it cannot be written.
        """

        def refuse() -> NoReturn:
            raise InputError(f"another process is working in {self.path}", hint="wait for it, or choose another --out")

        self.check(config, resume=resume, force=force)
        run_marker.mark(self.path)
        with held(self.state / "lock", busy=refuse):
            self.check(config, resume=resume, force=force)  # another process may have begun meanwhile
            parts = self._parts(config)
            for path in (self.path, *(path for part in parts for path in (part.path, part.state))):
                if path.is_dir():
                    remove_leftovers(path)
            self._prepare(config, resume=resume, force=force)
            yield

    def remembered(self, config: Configuration) -> Configuration:
        """`config` with what an interrupted run settled on, where it leaves that open: start, instance, minutes, types.

        Raises:
            InputError: the run's configuration is damaged.
        """
        if not self.config.exists():
            return config
        before = load_configuration(self.config)
        if config.search.init == AUTO and (before.from_parent or not before.started):
            config = config.changed(search={"init": before.search.init})
        if config.from_parent and not (config.train.minutes or config.train.epochs):
            config = config.changed(train={"minutes": before.train.minutes})
        if config.compute.mixed_precision is None:  # runs of earlier versions say that it is off
            config = config.changed(compute={"mixed_precision": before.compute.mixed_precision})
        if config.space.width:
            return config
        names = ("width", "depth", "resolution")
        return config.changed(space={name: getattr(before.space, name) for name in names})

    def same_data(self, digest: str) -> None:
        """Note what the run works with, or compare: a run goes on with the images that it began with.

        Raises:
            InputError: it began with others.
        """
        if (kept := self._noted_data()) is None:
            write_json(self._data, {"sha256": digest})
        elif kept.sha256 != digest:
            if kept.searched_in:
                raise InputError(
                    f"{kept.searched_in}, whose search {self.path} takes over, was on other images or labels",
                    hint=f"bring the data back as they were for {kept.searched_in}, or search anew",
                )
            raise InputError(
                f"{self.path} was started with other images or labels than it is resumed with",
                hint="bring the data back as it was, or choose another --out for this run",
            )

    def same_data_as(self, run: RunFolder) -> None:
        """Note that this run works with the images of another one, whose search it takes over.

        Raises:
            InputError: what that noted is damaged.
            StorageError: it cannot be written.
        """
        if (digest := run.data_digest()) is not None:
            write_json(self._data, {"sha256": digest, "searched_in": str(run.path)})

    def data_digest(self) -> str | None:
        """What `same_data` noted; None where nothing is.

        Raises:
            InputError: it is damaged.
        """
        return None if (kept := self._noted_data()) is None else kept.sha256

    def _noted_data(self) -> _Data | None:
        if not self._data.exists():
            return None
        return read_json_as(self._data, _Data, hint=f"start {self.path} anew, with --force")

    @property
    def _data(self) -> Path:
        return self.state / "data.json"

    def free_unless_started(self) -> None:
        """Make room for another budget, as long as no search has begun here."""
        if not self.begun:
            self._clear()

    def on_event(self, event: Event) -> None:
        """Append a record to `log.jsonl`; a callback of the run.

        Raises:
            StorageError: it cannot be written.
        """
        if event.kind != "record":
            return
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds")} | dict(event.record))
        with storage_errors(self.log_file), open_to_append(self.log_file) as file:
            file.write(line + "\n")

    def seconds(self) -> float:
        """Seconds of all finished stages, those before an interruption included."""
        ended = []
        for line in lines_of(self.log_file):
            with suppress(InputError):  # another event, or what a full disk cut short
                ended.append(json_as(line, _Ended, self.log_file).seconds)
        return round(sum(ended), 1)

    def all_seconds(self, config: Configuration) -> float:
        """As `seconds`, with the stages of single budgets, and with what is known of stages that were interrupted."""
        folders = [self, *self._parts(config)]
        return sum(one.seconds() + interrupted_s(one.log_file) for one in folders)

    def check_same(self, config: Configuration) -> Configuration | None:
        """Refuse to go on with another configuration than that of the run, which comes back; None where it has none.

        Raises:
            InputError: it is another one, or that of the run is damaged.
        """
        if not self.config.exists():
            return None
        before = load_configuration(self.config)
        compute = {name: getattr(config.compute, name) for name in _CHANGEABLE}
        if before.changed(target={"max_drop": config.target.max_drop}, compute=compute) != config:
            raise InputError(
                f"{self.path} was started with another configuration: {', '.join(before.differences(config))}",
                hint="--resume continues only the same run; choose another --out for this one",
            )
        return before

    def _prepare(self, config: Configuration, *, resume: bool, force: bool) -> None:
        before = self.check_same(config) if resume else None
        if force:
            self._clear()
        for part in self._parts(config):
            run_marker.mark(part.path)
        if before != config:
            config.save(self.config)

    def _parts(self, config: Configuration) -> list[RunFolder]:
        """The folders of the budgets, where there are several."""
        return [self.part(name) for name in config.parts]

    def _earlier_parts(self) -> list[RunFolder]:
        """The folders of the budgets of the run that is here already."""
        try:
            return self._parts(load_configuration(self.config))
        except InputError:
            return []

    def remove(self) -> None:
        """Remove what a run wrote here, and the folder itself if it is empty then; a symbolic link stays."""
        if self.path.is_dir() and not self.path.is_symlink():
            self._clear()
            self.marker.unlink(missing_ok=True)
            for folder in (self.state, self.path):
                with suppress(OSError):
                    folder.rmdir()

    def _clear(self) -> None:
        """Remove what an earlier run wrote here, and nothing else; the folder stays marked."""
        for part in self._earlier_parts():
            part.remove()
        for path in vars(self).values():
            if path not in (self.path, self.state, self.marker):
                with storage_errors(path):
                    path.unlink(missing_ok=True)
        remove_exported(self.exports)
        remove_package(self.package)
        if self.state.is_dir() and not self.state.is_symlink():
            for path in self.state.iterdir():
                if path.name != "lock":
                    remove_folder(path)


def plain(folder: Path) -> Path:
    """The whole path of a folder, without `.` and `..`; links stay."""
    return Path(os.path.abspath(folder))  # noqa: PTH100


def beside(folder: Path, name: str) -> Path:
    """A folder of that name beside another one, which may be `.`; by a short path where there is one."""
    made = plain(folder).with_name(name)
    return made.relative_to(Path.cwd()) if made.is_relative_to(Path.cwd()) else made


def default_folder(config: Configuration) -> Path:
    """The run directory when none is named, for example `runs/digits-50pct-s0`, or `runs/digits-50pct-litert-s0`.

    Of several devices they are all in the name, such as `runs/digits-host-5ms-pi4-20ms-s0`.
    """
    target = config.target
    cold = "cold" if target.latency == "cold" else ""
    variants = (target.runtime, target.provider, target.precision, cold, "init" if config.started else "")
    asked = "-".join(target.targets)[:_LONGEST] if target.targets else target.budget
    data, budget = Path(config.data.source).name or "data", asked.replace("%", "pct")
    name = "-".join([data, budget, *filter(None, variants), f"s{config.compute.seed}"])
    return Path("runs") / "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
