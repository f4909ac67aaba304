"""The run directory: names of its files, its log, and the lock that keeps a second process out."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

from hwnas.errors import InputError
from hwnas.files import remove_leftovers, storage_errors, write_json
from hwnas.locks import held
from hwnas.run.config import RunConfig, parse_budgets
from hwnas.schema import json_as, one_of, read_json_as


@dataclass(frozen=True)
class _Data:
    """What a run works with: the checksum of its images and labels."""

    sha256: str


@dataclass(frozen=True)
class _Ended:
    """Of `log.jsonl`: the end of a stage."""

    event: Annotated[str, one_of("end")]
    seconds: float


class RunFolder:
    """Paths of one run below `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.environment = path / "env.json"
        self.log_file = path / "log.jsonl"
        self.evaluated = path / "evaluated.csv"
        self.architecture = path / "architecture.json"
        self.weights = path / "weights.safetensors"
        self.onnx = path / "model.onnx"
        self.tflite = path / "model.tflite"
        self.labels = path / "labels.txt"
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
    def exported(self) -> Path:
        """The exported file that is there; where there is none, the one that most runs write."""
        return self.tflite if self.tflite.is_file() else self.onnx

    def part(self, name: str) -> RunFolder:
        """Where the results for one of several budgets are."""
        return RunFolder(self.path / name)

    @property
    def search_state(self) -> Path:
        """The checkpoint of the search; it exists once a search has begun."""
        return self.state / "search.safetensors"

    @property
    def sampler_state(self) -> Path:
        """The exported state of the search's sampler; it exists once a search has ended whose sampler can start others.

        Runs of earlier versions call it `learned.json`.
        """
        before = self.state / "learned.json"
        return before if before.is_file() else self.state / "sampler.json"

    @contextmanager
    def claimed(self, config: RunConfig, *, resume: bool, force: bool) -> Iterator[None]:
        """Hold the folder for one process, with its configuration on disk.

        Raises:
            InputError: the folder holds another run, holds this one and neither `resume` nor `force` is asked for, or
                another process works in it.
            StorageError: it cannot be written.
        """

        def refuse() -> NoReturn:
            raise InputError(f"another process is working in {self.path}", hint="wait for it, or choose another --out")

        with held(self.state / "lock", busy=refuse):
            budgets = parse_budgets(config.budget)
            parts = [self.part(one.folder) for one in budgets if len(budgets) > 1]
            for path in (self.path, *(path for part in parts for path in (part.path, part.state))):
                if path.is_dir():
                    remove_leftovers(path)
            self._prepare(config, resume=resume, force=force)
            yield

    def remembered(self, config: RunConfig) -> RunConfig:
        """`config` with the instance of the space that an interrupted run settled on, where it leaves that open.

        Raises:
            InputError: the run's configuration is damaged.
        """
        if not self.config.exists():
            return config
        before = RunConfig.load(self.config)
        if config.width:
            return config
        return replace(config, width=before.width, depth=before.depth, resolution=before.resolution)

    def same_data(self, digest: str) -> None:
        """Note what the run works with, or compare: a run goes on with the images that it began with.

        Raises:
            InputError: it began with others.
        """
        path = self.state / "data.json"
        if not path.exists():
            write_json(path, {"sha256": digest})
        elif read_json_as(path, _Data, hint="start the run anew, with --force").sha256 != digest:
            raise InputError(
                f"{self.path} was started with other images or labels than it is resumed with",
                hint="bring the data back as it was, or choose another --out for this run",
            )

    def free_unless_started(self) -> None:
        """Make room for another budget, as long as no search has begun here."""
        if not self.search_state.exists():
            self._clear()

    def log(self, event: dict[str, Any]) -> None:
        """Append one line to `log.jsonl`."""
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds")} | event)
        with storage_errors(self.log_file), self.log_file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Log that a stage begins, and, unless something is raised, that it has ended and how long it took."""
        started = time.monotonic()
        self.log({"event": "start", "stage": name})
        yield
        self.log({"event": "end", "stage": name, "seconds": round(time.monotonic() - started, 3)})

    def seconds(self) -> float:
        """Seconds of all finished stages, those before an interruption included."""
        if not self.log_file.exists():
            return 0.0
        ended = []
        for line in self.log_file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(InputError):  # another event, or what a full disk cut short
                ended.append(json_as(line, _Ended, self.log_file).seconds)
        return round(sum(ended), 1)

    def _prepare(self, config: RunConfig, *, resume: bool, force: bool) -> None:
        if config.init and Path(config.init).resolve() == self.path.resolve():
            raise InputError(
                f"a run cannot start from itself, but --init is {config.init}", hint="choose another --out"
            )
        if self.config.exists() and not force:
            if not resume:
                raise InputError(
                    f"{self.path} holds a run already",
                    hint="--resume continues it, --force starts it anew, --out names another folder",
                )
            before = RunConfig.load(self.config)
            if replace(before, max_drop=config.max_drop) != config:
                old, new = asdict(before), asdict(config)
                changed = [f"{name} was {old[name]!r} and is {new[name]!r}" for name in old if old[name] != new[name]]
                raise InputError(
                    f"{self.path} was started with another configuration: {', '.join(changed)}",
                    hint="--resume continues only the same run; choose another --out for this one",
                )
            if before != config:
                config.save(self.config)
            return
        if force:
            self._clear()
        config.save(self.config)

    def remove(self) -> None:
        """Remove what a run wrote here, and the folder itself if it is empty then."""
        if self.path.is_dir():
            self._clear()
            with suppress(OSError):
                self.state.rmdir()
                self.path.rmdir()

    def _clear(self) -> None:
        """Remove what an earlier run wrote here, and nothing else."""
        with suppress(InputError):
            budgets = parse_budgets(RunConfig.load(self.config).budget)
            for part in (self.part(one.folder) for one in budgets if len(budgets) > 1):
                part.remove()
        with storage_errors(self.path):
            for path in vars(self).values():
                if path not in (self.path, self.state):
                    path.unlink(missing_ok=True)
            for path in self.state.iterdir() if self.state.is_dir() else ():
                if path.name != "lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
