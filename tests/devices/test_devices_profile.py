"""The loop that fills up rounds: what it measures, what it measures again, and where it stops."""

from __future__ import annotations

from pathlib import Path

from device_models import HOST, FakeStream, a_round
from hypothesis import given
from hypothesis import strategies as st

from hwnas.devices.estimate import accepted
from hwnas.devices.profile import profile_rounds
from hwnas.devices.rounds import Round

MODELS = {name: Path(f"{name}.onnx") for name in "abc"}
REFERENCE_MODEL = Path("reference.onnx")


def quiet(name: str, turn: int) -> float:
    return 100.0


def test_one_pass_when_nothing_disturbs() -> None:
    stream, seen = FakeStream(quiet), []
    rounds = profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=5, stream=stream, on_round=seen.append)
    assert stream.passes == [(["a", "b", "c"], 5)]
    assert rounds == seen
    assert len(rounds) == 15


def test_only_what_ran_in_a_burst_is_measured_again() -> None:
    stream = FakeStream(lambda name, turn: 130.0 if name == "b" and turn < 10 else 100.0)
    rounds = profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=7, min_accepted=3, stream=stream)
    assert stream.passes == [(["a", "b", "c"], 7), (["b"], 3), (["b"], 3)]
    assert sum(one.name == "b" for one in accepted(rounds)) == 3


def test_extra_passes_are_bounded() -> None:
    stream = FakeStream(lambda name, turn: 130.0 if name == "b" else 100.0)
    profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=4, max_extra=2, stream=stream)
    assert stream.passes == [(["a", "b", "c"], 4), (["b"], 3), (["b"], 3)]


def test_deadline_stops_inside_a_pass() -> None:
    assert len(profile_rounds(HOST, MODELS, REFERENCE_MODEL, deadline_s=0, stream=FakeStream(quiet))) == 1


@given(st.integers(0, 15), st.integers(1, 5))
def test_resume_measures_only_what_is_missing(killed_after: int, rounds: int) -> None:
    first = profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=5, stream=FakeStream(quiet))[:killed_after]
    stream = FakeStream(quiet)
    result = profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=5, done=first, stream=stream)
    assert result[:killed_after] == first
    assert {name: sum(one.name == name for one in result) for name in MODELS} == dict.fromkeys(MODELS, 5)
    assert len({(one.name, one.round) for one in result}) == 15
    assert sum(len(names) * count for names, count in stream.passes) == 15 - killed_after


def test_earlier_rounds_of_other_models_are_left_out() -> None:
    done: list[Round] = [a_round(1, 1, name="gone", round=9)]
    rounds = profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=3, done=done, stream=FakeStream(quiet))
    assert {one.name for one in rounds} == set(MODELS)
    assert min(one.round for one in rounds) == 10


def test_what_processes_disagree_on_is_measured_again_until_two_agree() -> None:
    floors = {0: 60.0, 5: 50.0, 10: 56.0, 13: 50.5}  # of b, by the first round of the process

    def median_us(name: str, turn: int) -> float:
        return floors[max(start for start in floors if start <= turn)] if name == "b" else 50.0

    first = profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=5, max_extra=0, stream=FakeStream(quiet, median_us))
    stream = FakeStream(quiet, median_us)
    profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=10, max_extra=6, tolerance=0.02, done=first, stream=stream)
    assert stream.passes == [(["a", "b", "c"], 5), (["b"], 3), (["b"], 3)]
    for options in ({"tolerance": None}, {"tolerance": 0.25}, {"tolerance": 0.02, "max_extra": 0}):
        stream = FakeStream(quiet, median_us)
        profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=10, done=first, stream=stream, **options)  # type: ignore[arg-type]
        assert stream.passes == [(["a", "b", "c"], 5)]


def test_one_process_agrees_with_itself() -> None:
    stream = FakeStream(quiet)
    profile_rounds(HOST, MODELS, REFERENCE_MODEL, rounds=5, tolerance=0.0, stream=stream)
    assert len(stream.passes) == 1
