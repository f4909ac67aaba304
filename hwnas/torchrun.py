"""What torchrun tells each process that it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hwnas.errors import InputError


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that torchrun started; without torchrun it is the only one.

    Attributes:
        rank, count: its number, from 0, and how many there are, on all machines.
        local_rank, local_count: the same on this machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1


def launch() -> Launch:
    """The place of this process, from the environment variables that torchrun sets."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Launch()
    return Launch(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


def alone(what: str) -> None:
    """Refuse what several processes would do at the same time.

    Raises:
        InputError: torchrun started more than one.
    """
    if (count := launch().count) > 1:
        raise InputError(
            f"{what} works in one process, but torchrun started {count}",
            hint="start it without torchrun; of the commands, only hwnas search divides its work among processes",
        )
