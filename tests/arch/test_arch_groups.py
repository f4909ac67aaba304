"""The rule of a group against enumeration, on spaces small enough for it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.arch import Decision, Group, OpSpec, Slot, SlotSpace
from hwnas.arch.groups import Groups, allowed, choices_of, items, neighbours, pooled, total
from hwnas.errors import InputError

Problem = tuple[tuple[int, ...], Groups]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Decisions of 1 to 4 options, up to two groups of some of them, next to one another or not."""
    options = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=6)))
    order = draw(st.permutations(range(len(options))))
    cut = draw(st.integers(0, len(options)))
    groups = []
    for members in (sorted(order[:cut]), sorted(order[cut : cut + 3])):
        if members:
            off = tuple(draw(st.integers(-1, options[decision] - 1)) for decision in members)
            groups.append(Group(tuple(members), off, draw(st.integers(1, len(members)))))
    return options, tuple(groups)


def valid(problem: Problem) -> list[tuple[int, ...]]:
    """By enumeration of all choices."""
    options, groups = problem
    return [
        choices
        for choices in itertools.product(*map(range, options))
        if all(
            sum(choices[d] != off for d, off in zip(group.decisions, group.off, strict=True)) == group.keep
            for group in groups
        )
    ]


@settings(deadline=None)
@given(problems())
def test_items_make_up_the_valid_choices_and_no_others(problem: Problem) -> None:
    found = items(*problem)
    assert sorted(d for item in found for d in item.decisions) == list(range(len(problem[0])))
    made = [
        choices_of(found, picked) for picked in itertools.product(*(range(len(item.combinations)) for item in found))
    ]
    assert sorted(made) == valid(problem)


@settings(deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_sums_over_items_are_those_over_decisions(problem: Problem, random: object) -> None:
    options, groups = problem
    table = [[random.uniform(-1, 1) for _ in range(count)] for count in options]  # type: ignore[attr-defined]
    found = items(*problem)
    rows = pooled(table, found)
    for choices in valid(problem):
        picked = [item.combinations.index(tuple(choices[decision] for decision in item.decisions)) for item in found]
        whole = total(table, choices, groups)
        assert whole == sum((row[k] for row, k in zip(rows, picked, strict=True)), 0.0)
        assert whole == pytest.approx(total(table, choices), abs=1e-12)


@settings(deadline=None)
@given(problems())
def test_what_is_allowed_is_what_some_valid_choices_go_on_with(problem: Problem) -> None:
    everything = valid(problem)
    options, groups = problem
    for length in range(len(options)):
        for prefix in {choices[:length] for choices in everything}:
            expected = {choices[length] for choices in everything if choices[:length] == prefix}
            found = allowed(options, groups, prefix)
            assert {option for option, able in enumerate(found) if able} == expected
            assert len(found) == options[length]


def kept_pairs(choices: Sequence[int], problem: Problem) -> set[tuple[int, int]]:
    off = {d: option for group in problem[1] for d, option in zip(group.decisions, group.off, strict=True)}
    return {(d, option) for d, option in enumerate(choices) if option != off.get(d)}


@settings(max_examples=40, deadline=None)
@given(problems())
def test_neighbours_are_the_valid_choices_with_one_other_op(problem: Problem) -> None:
    everything = valid(problem)
    for choices in everything[:: max(1, len(everything) // 10)]:
        found = list(neighbours(choices, *problem))
        own = kept_pairs(choices, problem)
        expected = [other for other in everything if len(kept_pairs(other, problem) - own) == 1]
        assert sorted(found) == sorted(expected)


def tiny(groups: Groups, options: int = 3) -> SlotSpace:
    """Two inputs' worth of edges into one node: of three edges, two are kept and joined."""
    shape = (4, 4, 6, 6)
    ops = (OpSpec("none", *shape), OpSpec("skip", *shape), OpSpec("reluconv", *shape))[:options]
    names = ("a", "b", "c")
    edges = [Slot(name, ops, decision, ("stem",)) for decision, name in enumerate(names)]
    return SlotSpace(
        "tiny@w1-r6",
        tuple(Decision(name, ("none", "skip", "conv")[:options]) for name in names),
        (
            Slot("stem", (OpSpec("conv", 3, 4, 6, 6),)),
            *edges,
            Slot("node", (OpSpec("add", *shape, inputs=2),), reads=names),
            Slot("classifier", (OpSpec("classifier", 4, 5, 6, 6),)),
        ),
        groups,
    )


TINY = tiny((Group((0, 1, 2), (0, 0, 0)),))


def test_a_space_enumerates_and_counts_what_keeps_to_its_groups() -> None:
    everything = [architecture.choices for architecture in TINY.enumerate()]
    assert everything == valid(((3, 3, 3), TINY.groups))
    assert len(everything) == TINY.size == 3 * 2**2
    assert TINY.allowed((0,)) == (False, True, True)
    assert TINY.allowed((1, 2)) == (True, False, False)


def test_a_network_joins_the_kept_edges_only() -> None:
    for architecture in TINY.enumerate():
        network = TINY.network(architecture)
        kept = tuple(name for name, option in TINY.describe(architecture).items() if option != "none")
        assert dict(network.reads)["node"] == kept
        assert [node.name for node in network.graph.nodes].count("node.add1") == 1
        assert not network.graph.constant
    assert all(spec.inputs == 2 for spec in TINY.ops if spec.kind == "add")


@pytest.mark.parametrize("choices", [(1, 1, 1), (1, 0, 0), (0, 0, 0)])
def test_an_architecture_that_does_not_keep_to_a_group_is_refused(choices: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=f"keeps 2 of a, b and c, not {sum(choices)}"):
        TINY.architecture(choices)


def test_a_restricted_space_keeps_its_rule() -> None:
    kept = [(1, 2), (2, 0), (0,)]
    space = TINY.restricted(kept)
    same = [tuple(row[k] for row, k in zip(kept, one.choices, strict=True)) for one in space.enumerate()]
    assert same == [(1, 2, 0), (2, 2, 0)]
    for one, choices in zip(space.enumerate(), same, strict=True):
        assert space.network(one) == TINY.network(TINY.architecture(choices))
    assert TINY.restricted([range(3)] * 3) == TINY
    with pytest.raises(InputError, match="no choices of a, b, c keep to their group"):
        TINY.restricted([(0,), (0,), (1, 2)])


def test_groups_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="cannot keep 4"):
        Group((0, 1, 2), (0, 0, 0), 4)
    with pytest.raises(InputError, match="belongs to two groups"):
        tiny((Group((0, 1, 2), (0, 0, 0)), Group((1, 2), (0, 0))))
