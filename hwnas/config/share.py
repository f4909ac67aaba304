"""Shares as people type them."""

from __future__ import annotations

import re

from hwnas.config.text import shown
from hwnas.errors import InputError


def parse_share(value: object) -> float | None:
    """The share in `value`, 0 to 1: a number, or text such as `0.1` or `10%`; None where that is empty.

    Raises:
        InputError: it is no share.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    share = 2.0
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]{1,3}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})\s*(%?)\s*", value, re.ASCII)
        share = float(match[1]) / (100 if match[2] else 1) if match else 2.0
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        share = float(value)
    if share > 1:
        raise InputError(
            f"the share of a search that is done lies between 0 and 1, or 0% and 100%, but it is {shown(value)}",
            hint="examples: --search-share 0, --search-share 10%, --search-share 1",
        )
    return share
