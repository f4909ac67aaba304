"""The option of how many images of a batch are computed at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from hwnas.config.option import Option
from hwnas.errors import InputError


def _not_one(value: int | None) -> int | None:
    """The value itself.

    Raises:
        InputError: it is 1, which batch norm cannot use.
    """
    if value == 1:
        raise InputError(
            "micro_batch is 0 for whole batches, or at least 2 images, as batch norm cannot use one alone, not 1",
            hint="leave it out: it follows the memory",
        )
    return value


MicroBatch = Annotated[
    int | None,
    Option(
        "Images of a batch that are computed at once, at most, and at least 2; 0 is all.",
        unit="images",
        ge=0,
        le=1_000_000,
        by_default="follows the memory",
    ),
    AfterValidator(_not_one),
]
