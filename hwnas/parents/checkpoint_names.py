"""How checkpoints of other libraries call the tensors of a chain of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec

Place: TypeAlias = tuple[str, str]
"""Names of a convolution or linear layer, and of the norm behind it; empty where there is none."""
Places: TypeAlias = Mapping[str, Place]
"""By the names of a block's own convolutions."""


@dataclass(frozen=True, slots=True)
class Naming:
    """The names that one library gives, and the epsilon of its norms.

    Attributes:
        library: its name.
        stem, head, hidden, classifier: where these ops are; `hidden` only where a network has one.
        block: where the convolutions of a block are, from its place among all blocks, its stage, its place in the
            stage, and what it is.
        epsilon: of its batch norms.
        zeros: our names of what the library does not have, and would be zero.
    """

    library: str
    stem: Place
    block: Callable[[int, int, int, OpSpec], Places]
    head: Place
    classifier: str
    hidden: Place = ("", "")
    epsilon: float = 1e-5
    zeros: tuple[str, ...] = ()

    def names(self, network: Network, tensors: Iterable[str] | None = None) -> dict[str, str]:
        """The library's name of every tensor of `network` that the library has, by ours.

        Args:
            tensors: our names, where they are more than parameters and statistics of the network's graph.
        """
        graph = network.graph
        places = self._places(network)
        wanted = graph.parameters() | graph.statistics() if tensors is None else tensors
        return {name: _theirs(places, name) for name in wanted if name not in self.zeros}

    def _places(self, network: Network) -> dict[str, Places]:
        """By op."""
        found: dict[str, Places] = {
            "stem": {"conv": self.stem},
            "head": {"conv": self.head},
            "hidden": {"hidden": self.hidden},
            "classifier": {"linear": (self.classifier, "")},
        }
        blocks = [one for one in network.ops if one[0] not in found]
        for index, (name, spec) in enumerate(blocks):
            stage, place = map(int, name.removeprefix("s").split("b"))
            found[name] = self.block(index, stage, place, spec)
        return found


def _theirs(places: Mapping[str, Places], name: str) -> str:
    """The library's name of our tensor `name`."""
    op, part, tensor = name.split(".", 2)
    conv, norm = places[op][part]
    if tensor.startswith("norm."):
        return f"{norm}.{tensor.removeprefix('norm.')}"
    if tensor[0].isdigit():  # a kernel transform, such as 7to5, belongs to what the convolution is part of
        return f"{conv.removesuffix('.conv')}.{tensor}_matrix"
    return f"{conv}.{tensor}"


def _tensorflow_port(index: int, _: int, __: int, spec: OpSpec) -> Places:
    own = ("expand", "depthwise", "project")[spec.expand == 1 :]
    return {
        one: (f"_blocks.{index}._{one}_conv", f"_blocks.{index}._bn{number}")
        for number, one in enumerate(own, int(spec.expand == 1))
    }


def _timm(_: int, stage: int, place: int, spec: OpSpec) -> Places:
    prefix = f"blocks.{stage}.{place}"
    if spec.kind == "uib":
        theirs = {"start": "dw_start", "expand": "pw_exp", "depthwise": "dw_mid", "project": "pw_proj"}
        return {one: (f"{prefix}.{other}.conv", f"{prefix}.{other}.bn") for one, other in theirs.items()}
    if spec.kind == "conv":
        convs = {"conv": "conv"}
    elif spec.kind == "fused":
        convs = {"expand": "conv_exp", "project": "conv_pwl"}
    elif spec.inner == spec.cin:
        convs = {"depthwise": "conv_dw", "project": "conv_pw"}
    else:
        convs = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl"}
    normed = {one: (f"{prefix}.{conv}", f"{prefix}.bn{number}") for number, (one, conv) in enumerate(convs.items(), 1)}
    return normed | {"squeeze": (f"{prefix}.se.conv_reduce", ""), "excite": (f"{prefix}.se.conv_expand", "")}


def _torchvision_v2(index: int, _: int, __: int, spec: OpSpec) -> Places:
    prefix, own = f"features.{index + 1}.conv", ("expand", "depthwise")[spec.expand == 1 :]
    found = {one: (f"{prefix}.{number}.0", f"{prefix}.{number}.1") for number, one in enumerate(own)}
    return found | {"project": (f"{prefix}.{len(own)}", f"{prefix}.{len(own) + 1}")}


def _torchvision_v3(index: int, _: int, __: int, spec: OpSpec) -> Places:
    prefix = f"features.{index + 1}.block"
    own = [*["expand"] * (spec.inner != spec.cin), "depthwise", *["gate"] * (spec.se > 0), "project"]
    found = {one: (f"{prefix}.{number}.0", f"{prefix}.{number}.1") for number, one in enumerate(own)}
    gate = f"{prefix}.{own.index('depthwise') + 1}"
    return found | {"squeeze": (f"{gate}.fc1", ""), "excite": (f"{gate}.fc2", "")}


def _once_for_all(block: str) -> Callable[[int, int, int, OpSpec], Places]:
    """Blocks of the supernet: all but the first have one more module around convolutions and norms."""

    def places(index: int, _: int, __: int, spec: OpSpec) -> Places:
        prefix = f"blocks.{index}.{block}"
        conv, norm = ("conv.conv", "bn.bn") if index else ("conv", "bn")
        theirs = {"expand": "inverted_bottleneck", "depthwise": "depth_conv", "project": "point_linear"}
        found = {one: (f"{prefix}.{other}.{conv}", f"{prefix}.{other}.{norm}") for one, other in theirs.items()}
        gate = f"{prefix}.depth_conv.se.fc"
        return found | {"squeeze": (f"{gate}.reduce", ""), "excite": (f"{gate}.expand", "")}

    return places


TENSORFLOW_PORT = Naming(
    "efficientnet-pytorch",
    stem=("_conv_stem", "_bn0"),
    block=_tensorflow_port,
    head=("_conv_head", "_bn1"),
    classifier="_fc",
    epsilon=1e-3,
)
TIMM = Naming("timm", stem=("conv_stem", "bn1"), block=_timm, head=("conv_head", "bn2"), classifier="classifier")
TORCHVISION_MOBILENET_V2 = Naming(
    "torchvision",
    stem=("features.0.0", "features.0.1"),
    block=_torchvision_v2,
    head=("features.18.0", "features.18.1"),
    classifier="classifier.1",
)
ONCE_FOR_ALL = tuple(
    Naming(
        "once-for-all",
        stem=("first_conv.conv", "first_conv.bn"),
        block=_once_for_all(block),
        head=("final_expand_layer.conv", "final_expand_layer.bn"),
        hidden=("feature_mix_layer.conv", ""),
        classifier="classifier.linear",
        zeros=("hidden.hidden.bias",),
    )
    for block in ("mobile_inverted_conv", "conv")
)
"""Of its MobileNetV3 supernet: as it is published, and as its code calls it since."""


def timm_with_hidden(stages: int, epsilon: float = 1e-5) -> Naming:
    """timm's MobileNetV3 and V4, whose head is one more stage; `conv_head` is their hidden layer."""
    head = (f"blocks.{stages}.0.conv", f"blocks.{stages}.0.bn1")
    return replace(TIMM, head=head, hidden=("conv_head", "norm_head"), epsilon=epsilon)


def torchvision_mobilenet_v3(blocks: int) -> Naming:
    """torchvision's MobileNetV3 of so many blocks."""
    return Naming(
        "torchvision",
        stem=("features.0.0", "features.0.1"),
        block=_torchvision_v3,
        head=(f"features.{blocks + 1}.0", f"features.{blocks + 1}.1"),
        hidden=("classifier.0", ""),
        classifier="classifier.3",
        epsilon=1e-3,
    )
