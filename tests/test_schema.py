"""Whatever a file holds, its reader gives what was written or refuses it with one kind of message."""

from __future__ import annotations

import copy
import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import tomli_w
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwnas.arch import OpSpec, space_instance
from hwnas.arch.origin import Origin
from hwnas.arch.space import SearchSpace
from hwnas.data.saved import ImageFacts
from hwnas.devices.device import Condition, load_device
from hwnas.devices.host import Facts
from hwnas.devices.job import events
from hwnas.devices.rounds import ANSWER, Round
from hwnas.devices.runner import facts
from hwnas.errors import DeviceError, HwnasError, InputError
from hwnas.events import Events
from hwnas.executors.task import Answer
from hwnas.files import sha256, write_json
from hwnas.latency.journal import _Journal
from hwnas.latency.space_latency import kept_model, latency_model
from hwnas.latency.table import Calibration, LatencyTable, Noise, Row, Validation
from hwnas.latency.table_files import load_table, save_table
from hwnas.meta.earlier import from_samplers, from_search, write_sampler_state
from hwnas.meta.initialisation import load_initialisation
from hwnas.nas.from_scratch_messages import Job, Score, Shared
from hwnas.nas.search_settings import SearchSettings
from hwnas.run.adaptation import Adaptation
from hwnas.run.latency_stage import _KeptModel
from hwnas.run.result import read_architecture, read_result
from hwnas.run.run_folder import RunFolder
from hwnas.run.schedule import kept_adaptation, kept_recipe, kept_settings
from hwnas.schema import DEEPEST, POSITIVE, between, checked, json_as, one_of, read_json, read_json_as, toml_as
from hwnas.train import Recipe
from hwnas.train import checkpoint as store

SPACE = space_instance("toy", width=0.5, resolution=8, channels=1, classes=4)
CHAIN = space_instance("chain", width=0.125, resolution=8, channels=1, classes=4)
ROUND = Round("a", 1, 1, 2.0, 1.5, 2.5, 7, 400.0, 0.1, (1.5, 2.5))
DEEP = 100_000
NASTY = {"@deep": "[" * DEEP + "]" * DEEP, "@infinite": "1e999", "@huge": "9" * 5000}
ODD = [None, True, 0, 1, -1, 1.5, float("nan"), float("inf"), 2**70, 10**400, "", "x", "\ud800", [], [1], [[]], {}]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        write: a valid one into a folder.
        read: it, from that folder.
    """

    name: str
    write: Callable[[Path], Path]
    read: Callable[[Path], Any]


def as_json(content: Any, name: str = "file.json") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        write_json(folder / name, content)
        return folder / name

    return write


def device_file(folder: Path) -> Path:
    device = {"id": "x", "description": "d", "transport": "ssh", "runtime": "litert", "threads": 1, "precision": "fp32"}
    ssh = {"host": "pi.local", "user": "pi", "port": 22}
    (folder / "x.toml").write_text(tomli_w.dumps(device | {"pin": 0, "ssh": ssh}))
    return folder / "x.toml"


def table(folder: Path) -> Path:
    specs = [OpSpec("conv", 1, 8, 8, 8), OpSpec("conv", 8, 8, 8, 8)]
    name = SPACE.signature
    content = LatencyTable(Condition("d", "onnxruntime", "1.32.0", 1, "fp32"))
    content.provenance = {"cpu": "x", "packages": {"onnx": "1"}}
    content.rows = {one.key: Row(one.key, "0" * 16, 2.0, 1.0, 3.0, 5, "2026-01-01", 400.0) for one in specs}
    content.reference_us = 400.0
    content.calibrations[name] = Calibration(1.0, 2.0, 0.1, 24)
    content.validations[name] = Validation(24, 1.0, 1.0, 0.01, 1.0, 1.0, 0.02, 0.01)
    content.noise[name] = Noise(0.1, 0.2, 400.0, 0.01, 0.02)
    content.pairs[name], content.folded[name] = [[1.0, 1.1]], [specs[0].key]
    save_table(content, folder)
    return folder / "meta.toml"


def read_table(folder: Path) -> LatencyTable:
    """The table, with checksums that fit: who changes a file on purpose changes them too."""
    path = folder / "meta.toml"
    try:
        meta = toml_as(path.read_bytes(), dict[str, Any], path)
    except InputError:
        return load_table(folder)
    meta.pop("sha256_meta", None)
    if "sha256" in meta:
        meta["sha256"] = sha256((folder / "table.csv").read_bytes())
    path.write_text(tomli_w.dumps(meta))
    return load_table(folder)


def rows(folder: Path) -> Path:
    table(folder)
    return folder / "table.csv"


def model_of(space: SearchSpace) -> dict[str, Any]:
    model = latency_model(space, lambda spec: 1.0, sigma=0.1)
    return {"origin": {"space": space.name, "condition": "x"}, "model": model.to_json()}


def read_model(space: SearchSpace) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        kept = read_json_as(folder / "latency.json", _KeptModel)
        return kept_model(space, kept.model, folder / "latency.json")

    return read


def sampler(folder: Path) -> Path:
    write_sampler_state(folder / "learned.json", SPACE, "metaqnn", "accuracy", {"q": [[0.5, 1.0]], "seen": {"a": 3}})
    return folder / "learned.json"


def header(kind: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A reader of a checkpoint whose JSON is that of info.json, with the right checksum."""

    def read(folder: Path) -> Any:
        text = (folder / "info.json").read_bytes().decode()
        plain = {"alpha.0": torch.zeros(len(SPACE.decisions), max(SPACE.options))} if kind is from_search else {}
        content = {"hwnas": f"{store.digest(plain, text)} {text}"}
        (folder / "file").write_bytes(store.safetensors.torch.save(plain, content))
        return kind(folder / "file")

    return read


def checkpoint(folder: Path) -> Path:
    store.save(folder / "file", {"x": torch.zeros(2)}, {"epochs_done": 1, "state": 2**100, "rate": 0.1})
    return folder / "file"


INITIALISATION = {
    "version": 1,
    "space": asdict(Origin.of(SPACE)),
    "strategies": {"metaqnn": {"q": [0.5]}},
    "method": {"steps": 3},
    "tasks": {},
    "devices": ["a/b"],
    "metrics": {"history": [[0, 0.5, 0.1]]},
}
RESULT = {
    "budget_ms": 1.0,
    "measured_ms": {"median": 1.5, "bounds": [1.0, None], "p90": 2.0},
    "budget_met": False,
    "verdict": "missed",
    "model": "model.onnx",
    "seconds": 3.0,
    "range_ms": [0.5, 3.0],
    "device": "host",
    "condition": "x/y",
    "runtime": "onnxruntime",
    "precision": "fp32",
    "data": "digits",
    "space": "toy",
    "strategy": "gumbel",
    "seed": 0,
}
SHARED = Shared(Recipe(), 1, "cpu", ImageFacts("digits", ("0", "1"), (0.5,), (0.2,), False))


def journal(folder: Path) -> Path:
    with _Journal(folder / "rounds.jsonl", "x") as kept:
        kept.add(ROUND)
    return folder / "rounds.jsonl"


def read_journal(folder: Path) -> list[Round]:
    with _Journal(folder / "rounds.jsonl", "x") as kept:
        return kept.rounds


def log(folder: Path) -> Path:
    Events(RunFolder(folder).on_event).record({"event": "end", "stage": "search", "seconds": 1.5})
    return folder / "log.jsonl"


def answered(parse: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    """A reader of what a device answers."""

    def read(folder: Path) -> Any:
        def lines() -> Iterator[bytes]:
            yield (folder / "file.json").read_bytes()

        return [parse(event) for event in events(lines())]  # type: ignore[arg-type]

    return read


KINDS = [
    Kind("device", device_file, lambda folder: load_device(str(folder / "x.toml"))),
    Kind("table", table, read_table),
    Kind("rows", rows, read_table),
    Kind("latency", as_json(model_of(SPACE), "latency.json"), read_model(SPACE)),
    Kind("latency of chains", as_json(model_of(CHAIN), "latency.json"), read_model(CHAIN)),
    Kind("search", as_json(asdict(SearchSettings())), lambda path: kept_settings(path / "file.json", SearchSettings)),
    Kind("recipe", as_json(asdict(Recipe())), lambda path: kept_recipe(path / "file.json", Recipe)),
    Kind(
        "adaptation",
        as_json(asdict(Adaptation(4, 2, 16))),
        lambda path: kept_adaptation(path / "file.json", lambda: Adaptation(4, 2, 16)),
    ),
    Kind("data", as_json({"sha256": "x"}, "state/data.json"), lambda folder: RunFolder(folder).same_data("x")),
    Kind("log", log, lambda folder: RunFolder(folder).seconds()),
    Kind(
        "architecture",
        as_json({"choices": [0] * len(SPACE.decisions), "space": "toy"}),
        lambda folder: read_architecture(folder / "file.json", SPACE),
    ),
    Kind("result", as_json(RESULT), lambda folder: read_result(folder / "file.json")),
    Kind("sampler", sampler, lambda folder: from_samplers(folder / "learned.json")),
    Kind("initialisation", as_json(INITIALISATION, "info.json"), header(load_initialisation)),
    Kind("earlier search", as_json({"space": asdict(Origin.of(SPACE))}, "info.json"), header(from_search)),
    Kind("checkpoint", checkpoint, lambda folder: store.load(folder / "file")),
    Kind("score", as_json(asdict(Score(0.5, [1.0]))), lambda folder: read_json_as(folder / "file.json", Score)),
    Kind("shared", as_json(asdict(SHARED)), lambda folder: read_json_as(folder / "file.json", Shared)),
    Kind("job", as_json(asdict(Job([], 1))), lambda folder: read_json_as(folder / "file.json", Job)),
    Kind("answer", as_json(asdict(Answer(kind="a"))), lambda folder: read_json_as(folder / "file.json", Answer)),
    Kind("journal", journal, read_journal),
    Kind("hello", as_json(facts() | {"event": "hello"}), answered(Facts.from_json)),
    Kind("round", as_json(ROUND.to_json() | {"event": "round"}), answered(Round.from_json)),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_hwnas_writes_is_read(kind: Kind, tmp_path: Path) -> None:
    kind.write(tmp_path)
    if kind.name in ("hello", "round"):  # of a stream, which ends here
        with pytest.raises(DeviceError, match="ended before it was done"):
            kind.read(tmp_path)
    else:
        kind.read(tmp_path)


def nodes(content: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield where
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield from nodes(content[key], (*where, key))


@st.composite
def damaged(draw: st.DrawFn, sound: bytes, suffix: str) -> bytes:
    """A file with one node replaced, left out or added, or with other bytes."""
    text = sound.decode("utf-8", "replace")
    how = draw(st.sampled_from(["node", "node", "node", "node", "key", "cut", "bytes", "encoding", "deep", "nasty"]))
    if how in ("node", "key", "nasty") and suffix in (".json", ".jsonl", ".toml"):
        *before, last = text.splitlines() if suffix == ".jsonl" else [text]
        content = copy.deepcopy(tomllib.loads(last) if suffix == ".toml" else json.loads(last))
        where = draw(st.sampled_from(list(nodes(content))))
        value = draw(st.sampled_from(list(NASTY) if how == "nasty" else ODD))
        holder: Any = {"all": content}
        inside = ("all", *where)
        for key in inside[:-1]:
            holder = holder[key]
        if how != "key":
            holder[inside[-1]] = value
        elif isinstance(holder, dict) and where:
            del holder[where[-1]]
            holder[draw(st.sampled_from(["more", where[-1] if isinstance(where[-1], str) else "x"]))] = value
        content = content if where else holder.get("all")
        if suffix == ".toml":
            try:
                written = tomli_w.dumps(content)
            except (TypeError, AttributeError, ValueError):  # TOML has no null, and is a table
                written = "x = "
        else:
            written = json.dumps(content)
        for name, nasty in NASTY.items():
            written = written.replace(f'"{name}"', nasty)
        return "\n".join([*before, written]).encode("utf-8", "surrogatepass")
    if how == "encoding":
        return text.encode(draw(st.sampled_from(["utf-16", "utf-8-sig", "utf-32-be"])))
    if how == "deep":
        return b".".join([b"a"] * DEEP) + b" = 1" if draw(st.booleans()) else b'{"a":' * DEEP + b"1" + b"}" * DEEP
    at = draw(st.integers(0, len(sound)))
    return sound[:at] if how == "cut" else sound[:at] + draw(st.binary(max_size=8)) + sound[at + 1 :]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_file_is_read_or_refused_by_name(kind: Kind, tmp_path: Path) -> None:
    path = kind.write(tmp_path)
    sound = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}

    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(damaged(sound[path], path.suffix))
    def check(content: bytes) -> None:
        shutil.rmtree(tmp_path)
        for one, whole in sound.items():
            one.parent.mkdir(parents=True, exist_ok=True)
            one.write_bytes(content if one == path else whole)
        if path.name == "info.json":  # of the header of another file
            try:
                content.decode()
            except UnicodeDecodeError:
                return
        try:
            kind.read(tmp_path)
            said = str(tmp_path)
        except HwnasError as error:
            said = str(error)
        assert any(source in said for source in (str(tmp_path), ANSWER, "measuring"))

    check()


@dataclass(frozen=True)
class Inner:
    size: Annotated[int, between(1, 9)] = 1


@dataclass(frozen=True)
class Sample:
    name: Annotated[str, one_of("a", "b")]
    rate: Annotated[float, POSITIVE]
    pair: tuple[int, int] = (1, 2)
    on: bool = False
    inner: Inner | None = None
    more: list[str] | None = None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": "c", "rate": 1}', "F: name must be one of a, b, not 'c'"),
        ('{"name": 1, "rate": 1}', "F: name must be one of a, b, not 1"),
        ('{"name": "a", "rate": "1"}', "F: rate must be a number above 0, not '1'"),
        ('{"name": "a", "rate": true}', "F: rate must be a number above 0, not True"),
        ('{"name": "a", "rate": NaN}', "F: rate must be a finite number, not nan"),
        ('{"name": "a", "rate": 1e999}', "F: rate must be a finite number, not inf"),
        ('{"name": "a", "rate": 9223372036854775808}', "F: rate must be an integer of at most 9.22e+18, not 922"),
        ('{"name": "a", "rate": 1, "pair": [1]}', "F: pair[1] is missing"),
        ('{"name": "a", "rate": 1, "pair": [1, 2.0]}', "F: pair[1] must be an integer, not 2.0"),
        ('{"name": "a", "rate": 1, "on": 1}', "F: on must be true or false, not 1"),
        ('{"name": "a", "rate": 1, "inner": 3}', "F: inner must be a table, not 3"),
        ('{"name": "a", "rate": 1, "inner": {"size": 10}}', "F: inner.size must be an integer of at least 1 and at m"),
        ('{"name": "a", "rate": 1, "more": ["x", 1]}', "F: more[1] must be a string, not 1"),
        ('{"name": "a", "rate": 1, "inner": {"sice": 1}}', "F: inner.sice is an unknown key"),
        ('{"name": "a"}', "F: rate is missing"),
        ("{}", "F: name and rate are missing"),
        ("[]", "F must be a table, not []"),
        ('{"name": "a", "rate": 1, "name": "b"}', "F is not valid JSON: the key 'name' is there twice"),
        ('{"name": "\\ud800", "rate": 1}', "F: name must be Unicode text, not '\\ud800'"),
        ('{"name": "a", "rate": 1, "\\udfff": 1}', "F must be Unicode text, not '\\udfff'"),
        ('{"name": "a", "rate": ' + "9" * 5000 + "}", "F is not valid JSON: Exceeds the limit"),
        ("", "F is not valid JSON: Expecting value"),
        ("\ufeff{}", "F is not valid JSON: Unexpected UTF-8 BOM"),
        ('{"name": ', "F is not valid JSON: Expecting value"),
        ("[" * DEEP, "F must be nested at most 64 deep, not deeper"),
        ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "F must be nested at most 64 deep, not deeper"),
        (
            '{"name": "a", "rate": 1, "more": ["' + "x" * 99 + '", 1, {"a": "' + "y" * 99 + '"}]}',
            "F: more[1] must be a",
        ),
    ],
)
def test_messages(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        json_as(text, Sample, "F", extra="forbid", hint="look")
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 200
    near = "did you mean 'size'? allowed keys: size"
    assert caught.value.hint == (near if "sice" in text else "look")


def test_values_come_back_as_they_were() -> None:
    read = json_as('{"name": "a", "rate": 2, "inner": {"size": 3, "new": 1}, "pair": [0, -1]}', Sample, "F")
    assert read == Sample("a", 2.0, (0, -1), inner=Inner(3))
    assert toml_as('name = "b"\nrate = 0.5\n', Sample, "F") == Sample("b", 0.5)
    assert checked([1, {"a": None}], list[Any], "F") == [1, {"a": None}]  # type: ignore[misc]
    nested = json.loads("[" * DEEPEST + "]" * DEEPEST)
    assert checked(nested, list[Any], "F") == nested


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63) + 1, 2**63 - 1)))
def test_numbers_keep_every_bit(numbers: list[float]) -> None:
    read = json_as(json.dumps(numbers), list[Any], "F")
    assert json.dumps(read) == json.dumps(numbers)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="must be at most 64 MiB, not 1048576 MiB"):
        read_json_as(tmp_path / "x.json", Sample)
    with pytest.raises(InputError, match=r"cannot read .*absent"):
        read_json_as(tmp_path / "absent", Sample)
    with pytest.raises(InputError, match="cannot read"):
        read_json_as(tmp_path, Sample)


def test_a_key_that_is_twice_among_very_many_is_found_at_once(tmp_path: Path) -> None:
    """In the square of their number it would take minutes."""
    path = tmp_path / "many.json"
    path.write_text("{" + ", ".join(f'"{key}": 0' for key in [*range(150_000), 149_999]) + "}")
    with pytest.raises(InputError, match=r"the key .149999. is there twice"):
        read_json(path)
