"""Further budgets from a search that ended: its weights, without another step on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hwnas.errors import InputError
from hwnas.nas.supernet_loop import SearchLoop
from hwnas.schema import checked
from hwnas.train import checkpoint as store

_ALPHA = "alpha."


@dataclass(frozen=True)
class _Kept:
    """Of what a checkpoint says besides its tensors."""

    epochs_done: int


def inherit(loop: SearchLoop, path: Path) -> None:
    """Give a search the weights that another one with its settings ended with, and every budget the α of none.

    That α is the one that only the images have pressed, so it is as good for any budget on any device.

    Raises:
        InputError: the checkpoint is damaged, of another space, or not of the end of a search.
    """
    stored, info = store.load(path)
    kept, total = checked(info, _Kept, path, largest_integer=store.LARGEST_INTEGER), loop.settings.all_epochs
    if kept.epochs_done < total:
        raise InputError(
            f"{path} is of a supernet after {kept.epochs_done} of {total} epochs, and other targets start from one "
            "that is trained to its end",
            hint="finish that search first, with --resume and all devices in reach that it began with",
        )
    weights = loop.supernet.state_dict()
    store.copy_into(weights, {name: stored[key] for name in weights if (key := f"supernet.{name}") in stored}, path)
    loop.supernet.settled = False
    free = max((name for name in stored if name.startswith(_ALPHA)), key=_number, default="")
    alphas = [one.relaxation.logits for one in loop.constrained]
    for alpha in [*alphas, loop.unbudgeted] if alphas else []:
        store.copy_into({free: alpha}, stored, path)


def _number(name: str) -> int:
    """Of a tensor of α; -1 where its name has none."""
    number = name.removeprefix(_ALPHA)
    return int(number) if number.isdecimal() else -1
