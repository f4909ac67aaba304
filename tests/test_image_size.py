"""Sizes as people type them: height first, and one number for squares."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.config import Configuration, configure
from hwnas.errors import InputError
from hwnas.image_size import LARGEST_SIDE, SMALLEST_SIDE, Size, size_value

SIDES = st.integers(1, LARGEST_SIDE)


@given(SIDES, SIDES)
def test_the_text_of_a_size_parses_back_to_it(height: int, width: int) -> None:
    size = Size(height, width)
    text = str(height) if height == width else f"{height}x{width}"
    assert (str(size), f"{size}") == (text, text)
    assert Size.of(text) == Size.of(size) == Size.of(size.plain) == Size.of(f" {height} X {width} ") == size
    if size.short >= SMALLEST_SIDE:
        assert size_value(text) == size_value(size) == size.plain
    else:
        with pytest.raises(InputError, match="each side from 4 to 2048"):
            size_value(text)
    assert (type(size.plain) is int) == size.is_square == (height == width)
    assert size.halved() == (-(-height // 2), -(-width // 2))


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_mismatch_is_the_ratio_of_shapes(a: int, b: int, c: int, d: int) -> None:
    ratio = Fraction(a, b) / Fraction(c, d)
    assert Size(a, b).mismatch(Size(c, d)) == float(max(ratio, 1 / ratio))


def plainly(value: object) -> tuple[int, ...] | None:
    """The sides that a value names, by another way of parsing."""
    parts = [part.strip() for part in str(value).replace("×", "x").replace("X", "x").split("x")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 6]
    good = not isinstance(value, bool) and len(numbers) == len(parts) < 3
    return (numbers[0], numbers[-1]) if good and all(1 <= one <= LARGEST_SIDE for one in numbers) else None


@given(
    st.text(max_size=12) | st.from_regex(r"[-0-9x× .]{1,9}", fullmatch=True) | st.integers() | st.none() | st.booleans()
)
def test_what_is_no_size_is_refused_with_one_message(value: object) -> None:
    if expected := plainly(value):
        assert Size.of(value) == expected
        return
    with pytest.raises(InputError, match=r"height x width, with each side from 1 to 2048, not ") as caught:
        Size.of(value)
    assert "96x160" in caught.value.hint


@pytest.mark.parametrize(
    "typed", ["96x", "x96", "0x10", "10x0", "96x2049", "2049", "-8", "9.5", "1e2", "8x8x3", "small", "0x0"]
)
def test_an_option_refuses_what_is_no_size(typed: str) -> None:
    with pytest.raises(InputError, match="height x width") as caught:
        configure(settings=["target.budget=20", f"space.resolution={typed}"])
    assert repr(typed) in str(caught.value)


def test_squares_are_numbers_in_a_configuration() -> None:
    """As in the files of earlier runs."""
    for typed, kept in (("160", 160), ("160x160", 160), ("96x160", "96x160"), (" 0 ", 0)):
        assert configure(settings=["target.budget=20", f"space.resolution={typed}"]).space.resolution == kept
    plain = Configuration.model_validate({"target": {"budget": "20"}})
    assert plain.space.size is None
    assert plain.changed(space={"resolution": Size(96, 160)}).space.size == (96, 160)
