"""Tables of others: what comes out of a file is what went in, and what cannot be a latency is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from latency_fakes import TOY, row_us, table_of

from hwnas.arch import OpSpec, SlotSpace, space_instance
from hwnas.arch.costs import macs
from hwnas.errors import InputError, MissingRowsError, TableError
from hwnas.latency.held_instance import folded_keys, held_as, held_instance
from hwnas.latency.imported import FORMATS, import_table, save_imported
from hwnas.latency.missing_rows import lacking
from hwnas.latency.table import Calibration, LatencyTable
from hwnas.latency.table_files import load_table, save_table
from hwnas.latency.table_model import model_of
from hwnas.nas.decode import decode
from hwnas.resources import resource_folder

SPACE = space_instance("fbnet", width=1.0, resolution=32, channels=3, classes=100)
OPTIONS = SPACE.decisions[0].options
LAYERS = [slot for slot in SPACE.slots if slot.decision is not None]
CONSTANT_MS = 2.5


def made_up_ms(spec: OpSpec) -> float:
    """A latency of an op relative to a skip; MobileNet-like speeds, no two alike."""
    return 0.05 + row_us(spec.key) / 1e3


def lut(change: Callable[[dict[str, Any]], object] | None = None) -> dict[str, Any]:
    """A layer x op table as `fbnet_lut_pixel3.json` is."""
    layers = [[*map(made_up_ms, slot.ops[:-1]), 0.0] for slot in LAYERS]
    phone = {"relative_to_skip_ms": layers, "all_skip_total_ms": CONSTANT_MS}
    content = {"source": "made up", "dataset": "cifar100 (32x32)", "ops": list(OPTIONS), "layers": 22}
    content["devices"] = {"phone": phone}
    if change is not None:
        change(content)
    return content


OFA = """
Conv-input:224x224x3-output:112x112x16: {mean: 2.5}
expanded_conv-input:112x112x16-output:56x56x24-expand:64-kernel:3-stride:2-idskip:0-se:0-hs:0: {mean: 4.5}
expanded_conv-input:28x28x40-output:28x28x40-expand:240-kernel:5-stride:1-idskip:1-se:1-hs:1: {mean: 3.5}
expanded_conv-input:28x28x40-output:28x28x40-expand:144-kernel:5-stride:1-idskip:1-se:1-hs:1: {mean: 3.0}
AvgPool2D-input:7x7x960-output:1x1x960: {mean: 0.125}
Conv_2-input:1x1x960-output:1x1x1280: {mean: 0.75}
Logits-input:1x1x1280-output:1000: {mean: 0.5}
"""


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "file"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def phone(content: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = content["devices"]["phone"]
    return found


# FBNet's layer x op tables.


def test_a_layer_x_op_table_predicts_its_own_sums(tmp_path: Path) -> None:
    content = lut()
    found = import_table(written(tmp_path, content), "fbnet", "phone")
    save_imported(found.table, tmp_path / "table")
    table = load_table(tmp_path / "table")
    assert table == found.table
    assert (table.kind, table.condition, table.validations) == ("imported", "imported", {})
    assert not lacking(table, SPACE)
    model = model_of(table, SPACE)
    assert (model.sigma, model.slope) == (0.0, 1.0)
    layers = content["devices"]["phone"]["relative_to_skip_ms"]
    rng = np.random.default_rng(0)
    for choices in rng.integers(9, size=(50, 22)).tolist():
        expected_ms = CONSTANT_MS + sum(row[choice] for row, choice in zip(layers, choices, strict=True))
        assert model.predict_ms(choices) == pytest.approx(expected_ms, abs=22 * 0.5e-6)
    assert model.smallest_ms == pytest.approx(CONSTANT_MS)


def test_the_best_architecture_within_a_budget_is_decoded_from_it(tmp_path: Path) -> None:
    model = model_of(import_table(written(tmp_path, lut()), "fbnet", "phone").table, SPACE)
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(22, 9)).tolist()
    budget_ms = 4.0
    found = decode(scores, model.costs_ms, model.raw_budget_ms(model.target_ms(budget_ms)))
    assert found is not None
    assert model.predict_ms(found) <= budget_ms

    def score(choices: Any) -> float:
        return sum(row[choice] for row, choice in zip(scores, choices, strict=True))

    for choices in rng.integers(9, size=(2000, 22)).tolist():
        assert model.predict_ms(choices) > budget_ms or score(choices) <= score(found)


def test_ops_in_another_order_mean_the_same(tmp_path: Path) -> None:
    def backwards(content: dict[str, Any]) -> None:
        content["ops"] = content["ops"][::-1]
        phone(content)["relative_to_skip_ms"] = [row[::-1] for row in phone(content)["relative_to_skip_ms"]]

    usual = import_table(written(tmp_path, lut()), "fbnet", "phone").table
    other = import_table(written(tmp_path, lut(backwards)), "fbnet", "phone").table
    assert {key: row.median_us for key, row in usual.rows.items()} == {
        key: row.median_us for key, row in other.rows.items()
    }


def test_it_serves_the_instance_that_it_was_made_for_and_no_larger_one(tmp_path: Path) -> None:
    table = import_table(written(tmp_path, lut()), "fbnet", "phone").table
    for other in (
        space_instance("fbnet", width=1.0, resolution=32, channels=3, classes=101),
        space_instance("fbnet", width=1.0, resolution=32, channels=4, classes=10),
        space_instance("fbnet", width=0.5, resolution=32, channels=3, classes=100),
        space_instance("fbnet", width=1.0, resolution=224, channels=3, classes=1000),
        TOY,
    ):
        assert held_as(table, other) is None
        with pytest.raises(MissingRowsError) as caught:
            model_of(table, other)
        assert "import" in caught.value.hint
        assert set(caught.value.keys) == {spec.key for spec in lacking(table, other).rows}
    ten = import_table(written(tmp_path, lut()), "fbnet", "phone", classes=10).table
    assert model_of(ten, space_instance("fbnet", width=1.0, resolution=32, channels=3, classes=10))


def test_fewer_channels_and_classes_take_no_more_than_it_says(tmp_path: Path) -> None:
    """What it does not tell apart is larger in the instance that it was made for, and nothing else is different."""
    table = import_table(written(tmp_path, lut()), "fbnet", "phone").table
    own = model_of(table, SPACE)
    for channels, classes in ((3, 10), (1, 100), (1, 2)):
        smaller = space_instance("fbnet", width=1.0, resolution=32, channels=channels, classes=classes)
        assert held_as(table, smaller) == SPACE.signature
        assert not lacking(table, smaller)
        assert model_of(table, smaller) == own
        held = {key for key in folded_keys(table, smaller) if key not in folded_keys(table, SPACE)}
        assert held == {spec.key for spec in smaller.ops} - {spec.key for spec in SPACE.ops}
        for slot, other in zip(smaller.slots, SPACE.slots, strict=True):
            pairs = zip(slot.ops, other.ops, strict=True)
            assert all(macs(one.graph) < macs(two.graph) if one != two else True for one, two in pairs)
    table.kind = "measured"  # whose rows are known one by one
    assert held_as(table, SPACE) == SPACE.signature
    assert held_as(table, space_instance("fbnet", width=1.0, resolution=32, channels=1, classes=10)) is None


def test_the_nearest_of_several_instances_serves(tmp_path: Path) -> None:
    table = import_table(written(tmp_path, lut()), "fbnet", "phone").table
    table.calibrations["fbnet@w1-r32-i3-o20"] = table.calibrations["fbnet@w1-r32-i1-o50"] = Calibration(1, 1, 0, 0)
    assert held_instance(table, "fbnet@w1-r32", 3, 10) == "fbnet@w1-r32-i3-o20"
    assert held_instance(table, "fbnet", 1, 30) == "fbnet@w1-r32-i1-o50"
    assert held_instance(table, "fbnet", 2, 30) == SPACE.signature
    assert held_instance(table, "mobile", 1, 10) is None


PUBLISHED = {
    "8018810502714108000864": 8.321628,
    "3447108350188266407521": 17.711139,
    "7267738820373763123375": 30.120876,
}
"""Networks of HELP's `fbnet_latency.npz`, a digit for the op of each layer, and their milliseconds on the Pixel 3."""


@pytest.mark.parametrize("ops", PUBLISHED)
def test_the_table_that_comes_with_hwnas_predicts_what_was_published(ops: str) -> None:
    table = load_table(resource_folder("latency_tables") / "pixel3" / "imported")
    assert (table.kind, table.provenance["licence"]) == ("imported", "MIT")
    assert "HW-NAS-Bench" in table.provenance["credit"]
    assert str(table.provenance["sha256"]).startswith("7bfb6ccecf8b4a86")
    assert model_of(table, SPACE).predict_ms([int(op) for op in ops]) == pytest.approx(PUBLISHED[ops], abs=1e-5)


def set_layer(index: int, value: Any, option: int = 0) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        phone(content)["relative_to_skip_ms"][index][option] = value

    return change


BAD_LUTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no devices": (lambda content: content.pop("devices"), "devices"),
    "devices a list": (lambda content: content.update(devices=[1]), "devices"),
    "a device that is a number": (lambda content: content.update(devices={"phone": 3}), "phone"),
    "two devices": (lambda content: content["devices"].update(other={}), "--entry|several devices"),
    "no constant": (lambda content: phone(content).pop("all_skip_total_ms"), "all_skip_total_ms"),
    "a constant of zero": (lambda content: phone(content).update(all_skip_total_ms=0.0), "all_skip_total_ms"),
    "no ops": (lambda content: content.pop("ops"), "ops"),
    "an op missing": (lambda content: content["ops"].pop(), "ops"),
    "an unknown op": (lambda content: content["ops"].__setitem__(0, "k9_e9"), "k9_e9"),
    "an op twice": (lambda content: content["ops"].__setitem__(0, content["ops"][1]), "ops"),
    "a layer missing": (lambda content: phone(content)["relative_to_skip_ms"].pop(), "22 layers"),
    "a latency missing": (lambda content: phone(content)["relative_to_skip_ms"][4].pop(), "layer 4"),
    "a layer that is a number": (lambda content: phone(content)["relative_to_skip_ms"].__setitem__(3, 1.0), "layer 3"),
    "NaN": (set_layer(7, float("nan")), r"relative_to_skip_ms\[7\]\[0\] must be"),
    "infinity": (set_layer(7, float("inf")), r"relative_to_skip_ms\[7\]\[0\] must be"),
    "negative": (set_layer(7, -0.1), "layer 7, k3_e1"),
    "zero": (set_layer(7, 0.0), "layer 7, k3_e1"),
    "huge": (set_layer(7, 1e300), "layer 7, k3_e1"),
    "a huge integer": (set_layer(7, 10**400), r"relative_to_skip_ms\[7\]\[0\] must be"),
    "a truth value": (set_layer(7, True), "layer 7, k3_e1"),
    "null": (set_layer(7, None), "layer 7, k3_e1"),
    "a list": (set_layer(7, [1.0]), "layer 7, k3_e1"),
    "skip with a latency": (set_layer(7, 0.3, 8), "layer 7 is relative to skip"),
    "skip that is null": (set_layer(7, None, 8), "layer 7 is relative to skip"),
    "one op at two speeds": (set_layer(3, 9.0), "layer 2, k3_e1 and layer 3, k3_e1"),
    "a data set of another size": (lambda content: content.update(dataset="ImageNet"), "--resolution|which image size"),
}


@pytest.mark.parametrize("case", BAD_LUTS)
def test_bad_layer_x_op_tables_are_refused_with_one_message(case: str, tmp_path: Path) -> None:
    change, named = BAD_LUTS[case]
    with pytest.raises(TableError, match=named) as caught:
        import_table(written(tmp_path, lut(change)), "fbnet", "phone")
    assert "cannot be imported as fbnet" in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(lut(lambda content: content.update(source="\ud800"))), "source must be Unicode text"),
        (json.dumps(lut()).replace('"phone"', '"\\ud800"'), "devices must be Unicode text"),
        (json.dumps(lut()).replace('"layers": 22', '"layers": 22, "layers": 22'), "the key 'layers' is there twice"),
        (json.dumps(lut()).replace('"layers": 22', '"layers": ' + "9" * 5000), "Exceeds the limit"),
        (json.dumps(lut()).replace('"layers": 22', '"layers": ' + "[" * 100 + "]" * 100), "nested at most 64 deep"),
        (json.dumps(lut()).replace('"layers": 22', '"layers": NaN'), "layers must be a finite number"),
        ("", "not valid JSON"),
    ],
    ids=["surrogate", "surrogate key", "twice", "huge integer", "deep", "NaN", "empty"],
)
def test_json_of_any_sort_is_refused_by_its_place(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(TableError, match=message):
        import_table(path, "fbnet", "board")


def test_a_size_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="32 pixels, not at 224"):
        import_table(written(tmp_path, lut()), "fbnet", "phone", resolution=224)
    without = written(tmp_path, lut(lambda content: content.pop("dataset")))
    found = import_table(without, "fbnet", "phone", resolution=32, classes=100)
    assert list(found.table.calibrations) == [SPACE.signature]


# CSV.


def csv_of(column: str, rows: dict[str, float]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerows([["note", "key", column], *(["x", key, value] for key, value in rows.items())])
    return buffer.getvalue()


specs = st.builds(
    lambda channels, size, kernel: OpSpec("conv", channels, 8, size, size, kernel=kernel),
    st.integers(1, 64),
    st.integers(4, 64),
    st.sampled_from([1, 3, 5]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.dictionaries(specs.map(lambda spec: spec.key), st.integers(1, 10**9), min_size=1, max_size=6),
    column=st.sampled_from(["latency_us", "median_us", "latency_ms"]),
)
def test_a_csv_comes_back_as_it_was(rows: dict[str, int], column: str, tmp_path: Path) -> None:
    factor = 1e3 if column.endswith("_ms") else 1.0
    latencies = {key: thousandths / 1000 / factor for key, thousandths in rows.items()}
    unit = column.rpartition("_")[2]
    table = import_table(written(tmp_path, csv_of(column, latencies)), "csv", "board", unit=unit).table
    save_table(table, tmp_path / "table")
    loaded = load_table(tmp_path / "table")
    assert loaded == table
    assert {key: row.median_us for key, row in loaded.rows.items()} == pytest.approx(
        {key: thousandths / 1000 for key, thousandths in rows.items()}, rel=1e-9
    )


def test_a_table_of_hwnas_is_such_a_csv_and_is_searched_as_it_is(tmp_path: Path) -> None:
    save_table(table_of(), tmp_path / "mine")
    found = import_table(tmp_path / "mine" / "table.csv", "csv", "board", unit="us").table
    model = model_of(found, TOY)
    for architecture in TOY.enumerate():
        rows = [row_us(spec.key) for _, spec in TOY.network(architecture).ops if spec.kind != "skip"]
        assert model.predict_ms(architecture.choices) == pytest.approx(sum(rows) / 1e3, rel=1e-12)
    del found.rows[TOY.ops[2].key]
    with pytest.raises(MissingRowsError, match="lacks 1 row or") as caught:
        model_of(found, TOY)
    assert caught.value.keys == (TOY.ops[2].key,)


KEY = "conv-i8-o8-h8-w8-k3"
BAD_CSVS = {
    "empty": ("", "column key"),
    "no unit": (f"key,latency\n{KEY},1\n", "latency_us"),
    "two units": (f"key,latency_us,latency_ms\n{KEY},1,1\n", "one of"),
    "no rows": ("key,latency_us\n", "no row"),
    "a field too many": (f"key,latency_us\n{KEY},1,2\n", "line 2"),
    "a field too few": (f"key,latency_us\n{KEY}\n", "line 2"),
    "not a number": (f"key,latency_us\n{KEY},fast\n", "line 2"),
    "NaN": (f"key,latency_us\n{KEY},nan\n", "line 2"),
    "infinite": (f"key,latency_us\n{KEY},inf\n", "line 2"),
    "negative": (f"key,latency_us\n{KEY},-1\n", "line 2"),
    "zero": (f"key,latency_us\n{KEY},0\n", "line 2"),
    "less than a nanosecond": (f"key,latency_us\n{KEY},0.0001\n", "line 2"),
    "years": (f"key,latency_us\n{KEY},1e15\n", "line 2"),
    "no op": ("key,latency_us\nnonsense,1\n", "nonsense"),
    "an op that costs nothing": ("key,latency_us\nskip-i8-o8-h8-w8,1\n", "computes nothing"),
    "twice, and different": (f"key,latency_us\n{KEY},10\n{KEY},20\n", "line 2 and line 3"),
    "a huge field": ("key,latency_us\n" + "x" * 200_000 + ",1\n", "line"),
    "NUL bytes": (f"key,latency_us\n{KEY},1\x00\n", "line 2"),
    "a quote that never ends": ('key,latency_us\n"' + "x" * 200_000, "line"),
}


def test_rows_of_ops_that_hwnas_does_not_know_are_counted_and_left_out(tmp_path: Path) -> None:
    """Refused is only a file without any row that it knows."""
    lines = [f"{KEY},50", "attention-i8-o8-h8-w8,60", "attention-i8-o8-h4-w4,9", "conv-i8-o8-h8-w8-q7,5", ",1"]
    found = import_table(written(tmp_path, "\n".join(["key,latency_us", *lines]) + "\n"), "csv", "board")
    assert list(found.table.rows) == [KEY]
    assert found.left_out == {"'attention' ops": 2, "keys of conv that are none of hwnas": 1, "'' ops": 1}
    with pytest.raises(TableError, match="no row for an op of hwnas, but 2 of 'attention' ops, 1 of keys of conv"):
        import_table(written(tmp_path, "\n".join(["key,latency_us", *lines[1:]]) + "\n"), "csv", "board")


@pytest.mark.parametrize("case", BAD_CSVS)
def test_bad_csvs_are_refused_with_one_message(case: str, tmp_path: Path) -> None:
    content, named = BAD_CSVS[case]
    with pytest.raises(TableError, match=named):
        import_table(written(tmp_path, content), "csv", "board")


# Units, names, files.


def networks_ms(space: SlotSpace, speed: float) -> dict[str, float]:
    """Rows of a device that makes `speed` multiply-adds a second."""
    return {spec.key: macs(spec.graph) / speed * 1e3 for spec in space.ops if macs(spec.graph)}


@pytest.mark.parametrize(
    ("speed", "column", "believed"),
    [
        (3e9, "latency_ms", True),  # a phone
        (3e9, "latency_us", False),  # its milliseconds under the name of microseconds
        (5e7, "latency_ms", True),  # a microcontroller
        (5e10, "latency_ms", True),  # a workstation
    ],
)
def test_milliseconds_are_not_taken_for_microseconds(speed: float, column: str, believed: bool, tmp_path: Path) -> None:
    mobile = space_instance("mobile", width=1.0, resolution=96, channels=3, classes=10)
    path = written(tmp_path, csv_of(column, networks_ms(mobile, speed)))
    if believed:
        import_table(path, "csv", "board")
        return
    with pytest.raises(TableError, match="multiply-adds a second") as caught:
        import_table(path, "csv", "board")
    assert "--unit" in caught.value.hint
    table = import_table(path, "csv", "board", unit="ms").table
    key, ms = next(iter(networks_ms(mobile, speed).items()))
    assert table.rows[key].median_us == pytest.approx(1e3 * ms, abs=1e-3)
    assert import_table(path, "csv", "board", unit="us").table.rows[key].median_us == pytest.approx(ms, abs=1e-3)


def test_seconds_are_not_taken_for_milliseconds(tmp_path: Path) -> None:
    def seconds(content: dict[str, Any]) -> None:
        rows = [[*(1e3 * macs(spec.graph) / 3e6 for spec in slot.ops[:-1]), 0.0] for slot in LAYERS]  # of a phone
        phone(content)["relative_to_skip_ms"] = rows

    with pytest.raises(TableError, match="multiply-adds a second"):
        import_table(written(tmp_path, lut(seconds)), "fbnet", "phone")


@pytest.mark.parametrize(
    "options", [{"form": "excel"}, {"unit": "ns"}, {"device": "../up"}, {"device": ""}, {"device": "Two Words"}]
)
def test_wrong_options_are_refused(options: dict[str, str], tmp_path: Path) -> None:
    words = {"form": "csv", "device": "board"} | options
    with pytest.raises(InputError):
        import_table(written(tmp_path, csv_of("latency_us", {KEY: 5.0})), **words)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMATS)
def test_files_that_cannot_be_read_are_refused(form: str, tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(TableError, match="cannot read"):
            import_table(path, form, "board")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TableError, match="larger"):
        import_table(large, form, "board")
    path = tmp_path / "bytes"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TableError, match="UTF-8"):
        import_table(path, form, "board")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(form=st.sampled_from(FORMATS), content=st.binary(max_size=120), at=st.integers(0, 600))
def test_random_damage_is_a_table_error_or_harmless(form: str, content: bytes, at: int, tmp_path: Path) -> None:
    sound = {"fbnet": json.dumps(lut()), "ofa": OFA, "csv": csv_of("latency_us", {KEY: 50.0})}[form].encode()
    path = tmp_path / "file"
    path.write_bytes(sound[:at] + content + sound[at + len(content) :])
    try:
        table = import_table(path, form, "board").table
    except TableError:
        return
    assert all(row.median_us > 0 for row in table.rows.values())


def test_an_import_replaces_an_import_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    for us in (50.0, 60.0):
        table = import_table(written(tmp_path, csv_of("latency_us", {KEY: us})), "csv", "board").table
        save_imported(table, folder)
        assert load_table(folder).rows[KEY].median_us == us
    save_table(LatencyTable(table.under, rows=table.rows), tmp_path / "measured")
    with pytest.raises(TableError, match="not imported"):
        save_imported(table, tmp_path / "measured")
