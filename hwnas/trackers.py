"""Trackers of experiments as callbacks: metrics by stage and the files of a run, in TensorBoard or MLflow.

>>> from hwnas.trackers import TensorBoardTracker
>>> tracker = TensorBoardTracker("logs/photos")  # doctest: +SKIP
>>> result = hwnas.search("photos", budget_ms=20, on_event=tracker)  # doctest: +SKIP
>>> tracker.finish(result.run, result.facts)  # doctest: +SKIP

`hwnas search --tracker tensorboard` does the same for the folder of the run.
"""

from __future__ import annotations

import importlib.util
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from hwnas.errors import InputError
from hwnas.events import Event

TRACKERS = ("tensorboard", "mlflow")
_FILES = ("result.json", "report.html", "config.toml", "architecture.json", "model.json", "labels.txt")
_RESULTS = (
    *("score", "accuracy", "budget_ms", "predicted_ms", "measured_ms", "macs", "params", "peak_bytes", "file_bytes"),
    "seconds",
)


class Tracker(ABC):
    """A callback that turns records into metrics.

    Every number of a record is one, such as `search/epoch/loss`: the stage, what is recorded, and the number's name.
    Its step is the record's epoch, or how many such numbers came before: of several budgets, those of one follow those
    of the other.
    """

    def __init__(self) -> None:
        self._stages: list[str] = []
        self._seen: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        if event.kind != "record":
            return
        record = dict(event.record)
        what = str(record.pop("event", ""))
        if what == "start":
            self._stages.append(str(record["stage"]))
        elif what == "end":
            stage = str(record["stage"])
            self._stages = [one for one in self._stages if one != stage]
            self._tell(f"{stage}/seconds", float(record["seconds"]))
        else:
            epoch = record.pop("epoch", None)
            where = "/".join([*self._stages[-1:], what, *filter(None, [record.pop("label", "")])])
            for name, value in numbers(record):
                self._tell(f"{where}/{name}", value, epoch)

    def finish(self, run: str | PathLike[str], facts: Mapping[str, Any], *, error: str = "") -> None:
        """The files and the result of a run, and the end of it.

        Args:
            run: its folder.
            facts: of `result.json`; several results are told by their folders.
            error: what ended the run, where it failed.
        """
        for one in facts.get("front", [facts]):
            folder = str(one.get("folder", ""))
            prefix = "/".join(filter(None, ["result", folder]))
            for name, value in numbers({name: one.get(name) for name in _RESULTS}):
                self._tell(f"{prefix}/{name}", value)
            place = Path(run) / folder
            for path in (place / name for name in (*_FILES, str(one.get("model", "")))):
                if path.is_file():
                    self.file(path.absolute(), folder)
        self.close(error)

    def _tell(self, name: str, value: float, step: int | None = None) -> None:
        self.metric(name, value, self._seen[name] if step is None else step)
        self._seen[name] += 1

    @abstractmethod
    def metric(self, name: str, value: float, step: int) -> None:
        """Tell one number."""

    @abstractmethod
    def file(self, path: Path, part: str) -> None:
        """Tell of one file; `part` is the folder of one of several results, else empty."""

    @abstractmethod
    def close(self, error: str) -> None:
        """Write what is left; `error` is empty where all went well."""


def numbers(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers in nested mappings, with the names on the way to them."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{prefix}{name}", float(value)


def check_tracker(name: str) -> None:
    """Refuse a tracker whose package is not here, before anything begins; an empty name is none.

    Raises:
        InputError: it is not.
    """
    if name and importlib.util.find_spec(name) is None:
        raise InputError(
            f"the tracker {name} needs the package {name}, which is not installed",
            hint=f"python -m pip install 'hwnas[{name}]'",
        )


class TensorBoardTracker(Tracker):
    """Writes event files that `tensorboard --logdir FOLDER` shows; the folder is made for the first number.

    Raises:
        InputError: the package tensorboard is not installed.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        super().__init__()
        check_tracker("tensorboard")
        self._folder = str(folder)
        self._writer: Any = None
        self._links: list[str] = []

    def _opened(self) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(self._folder)
        return self._writer

    def metric(self, name: str, value: float, step: int) -> None:
        self._opened().add_scalar(name.replace(" ", "_"), value, step)

    def file(self, path: Path, part: str) -> None:
        self._links.append(f"- [{'/'.join(filter(None, [part, path.name]))}]({path.as_uri()})")

    def close(self, error: str) -> None:
        if self._links:
            self._opened().add_text("files", "\n".join(self._links))
        if self._writer is not None:
            if error:
                self._writer.add_text("error", error)
            self._writer.close()


class MLflowTracker(Tracker):
    """Writes a run of MLflow, where its own settings say: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME.

    Args:
        name: of the run there.
        parameters: of the run, by name.

    Raises:
        InputError: the package mlflow is not installed.
    """

    def __init__(self, name: str, parameters: Mapping[str, object] | None = None) -> None:
        super().__init__()
        check_tracker("mlflow")
        import os

        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()
        named = os.environ.get("MLFLOW_EXPERIMENT_NAME", "hwnas")
        known = self._client.get_experiment_by_name(named)
        experiment = self._client.create_experiment(named) if known is None else known.experiment_id
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        for key, value in (parameters or {}).items():
            self._client.log_param(self._run, key, value)

    def metric(self, name: str, value: float, step: int) -> None:
        self._client.log_metric(self._run, _allowed(name), value, step=step)

    def file(self, path: Path, part: str) -> None:
        self._client.log_artifact(self._run, str(path), part or None)

    def close(self, error: str) -> None:
        if error:
            self._client.set_tag(self._run, "error", error)
        self._client.set_terminated(self._run, "FAILED" if error else "FINISHED")


def _allowed(name: str) -> str:
    """A name with the letters that MLflow allows in one."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
