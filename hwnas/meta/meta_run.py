"""`hwnas meta-train` as a function: from a configuration to one initialisation on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import torch

from hwnas.arch.origin import Origin
from hwnas.arch.space import SearchSpace
from hwnas.errors import InputError
from hwnas.files import storage_errors, write_json
from hwnas.locks import held
from hwnas.meta.initialisation import Initialisation
from hwnas.meta.inner_loop import ALPHA
from hwnas.meta.meta_config import MetaConfig
from hwnas.meta.meta_settings import MetaSettings
from hwnas.meta.train import MetaTraining, Sources
from hwnas.progress import Progress
from hwnas.schema import at_least, read_json_as
from hwnas.train import checkpoint as store
from hwnas.train import training_session

_STATE = ("meta.safetensors", "steps.json")
"""What a meta-training keeps until it is done, beside its lock."""
_MOST_STEPS = 1_000_000
_TIMED_STEPS, _TIMED_TASKS = 2, 2


def meta_train(
    config: MetaConfig,
    out: Path,
    *,
    progress: Progress,
    threads: int = 1,
    device: torch.device | None = None,
    tables: Path | None = None,
    resume: bool = False,
    force: bool = False,
) -> Initialisation:
    """Learn an initialisation and write it to `out`. Until it is done, its state is in the folder `OUT.state`.

    Killed at any point, it goes on with `resume` and ends with the bytes of a run that nobody interrupted.

    Args:
        force: begin anew, replacing the initialisation at `out`; a file that is none stays.

    Raises:
        InputError: bad input, `out` is there already, or there is nothing to resume.
        DataError, TableError, DivergedError, StorageError: as their names say.
    """
    device = device or torch.device("cpu")
    folder = out.with_name(f"{out.name}.state")
    _check_own(out, folder, resume=resume, force=force)
    space = config.instance()

    def busy() -> NoReturn:
        raise InputError(f"another process is working in {folder}", hint="wait for it, or choose another --out")

    with held(folder / "lock", busy=busy):
        checkpoint = folder / _STATE[0]
        _begin(folder, resume=resume, force=force)
        with training_session(config.seed, threads):
            sources, devices = config.sources(space, tables, progress)
            settings = _settings(config, space, sources, device, folder / _STATE[1])
            training = MetaTraining(space, sources, settings, seed=config.seed, device=device)
            training.run(checkpoint=checkpoint, progress=progress)
            result = _initialisation(config, space, training, devices)
            result.save(out)
    with storage_errors(folder):
        for name in (*_STATE, "lock"):
            (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # what is left is of somebody else
        folder.rmdir()
    return result


def _check_own(out: Path, folder: Path, *, resume: bool, force: bool) -> None:
    """Refuse to replace what is no initialisation, and to work in somebody else's files.

    Raises:
        InputError: `out` is there, and `force` is not given or would replace something else; or nothing is interrupted.
    """
    another = "choose another --out; nothing was changed"
    if os.path.lexists(out) and not force:
        raise InputError(f"{out} is there already", hint="--force learns it anew, --out names another file")
    for path in (out, folder / _STATE[0]):
        if os.path.lexists(path) and not store.is_own(path):
            raise InputError(f"{path} is no file of hwnas, so it is not replaced", hint=another)
    if folder.is_symlink():
        raise InputError(f"{folder} must be a folder, not a symbolic link", hint=another)
    if resume and not folder.is_dir():
        raise InputError(
            f"there is no interrupted meta-training in {folder} to continue",
            hint="leave out --resume to start one, or name its file with --out",
        )


def _begin(folder: Path, *, resume: bool, force: bool) -> None:
    """Make room, or see that there is nothing to make room of.

    Raises:
        InputError: an interrupted training is there, and neither `resume` nor `force` is asked for.
    """
    left = [folder / name for name in _STATE if (folder / name).exists()]
    if not left or resume:
        return
    if not force:
        raise InputError(
            f"{folder} holds an interrupted meta-training",
            hint="--resume continues it, --force starts it anew, --out names another file",
        )
    with storage_errors(folder):
        for path in left:
            path.unlink()


@dataclass(frozen=True)
class _Steps:
    """The steps that the minutes allow."""

    minutes: float
    steps: Annotated[int, at_least(1)]


def _settings(
    config: MetaConfig, space: SearchSpace, sources: Sources, device: torch.device, kept: Path
) -> MetaSettings:
    """The settings with the steps that the minutes allow, decided once."""
    if not config.minutes:
        return config.settings
    if kept.exists():
        content = read_json_as(kept, _Steps, hint="give --force to start anew")
        if content.minutes == config.minutes:
            return replace(config.settings, steps=content.steps)
        raise InputError(
            f"{kept} is of a meta-training of other minutes", hint="give the same --minutes as before, or --force"
        )
    step_s, validation_s = _seconds(MetaTraining(space, sources, config.settings, seed=config.seed, device=device))
    left_s = 60.0 * config.minutes - (1 + config.settings.validations) * validation_s
    settings = replace(config.settings, steps=min(_MOST_STEPS, max(config.settings.validations, int(left_s / step_s))))
    write_json(kept, {"minutes": config.minutes, "steps": settings.steps})
    return settings


def _seconds(training: MetaTraining) -> tuple[float, float]:
    """Of an outer step, on average, and of a validation; spoils the training."""
    settings = training.settings

    def of(work: Callable[[], Any]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    training.step(0)  # the first one is slower than the others
    phases = ((0, settings.weights_only), (settings.steps - 1, 1.0 - settings.weights_only))
    step_s = sum(
        share * min(of(lambda step=step: training.step(step)) for _ in range(_TIMED_STEPS))  # type: ignore[misc]
        for step, share in phases
        if share
    )
    few = replace(settings, validation_tasks=_TIMED_TASKS)
    training.settings = few
    return step_s, of(lambda: training.validate(settings.steps)) * settings.validation_tasks / _TIMED_TASKS


def _initialisation(
    config: MetaConfig, space: SearchSpace, training: MetaTraining, devices: tuple[str, ...]
) -> Initialisation:
    settings = training.settings
    learned_alpha = settings.first_alpha_step < settings.steps
    before, (_, accuracy, error) = training.history[0][1], training.history[-1]
    return Initialisation(
        Origin.of(space),
        training.weights(),
        training.learner.known(training.phi[ALPHA].detach()) if learned_alpha else None,
        method=asdict(settings) | {"seed": config.seed},
        tasks={
            "sources": list(config.tasks),
            "classes": sum(len(pool.classes) for pool in training.sources.train),
            "held_out": [name for pool in training.sources.held_out for name in pool.classes],
        },
        devices=devices,
        metrics={
            "accuracy": accuracy,
            "standard_error": error,
            "accuracy_before": before,
            "norm": settings.norm,
            "history": training.history,
        },
    )
