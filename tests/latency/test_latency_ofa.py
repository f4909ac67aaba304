"""Rows of ProxylessNAS and Once-for-All: layers become the ops that they are, and nothing else is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from latency_fakes import row_us

from hwnas.arch import OpSpec, mobilenet_v2
from hwnas.errors import TableError
from hwnas.latency.imported import import_table


def made_up_ms(spec: OpSpec) -> float:
    return 0.05 + row_us(spec.key) / 1e3


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "file"
    path.write_text(content)
    return path


PROXYLESS = """---
# rows as old and new versions of PyYAML write them
Conv-input:224x224x3-output:112x112x32: {count: 10, mean: 3.5}
expanded_conv-input:112x112x32-output:112x112x16-expand:1-kernel:3-stride:1-idskip:0:
  count: 10
  mean: 6.5
expanded_conv-input:56x56x24-output:56x56x24-expand:6-kernel:5-stride:1-idskip:1: {count: 10,
  mean: 8.25, std: 0.5}
expanded_conv-input:56x56x24-output:28x28x40-expand:3-kernel:7-stride:2-idskip:0: {mean: 4.75}
expanded_conv-input:56x56x24-output:56x56x24-expand:6-kernel:5-stride:1-idskip:0: {mean: 8.0}
"Conv_1-input:7x7x320-output:7x7x1280": {mean: 2.5}
Logits-input:7x7x1280-output:1000: {mean: 0.75}
"""
V3 = """
Conv-input:224x224x3-output:112x112x16: {mean: 2.5}
expanded_conv-input:112x112x16-output:56x56x24-expand:64-kernel:3-stride:2-idskip:0-se:0-hs:0: {mean: 4.5}
expanded_conv-input:28x28x40-output:28x28x40-expand:240-kernel:5-stride:1-idskip:1-se:1-hs:1: {mean: 3.5}
expanded_conv-input:28x28x40-output:28x28x40-expand:144-kernel:5-stride:1-idskip:1-se:1-hs:1: {mean: 3.0}
AvgPool2D-input:7x7x960-output:1x1x960: {mean: 0.125}
Conv_2-input:1x1x960-output:1x1x1280: {mean: 0.75}
Logits-input:1x1x1280-output:1000: {mean: 0.5}
"""


def test_rows_of_proxylessnas_become_ops(tmp_path: Path) -> None:
    found = import_table(written(tmp_path, PROXYLESS), "ofa", "pixel1")
    assert {key: row.median_us for key, row in found.table.rows.items()} == {
        "conv-i3-o32-h224-w224-k3-s2-relu6": 3500.0,
        "mbconv-i32-o16-h112-w112-k3-relu6": 6500.0,
        "mbconv-i24-o24-h56-w56-k5-e6-relu6": 8250.0,
        "mbconv-i24-o40-h56-w56-k7-s2-e3-relu6": 4750.0,
        "conv-i320-o1280-h7-w7-relu6": 2500.0,
        "classifier-i1280-o1000-h7-w7": 750.0,
    }
    assert found.left_out == {"blocks of one shape without a residual": 1}


def test_rows_of_once_for_all_become_ops(tmp_path: Path) -> None:
    found = import_table(written(tmp_path, V3), "ofa", "note10")
    assert {key: row.median_us for key, row in found.table.rows.items()} == {
        "conv-i3-o16-h224-w224-k3-s2-hswish": 2500.0,
        "mbconv-i16-o24-h112-w112-k3-s2-e4-relu": 4500.0,
        "mbconv-i40-o40-h28-w28-k5-e6-se4-hswish": 3500.0,
        OpSpec("mbconv", 40, 40, 28, 28, kernel=5, se=4, act="hswish", mid=144).key: 3000.0,
        "conv-i960-o1280-h1-w1-hswish": 750.0,
        "classifier-i1280-o1000-h1-w1": 500.0,
    }
    assert found.left_out == {"AvgPool2D layers": 1}


def test_layers_that_hwnas_does_not_know_are_counted_and_left_out(tmp_path: Path) -> None:
    names = ("something", "Attention-heads:8", ROW.replace("-idskip:1", ""), f"{ROW}-ca:1")
    strange = "".join(f"{name}: {{mean: 1.0}}\n" for name in names)
    found = import_table(written(tmp_path, PROXYLESS + strange), "ofa", "board")
    assert len(found.table.rows) == 6
    assert found.left_out == {
        "blocks of one shape without a residual": 1,
        "'something' layers": 1,
        "'Attention' layers": 1,
        "blocks whose fields are not expand, idskip, kernel, stride": 2,
    }
    many = "".join(f"Layer{index}: {{mean: 1.0}}\n" for index in range(50))
    few = import_table(written(tmp_path, PROXYLESS + many), "ofa", "board").left_out
    assert (len(few), few["others"], few.total()) == (10, 42, 51)


@pytest.mark.parametrize("width", [0.35, 1.0])
def test_every_layer_of_mobilenet_v2_is_found_by_its_name(width: float, tmp_path: Path) -> None:
    """Names as ProxylessNAS writes them, for a network whose ops are known."""
    rows: dict[str, float] = {}
    network = mobilenet_v2(width)
    for index, (_, spec) in enumerate(network.ops):
        (c, h, w), (oc, oh, ow) = spec.input_shape, spec.output_shape
        name = {"mbconv": "expanded_conv", "classifier": "Logits"}.get(spec.kind, "Conv_1" if index else "Conv")
        ends = f"input:{h}x{w}x{c}-output:{oc if name == 'Logits' else f'{oh}x{ow}x{oc}'}"
        if spec.kind == "mbconv":
            skips = int(spec.stride == 1 and spec.cin == spec.cout)
            ends += f"-expand:{spec.expand}-kernel:{spec.kernel}-stride:{spec.stride}-idskip:{skips}"
        rows[f"{name}-{ends}"] = made_up_ms(spec)
    text = "\n".join(f"{name}: {{mean: {ms}}}" for name, ms in rows.items())
    found = import_table(written(tmp_path, text), "ofa", "phone", unit="ms")
    assert not found.left_out
    assert {key: row.median_us for key, row in found.table.rows.items()} == pytest.approx(
        {spec.key: made_up_ms(spec) * 1e3 for _, spec in network.ops}, abs=0.001
    )


ROW = "expanded_conv-input:56x56x24-output:56x56x24-expand:6-kernel:5-stride:1-idskip:1"
BAD_YAMLS = {
    "empty": ("", "no row"),
    "a list": ("- 1\n- 2\n", "line 1"),
    "a flow that never ends": ("a: " + "[" * 50_000, "no row .*, but 1 of 'a' layers"),
    "a long word": ("a" * 1_000_000, "line 1"),
    "an object of Python": ("!!python/object/apply:os.system ['true']\n", "line 1"),
    "an indented start": ("  mean: 1.0\n", "line 1"),
    "an unknown name": ("something: {mean: 1.0}\n", "but 1 of 'something' layers"),
    "no mean": (f"{ROW}: {{median: 1.0}}\n", "0 means"),
    "a mean of another name": (f"{ROW}: {{geomean: 1.0}}\n", "0 means"),
    "two means": (f"{ROW}: {{mean: 1.0, mean: 2.0}}\n", "2 means"),
    "a number for a row": (f"{ROW}: 1.0\n", "0 means"),
    "a row twice": (f"{ROW}: {{mean: 1.0}}\n" * 2, "line 2"),
    "NaN": (f"{ROW}: {{mean: .nan}}\n", "latency"),
    "a text": (f"{ROW}: {{mean: soon}}\n", "latency"),
    "negative": (f"{ROW}: {{mean: -1.0}}\n", "latency"),
    "an alias": (f"{ROW}: {{mean: *a}}\n", "latency"),
    "fields missing": (ROW.replace("-idskip:1", "") + ": {mean: 1.0}\n", "idskip"),
    "a shape that contradicts its stride": (ROW.replace("stride:1", "stride:2") + ": {mean: 1.0}\n", "would write"),
    "a residual where there can be none": (ROW.replace("x24-e", "x40-e") + ": {mean: 1.0}\n", "idskip 1"),
    "an even kernel": (ROW.replace("kernel:5", "kernel:4") + ": {mean: 1.0}\n", "odd"),
    "no pixels": (ROW.replace("56x56x24-o", "0x56x24-o") + ": {mean: 1.0}\n", "but 1 of 'expanded_conv' layers"),
    "nothing that hwnas has": ("AvgPool2D-input:7x7x960-output:1x1x960: {mean: 1.0}\n", "no row"),
}


@pytest.mark.parametrize("case", BAD_YAMLS)
def test_bad_yaml_is_refused_with_one_message(case: str, tmp_path: Path) -> None:
    content, named = BAD_YAMLS[case]
    with pytest.raises(TableError, match=named):
        import_table(written(tmp_path, content), "ofa", "board")
