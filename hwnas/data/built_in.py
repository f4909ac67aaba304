"""Data sets that have a name: two that hwnas makes itself, and those that are looked for on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hwnas.asked_paths import BUILT_IN
from hwnas.data.digits import Digits
from hwnas.data.known import cifar10, mnist, omniglot
from hwnas.data.shapes import Shapes
from hwnas.data.source import Source

_SOURCES = (Digits, Shapes, mnist, cifar10, omniglot)

SOURCES: Mapping[str, Callable[[], Source]] = dict(zip(BUILT_IN, _SOURCES, strict=True))
"""What makes the source of each."""
