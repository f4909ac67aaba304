"""Core ML packages, by coremltools from a traced torch module: an image in, class labels and probabilities out.

coremltools writes them on Linux, too, and only macOS runs them: what is written is read back and compared instead.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hwnas.arch.network import Network
from hwnas.arch.primitives import Conv, Graph
from hwnas.backends.interface import Interface, Normalisation, normalised
from hwnas.backends.silence import nothing_printed
from hwnas.backends.torch import GraphModule
from hwnas.backends.weights import Affine, Weights, fold
from hwnas.errors import ExportError, InputError

INPUT, LABEL, PROBABILITIES = "input", "classLabel", "classLabel_probs"
"""Of the package: a picture, the most probable class, and the probability of each by its name."""

Package: TypeAlias = Mapping[str, bytes]
"""The files of a package, by their paths in it."""

_MANIFEST = "Manifest.json"
_NAMES = uuid.UUID("8a0d9a1c-2f57-5b7e-9a4e-5d1d3c0c6b1f")  # of the parts of a package, which Core ML wants to be UUIDs
_REFUSED = (RuntimeError, ValueError, TypeError, NotImplementedError, KeyError, AttributeError, AssertionError)
_COLOURS = {1: "GRAYSCALE", 3: "RGB"}


def coreml_package(
    network: Network,
    weights: Weights,
    classes: Sequence[str],
    *,
    interface: Interface,
    metadata: Mapping[str, str],
    half: bool = False,
) -> Package:
    """The network as an ML Program for iOS 15 and later, that normalises the pixels as the other formats do.

    Args:
        weights: every parameter and running statistic of `network.graph`, by name.
        classes: their names, which it answers with.
        interface: with mean and deviation per channel; the input is an image in any case.
        metadata: goes into the package, by name.
        half: weights and computing in float16.

    Raises:
        InputError: coremltools is not installed, or the images have other channels than one or three.
        ExportError: coremltools refuses the network, or what it wrote says something else.
    """
    tools = _tools()
    channels, height, width = network.input_shape
    if channels not in _COLOURS:
        raise InputError(f"Core ML takes pictures, of 1 or 3 channels, but the network reads {channels}")
    module, constants = _module(network, weights, interface)
    with tempfile.TemporaryDirectory(prefix="hwnas-") as folder, _quiet():
        path = Path(folder, "model.mlpackage")
        try:
            with torch.inference_mode():
                trace: Any = torch.jit.trace
                traced = trace(module, torch.zeros(1, channels, height, width), check_trace=False)
            model = tools.convert(
                traced,
                source="pytorch",
                convert_to="mlprogram",
                inputs=[
                    tools.ImageType(
                        name=INPUT,
                        shape=(1, channels, height, width),
                        color_layout=getattr(tools.colorlayout, _COLOURS[channels]),
                    )
                ],
                classifier_config=tools.ClassifierConfig(list(classes)),
                compute_precision=tools.precision.FLOAT16 if half else tools.precision.FLOAT32,
                minimum_deployment_target=tools.target.iOS15,
                skip_model_load=True,
            )
            model.author, model.license = metadata.get("author", ""), metadata.get("license", "")
            model.short_description, model.version = metadata.get("description", ""), metadata.get("version", "")
            for name, text in sorted(metadata.items()):
                model.user_defined_metadata[name] = text
            model.save(str(path))
        except _REFUSED as error:
            raise ExportError(f"coremltools cannot write the network: {error}") from error
        _check(tools, path, constants, classes, (channels, height, width), half)
        files = {one.relative_to(path).as_posix(): one.read_bytes() for one in path.rglob("*") if one.is_file()}
    return dict(sorted((files | {_MANIFEST: _same_each_time(files[_MANIFEST])}).items()))


def _tools() -> Any:
    try:
        with _quiet():
            import coremltools
    except ImportError as error:
        raise InputError("files for Core ML need coremltools", hint="pip install 'hwnas[coreml]'") from error
    return coremltools


class _File(nn.Module):
    """The folded network between what is left of the normalisation and a softmax."""

    def __init__(self, body: GraphModule, left: Normalisation) -> None:
        super().__init__()
        self.body = body
        self._steps = [
            (step, torch.from_numpy(values)[None, :, None, None])
            for step, values in ((torch.mul, left.scale), (torch.add, left.shift))
            if values is not None
        ]

    def forward(self, pixels: Tensor) -> Tensor:
        for step, values in self._steps:
            pixels = step(pixels, values)
        scores: Tensor = self.body(pixels)
        return scores.softmax(1)


def _module(network: Network, weights: Weights, interface: Interface) -> tuple[_File, Mapping[str, Affine]]:
    """What is traced, and the constants that it holds, by name."""
    folded, plain = fold(network.graph, weights)
    constants, left = normalised(folded, plain, interface)
    graph = _without_norms(folded, constants)
    body = GraphModule(graph)
    state = {}
    for name, (weight, bias) in constants.items():
        for part, values in (("weight", weight), ("bias", bias)):
            if values is not None:
                state[f"{_plain_name(name)}.{part}"] = torch.from_numpy(np.array(values))
    body.load_state_dict(state)
    return _File(body, left).eval(), constants


def _without_norms(graph: Graph, constants: Mapping[str, Affine]) -> Graph:
    """The graph of a file as torch is to build it: a convolution has the bias that its constants have."""
    nodes = []
    for node in graph.nodes:
        primitive = node.primitive
        if isinstance(primitive, Conv):
            primitive = replace(primitive, norm=False, bias=constants[node.name][1] is not None)
        nodes.append(replace(node, name=_plain_name(node.name), primitive=primitive))
    return replace(graph, nodes=tuple(nodes))


def _plain_name(name: str) -> str:
    """Names of modules have no dots."""
    return name.replace(".", "_")


def _check(
    tools: Any,
    path: Path,
    constants: Mapping[str, Affine],
    classes: Sequence[str],
    shape: tuple[int, int, int],
    half: bool,
) -> None:
    """Read back what was written.

    Raises:
        ExportError: input, output, classes or weights are others.
    """
    from coremltools.converters.mil.frontend.milproto.load import load

    spec = tools.models.MLModel(str(path), skip_model_load=True).get_spec()
    described = spec.description
    (given,) = described.input
    image = given.type.imageType
    space = type(image).ColorSpace.Value(_COLOURS[shape[0]])
    outputs = {one.name: one.type.WhichOneof("Type") for one in described.output}
    wanted = {LABEL: "stringType", PROBABILITIES: "dictionaryType"}
    found = (given.name, (image.height, image.width), image.colorSpace, outputs)
    if found != (INPUT, shape[1:], space, wanted) or described.predictedProbabilitiesName != PROBABILITIES:
        raise ExportError(f"the Core ML package reads and writes something else: {described}")
    program = load(spec, spec.specificationVersion, str(path / "Data" / "com.apple.CoreML" / "weights"))
    values = [
        np.asarray(op.outputs[0].val)
        for function in program.functions.values()
        for op in function.operations
        if op.op_type == "const" and op.outputs[0].val is not None
    ]
    labels = [value.tolist() for value in values if value.dtype.kind in "US" and value.ndim]
    if list(classes) not in labels:
        raise ExportError("the Core ML package names other classes")
    kind = np.float16 if half else np.float32
    written = {_key(value) for value in values if value.dtype == kind}
    lost = [name for name, (weight, _) in constants.items() if _key(weight.astype(kind)) not in written]
    if lost:
        raise ExportError(f"the Core ML package lacks {len(lost)} of {len(constants)} weights, the first is {lost[0]}")


def _key(values: NDArray[Any]) -> bytes:
    """Equal for equal values, in whatever shape."""
    return np.ascontiguousarray(values).tobytes()


def _same_each_time(manifest: bytes) -> bytes:
    """The manifest with names of the parts that follow from their paths: coremltools draws them."""
    content = json.loads(manifest)
    parts = content["itemInfoEntries"]
    names = {old: str(uuid.uuid5(_NAMES, part["path"])).upper() for old, part in parts.items()}
    content["rootModelIdentifier"] = names[content["rootModelIdentifier"]]
    content["itemInfoEntries"] = {
        names[old]: part for old, part in sorted(parts.items(), key=lambda one: names[one[0]])
    }
    return json.dumps(content, indent=4).encode()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars, hints and warnings of coremltools and of torch's tracer."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with nothing_printed():
            yield
    finally:
        logging.disable(before)
