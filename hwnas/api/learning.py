"""`hwnas.meta_train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from hwnas.api.arguments import AtLeast0, AtLeast1, PathArgument, checked
from hwnas.api.outcomes import MetaTrainResult
from hwnas.errors import InputError
from hwnas.events import Events, OnEvent
from hwnas.meta.initialisation import VERSION
from hwnas.meta.meta_config import MetaConfig
from hwnas.meta.meta_run import meta_train as learn
from hwnas.meta.meta_settings import MetaSettings
from hwnas.train import resolve


@checked
def meta_train(
    out: PathArgument,
    *,
    tasks: Sequence[str] | str = ("omniglot",),
    hold_out: Sequence[str] | str = (),
    devices: Sequence[str] | str = (),
    tables: PathArgument | None = None,
    space: str = "mobile",
    width: float = 0.25,
    depth: Annotated[int, AtLeast0] = 0,
    resolution: int | str = 32,
    method: str = "reptile",
    ways: int = 5,
    shots: Annotated[int, AtLeast1] = 5,
    queries: Annotated[int, AtLeast1] = 5,
    within: bool = False,
    rotate: bool = False,
    norm: Literal["transductive", "support", "running"] = "transductive",
    head: str = "learned",
    augment: str = "none",
    mixing: str = "",
    inner_steps: Annotated[int, AtLeast0] = 0,
    inner_lr: Annotated[float, AtLeast0] = 0.0,
    batch_size: Annotated[int, AtLeast0] = 0,
    steps: Annotated[int, AtLeast0] = 0,
    minutes: Annotated[float, AtLeast0] = 0.0,
    resume: bool = False,
    force: bool = False,
    threads: Annotated[int, AtLeast1] = 1,
    accelerator: str = "auto",
    seed: Annotated[int, AtLeast0] = 0,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> MetaTrainResult:
    """Learn initial weights and architecture parameters from many small tasks, for searches to start from.

    Args:
        out: file to write, such as `first.safetensors`.
        tasks: images of many classes, each as `hwnas.search` takes them.
        hold_out: classes or groups to validate on; by default the last.
        devices: ids of devices whose latency tables give tasks their costs, or `all`.
        space, width, depth, resolution: the instance of the space.
        method: `reptile`, `fomaml` or `maml`.
        ways, shots, queries: classes of a task, images of each to adapt to, and images of each to validate on.
        within: draw the classes of a task from one group, such as an alphabet.
        rotate: a class turned by 90° is another one: for letters.
        norm: statistics of batch norms on query images.
        head: classifier of a task: `learned`, or `prototypes`, the means of its classes.
        augment: `none`, `small` or `strong`.
        mixing: options that compute, `pair` or `soft`; the method's own by default.
        inner_steps, inner_lr, batch_size: of the inner loop; 0 is the method's default.
        steps: outer steps; 1,000 by default. minutes: in place of them, about how long it may take.
        resume: continue an interrupted meta-training. force: learn anew, replacing `out`.

    Raises:
        InputError: bad input, or `out` is there already.
        DataError, TableError, DivergedError, StorageError: as their names say.
    """
    if steps and minutes:
        raise InputError("a meta-training takes either --steps or --minutes", hint="leave one of them out")
    usual = MetaSettings.of(method, ways=ways, shots=shots, queries=queries)
    settings = replace(
        usual,
        shape=replace(usual.shape, within=within, rotate=rotate),
        validation=replace(usual.validation, within=within),
        inner=replace(usual.inner, steps=inner_steps or usual.inner.steps, lr=inner_lr or usual.inner.lr),
        batch_size=batch_size,
        mixing=mixing or usual.mixing,
        norm=norm,
        head=head,
        augment=augment,
        steps=steps or usual.steps,
        validations=max(1, min(usual.validations, steps // 20)) if steps else usual.validations,
    )
    config = MetaConfig(
        _several(tasks), settings, _several(hold_out), _several(devices), space, width, depth, resolution, minutes, seed
    )
    found = learn(
        config,
        Path(out),
        progress=Events.of(on_event),
        threads=threads,
        device=resolve(accelerator),
        tables=None if tables is None else Path(tables),
        resume=resume,
        force=force,
    )
    facts: dict[str, Any] = {"version": VERSION, "space": asdict(found.origin), "method": found.method}
    facts |= {"tasks": found.tasks, "devices": list(found.devices), "metrics": found.metrics}
    return MetaTrainResult(Path(out), facts)


def _several(names: Sequence[str] | str) -> tuple[str, ...]:
    """One name alone is one of a sequence."""
    return (names,) if isinstance(names, str) else tuple(names)
