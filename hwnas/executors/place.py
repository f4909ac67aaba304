"""Where tasks are computed, as `--on` says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec

from hwnas.errors import InputError


@dataclass(frozen=True)
class Place:
    """Processes of this machine, or a Ray cluster.

    Attributes:
        processes: how many compute at once on this machine; 0 for a cluster.
        address: of the cluster by Ray Client, such as ray://head:10001; empty for the one that Ray finds by itself.
    """

    processes: int = 1
    address: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place in `text`: `local:4`, `ray` or `ray://head:10001`.

        Raises:
            InputError: the text is no place.
        """
        if re.fullmatch(r"ray(://[^\s/:]+:[0-9]{1,5})?", text, re.ASCII):
            return cls(0, "" if text == "ray" else text)
        local = re.fullmatch(r"local:([0-9]{1,4})", text, re.ASCII)
        if local is None or not int(local[1]):
            raise InputError(
                f"--on takes local:N, which is at least 1 process of this machine, or ray[://HOST:PORT], not {text!r}",
                hint="examples: --on local:4, --on ray, --on ray://head:10001",
            )
        return cls(int(local[1]))

    @property
    def cluster(self) -> bool:
        """Whether it is a Ray cluster."""
        return not self.processes

    def check(self) -> None:
        """Refuse a cluster where Ray is not installed, before anything else is done.

        Raises:
            InputError: it is not.
        """
        if self.cluster and find_spec("ray") is None:
            raise InputError("--on ray needs Ray, which is not installed", hint="pip install 'hwnas[ray]'")


HERE = Place()
"""One process of this machine."""


def place_of(on: str | None, workers: int | None = None) -> Place:
    """The place that `--on` names, or `--workers`, which is the older name of `local:N`.

    Raises:
        InputError: `on` is no place, or both are given.
    """
    if on is None:
        return HERE if workers is None else Place(workers)
    if workers is not None:
        raise InputError(
            f"--on {on} and --workers {workers} both say where candidates are trained",
            hint=f"leave --workers out: --on local:{workers} is the same",
        )
    return Place.parse(on)
