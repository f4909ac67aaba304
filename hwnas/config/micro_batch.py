"""The option of how many images of a batch are computed at once."""

from __future__ import annotations

from typing import Annotated

from hwnas.config.option import Option

MicroBatch = Annotated[
    int | None,
    Option(
        "Images of a batch that are computed at once, at most; as many as a batch has, or more, never split it.",
        unit="images",
        ge=2,  # batch norm cannot use one alone
        le=1_000_000,
        by_default="follows the memory",
    ),
]
