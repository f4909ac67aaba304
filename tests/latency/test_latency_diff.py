"""Two tables side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from latency_fakes import TOY, row_us, table_of

from hwnas.latency.diff import difference

KEYS = [spec.key for spec in TOY.ops]


@given(st.lists(st.floats(0.1, 10.0), min_size=len(KEYS), max_size=len(KEYS)))
def test_every_row_changes_by_what_was_done_to_it(factors: list[float]) -> None:
    before, after = table_of(), table_of()
    for key, factor in zip(KEYS, factors, strict=True):
        after.rows[key] = replace(after.rows[key], median_us=row_us(key) * factor)
    found = difference(before, after)
    assert {one.key: one.change for one in found.changes} == pytest.approx(
        {key: factor - 1.0 for key, factor in zip(KEYS, factors, strict=True)}, abs=1e-9
    )
    assert [one.change for one in found.changes] == sorted((one.change for one in found.changes), reverse=True)
    ordered = sorted(abs(factor - 1.0) for factor in factors)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    assert found.median == pytest.approx(median, abs=1e-9)
    assert found.largest == pytest.approx(ordered[-1], abs=1e-9)
    assert found.only_before == found.only_after == ()


def test_a_table_does_not_differ_from_itself() -> None:
    found = difference(table_of(), table_of())
    assert (found.median, found.largest) == (0.0, 0.0)
    assert [one.key for one in found.changes] == sorted(KEYS)


def test_rows_of_one_table_and_rows_that_are_written_differently_are_told() -> None:
    before, after = table_of(TOY.ops[:4]), table_of(TOY.ops[2:])
    after.rows[KEYS[2]] = replace(after.rows[KEYS[2]], fingerprint="0" * 16)
    found = difference(before, after)
    assert set(found.only_before) == set(KEYS[:2])
    assert set(found.only_after) == set(KEYS[4:])
    assert {one.key: one.same_model for one in found.changes} == {KEYS[2]: False, KEYS[3]: True}


def test_tables_without_a_common_row_have_no_median() -> None:
    found = difference(table_of(TOY.ops[:1]), table_of(TOY.ops[1:]))
    assert (found.median, found.largest, found.changes) == (None, None, ())
