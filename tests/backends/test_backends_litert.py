from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
import zipfile
from collections import Counter
from typing import Any

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from networks import SPECS, cells, chain, folded, random_network, space, trained

from hwnas.arch import Network, OpSpec, mobilenet_v2, space_instance
from hwnas.backends.litert import fingerprint, litert_model, micro_model
from hwnas.backends.litert_metadata import METADATA, metadata_of
from hwnas.backends.litert_runtime import interpreter, run_litert, runs_as_one_delegate
from hwnas.backends.parity import compare, random_inputs
from hwnas.backends.torch import load_weights, network_module
from hwnas.backends.weights import random_weights
from hwnas.errors import ExportError

NETWORKS = [
    *(random_network(space(0.5, size), seed) for size, seed in ((32, 0), (33, 1))),
    random_network(space(1.0, 9, "toy"), 0),
    mobilenet_v2(0.25, 32),
    cells(15),
    cells(16),
    random_network(space(1.0, 9, "nasbench201"), 1),
    *(
        random_network(space_instance("darts", width=0.25, depth=3, resolution=size, channels=3, classes=10), size)
        for size in (8, 9, 66)
    ),
]
KINDS = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def written(network: Network) -> bytes:
    return litert_model(network, trained(network))


def unpacked(model: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(model)


def operators(network: Network) -> list[str]:
    """Names of the operators, with a plus where they end with an activation."""
    model = unpacked(written(network))
    names = []
    for op in model.subgraphs[0].operators:
        fused = getattr(op.builtinOptions, "fusedActivationFunction", 0)
        names.append(KINDS[model.operatorCodes[op.opcodeIndex].builtinCode] + "+" * bool(fused))
    return names


@pytest.mark.sample("spec.kind")
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_xnnpack_takes_every_node_of_every_kind(spec: OpSpec) -> None:
    assert runs_as_one_delegate(micro_model(spec))


@pytest.mark.parametrize("network", NETWORKS)
def test_xnnpack_takes_every_node_of_a_network(network: Network) -> None:
    assert runs_as_one_delegate(written(network))


@pytest.mark.parametrize("position", range(3))
def test_a_node_that_is_left_out_is_seen(position: int) -> None:
    model = unpacked(written(chain(*[OpSpec("conv", 4, 4, 6, 6, kernel=3)] * 3)))
    model.subgraphs[0].operators[position].builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.TANH
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    assert not runs_as_one_delegate(bytes(builder.Output()))


@pytest.mark.sample("spec.kind")
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key)
def test_signature_and_shapes(spec: OpSpec) -> None:
    loaded = interpreter(micro_model(spec))
    names = ["input", "input1", "input2"][: spec.inputs]
    assert loaded.get_signature_list() == {"serving_default": {"inputs": names, "outputs": ["logits"]}}
    sources, (target,) = loaded.get_input_details(), loaded.get_output_details()
    assert {one["dtype"] for one in (*sources, target)} == {np.float32}
    assert [one["shape"].tolist() for one in sources] == [[1, spec.height, spec.width, spec.cin]] * spec.inputs
    channels, height, width = spec.output_shape
    flat = spec.kind.endswith("classifier")
    assert target["shape"].tolist() == ([1, channels] if flat else [1, height, width, channels])


@pytest.mark.parametrize("network", NETWORKS)
def test_buffers_begin_where_the_schema_demands(network: Network) -> None:
    content = written(network)
    model = schema.Model.GetRootAs(content)
    assert schema.Model.ModelBufferHasIdentifier(content, 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    starts = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if not buffer.DataIsNone()]
    assert len(starts) > 4
    assert {start % 16 for start in starts} == {0}
    assert buffers[0].DataIsNone()


def test_different_ops_have_different_fingerprints() -> None:
    specs = {*SPECS, *space().ops} - {spec for spec in SPECS if not spec.graph.nodes}
    assert len({fingerprint(spec) for spec in specs}) == len({folded(spec.graph) for spec in specs}) > 200


def test_another_writer_is_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = OpSpec("conv", 4, 4, 8, 8, act="relu")
    before = fingerprint(spec)
    monkeypatch.setattr("hwnas.backends.litert.OUTPUT", "other")
    fingerprint.cache_clear()
    assert fingerprint(spec) != before
    fingerprint.cache_clear()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (OpSpec("conv", 4, 6, 7, 7, 3, 2, act="relu6"), ["CONV_2D+"]),
        (OpSpec("conv", 4, 6, 8, 8, 3, 2, act="relu6"), ["PAD", "CONV_2D+"]),
        (OpSpec("conv", 4, 6, 8, 8, act="hswish"), ["CONV_2D", "HARD_SWISH"]),
        (OpSpec("conv", 4, 6, 8, 8, act="hsigmoid"), ["CONV_2D", "ADD+", "MUL"]),
        (OpSpec("mbconv", 4, 4, 8, 8, 3, 1, 3, act="relu6"), ["CONV_2D+", "DEPTHWISE_CONV_2D+", "CONV_2D", "ADD"]),
        (OpSpec("dilconv", 4, 4, 8, 8, 3, dilation=2), ["RELU", "DEPTHWISE_CONV_2D", "CONV_2D"]),
        (OpSpec("maxpool", 4, 4, 8, 8, 3), ["MAX_POOL_2D"]),
        (OpSpec("maxpool", 4, 4, 7, 7, 3, 2), ["MAX_POOL_2D"]),
        (OpSpec("maxpool", 4, 4, 8, 8, 3, 2), ["SLICE", "CONCATENATION"] * 2 + ["MAX_POOL_2D"]),
        (OpSpec("avgpool", 4, 4, 8, 8, 3), ["AVERAGE_POOL_2D"]),
        (OpSpec("avgpool", 4, 4, 7, 7, 3, 2), ["AVERAGE_POOL_2D"]),
        (OpSpec("avgpool", 4, 4, 8, 8, 3, 2), ["PAD", "DEPTHWISE_CONV_2D", "MUL"]),
        (OpSpec("reduce", 4, 4, 8, 8), ["RELU", "SLICE", "CONV_2D", "CONV_2D", "CONCATENATION"]),
        (OpSpec("none", 4, 4, 8, 8), []),
        (OpSpec("skip", 4, 4, 8, 8), []),
        (OpSpec("classifier", 4, 4, 8, 8), ["MEAN", "FULLY_CONNECTED"]),
        (OpSpec("flatclassifier", 4, 4, 1, 1), ["FULLY_CONNECTED"]),
        (OpSpec("hidden", 4, 6, 8, 8, act="hswish"), ["MEAN", "CONV_2D", "HARD_SWISH"]),
        (OpSpec("normhidden", 4, 6, 8, 8, act="relu"), ["MEAN", "CONV_2D+"]),
        (OpSpec("fused", 4, 6, 8, 8, 3, 1, 2, act="relu"), ["CONV_2D+", "CONV_2D"]),
        (
            OpSpec("uib", 4, 4, 7, 7, 3, 1, 2, act="relu", start=5),
            ["DEPTHWISE_CONV_2D", "CONV_2D+", "DEPTHWISE_CONV_2D+", "CONV_2D", "ADD"],
        ),
        (OpSpec("normclassifier", 4, 4, 8, 8), ["DEPTHWISE_CONV_2D+", "MEAN", "FULLY_CONNECTED"]),
    ],
    ids=lambda value: value.key if isinstance(value, OpSpec) else "",
)
def test_what_an_op_becomes(spec: OpSpec, expected: list[str]) -> None:
    assert Counter(operators(Network.single(spec))) == Counter(expected)


def test_activations_are_fused_across_ops_unless_their_input_is_read_twice() -> None:
    conv, pre = OpSpec("conv", 4, 4, 8, 8), OpSpec("reluconv", 4, 4, 8, 8)
    assert operators(chain(conv, pre)) == ["CONV_2D+", "CONV_2D"]
    block = OpSpec("resblock", 4, 4, 8, 8)  # its shortcut reads what is before the ReLU
    assert operators(chain(conv, block)) == ["CONV_2D", "RELU", "CONV_2D+", "CONV_2D", "ADD"]


def test_a_model_runs_beside_a_model_with_other_weights() -> None:
    network = cells()
    one, two = (litert_model(network, trained(network, seed)) for seed in (0, 1))
    inputs = random_inputs(network, 2, 0)
    first = run_litert(one, inputs)
    assert not np.allclose(run_litert(two, inputs), first)
    np.testing.assert_array_equal(run_litert(one, inputs), first)


def test_without_litert_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['ai_edge_litert'] = None\n"
        "from hwnas.errors import InputError\n"
        "try: import hwnas.backends.litert\n"
        "except InputError as error: print(error, '|', error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "LiteRT needs the package ai-edge-litert | pip install ai-edge-litert\n"


def test_weights_that_do_not_fit_are_refused() -> None:
    network = chain(OpSpec("conv", 3, 4, 5, 5))
    weights = random_weights(network.graph, 0)
    with pytest.raises(ExportError, match=r"op0\.conv\.weight must have shape \(4, 3, 1, 1\)"):
        litert_model(network, weights | {"op0.conv.weight": np.zeros((4, 3, 3, 3), np.float32)})


def test_layout_is_nhwc_by_hand() -> None:
    """Two pixels of two channels through a convolution that tells them apart, and through the linear layer."""
    network = chain(OpSpec("conv", 2, 2, 1, 2), OpSpec("classifier", 2, 2, 1, 2))
    weights = random_weights(network.graph, 0)
    module = network_module(network).eval()
    load_weights(module, weights)
    image = np.array([[[[1, 10], [2, 20]]]], np.float32)  # (1, H, W, C)
    run = interpreter(litert_model(network, weights)).get_signature_runner("serving_default")
    with torch.inference_mode():
        expected = module(torch.tensor([[[[1.0, 2.0]], [[10.0, 20.0]]]])).numpy()
    np.testing.assert_allclose(run(input=image)["logits"], expected, rtol=1e-5, atol=1e-5)


def test_a_network_cut_by_none_is_a_constant_in_every_backend() -> None:
    network = chain(
        OpSpec("conv", 3, 4, 8, 8, kernel=3),
        OpSpec("none", 4, 4, 8, 8, stride=2),
        OpSpec("resblock", 4, 4, 4, 4),
        OpSpec("normclassifier", 4, 5, 4, 4),
    )
    assert network.graph.constant
    weights, inputs = trained(network), random_inputs(network, 3, 0)
    result = compare(network, weights, litert_model(network, weights), inputs, run_litert)
    assert result.agrees
    assert result.limit > 1e-4
    assert np.ptp(run_litert(litert_model(network, weights), inputs), axis=0).max() == 0


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    run_litert(micro_model(OpSpec("conv", 4, 4, 6, 6, kernel=3)), np.zeros((1, 4, 6, 6), np.float32))
    print("heard", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "heard\n"


def test_a_bomb_of_metadata_is_refused_before_it_is_unpacked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(METADATA, bytes(80 << 20))
    bomb = written(NETWORKS[2]) + buffer.getvalue()
    tracemalloc.start()
    try:
        with pytest.raises(ExportError, match="the metadata of the model"):
            metadata_of(bomb)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
