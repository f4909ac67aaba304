"""How checkpoints of other libraries call the tensors of a chain of inverted residuals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec

Places: TypeAlias = tuple[tuple[str, str], ...]  # names of a convolution and of the norm behind it

_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class Naming:
    """The names that one library gives.

    Attributes:
        library: its name.
        stem, head, classifier: prefixes of the convolution and the norm, or of the linear layer.
        block: prefixes of the convolutions and norms of a block, in the order of execution, from its place among all
            blocks, its stage, its place in the stage, and what it is.
    """

    library: str
    stem: tuple[str, str]
    block: Callable[[int, int, int, OpSpec], Places]
    head: tuple[str, str]
    classifier: str

    def names(self, network: Network) -> dict[str, str]:
        """The library's name of every tensor of `network`, by ours."""
        return dict(self._pairs(network))

    def _pairs(self, network: Network) -> Iterator[tuple[str, str]]:
        index = 0
        for name, spec in network.ops:
            if spec.kind == "classifier":
                yield from ((f"{name}.linear.{part}", f"{self.classifier}.{part}") for part in ("weight", "bias"))
                continue
            if spec.kind == "mbconv":
                stage, place = map(int, name.removeprefix("s").split("b"))
                theirs = self.block(index, stage, place, spec)
                ours: tuple[str, ...] = ("expand", "depthwise", "project")[spec.expand == 1 :]
                index += 1
            else:
                theirs, ours = (self.stem if name == "stem" else self.head,), ("conv",)
            for own, (conv, norm) in zip(ours, theirs, strict=True):
                yield f"{name}.{own}.weight", f"{conv}.weight"
                yield from ((f"{name}.{own}.norm.{part}", f"{norm}.{part}") for part in _NORM)


def _tensorflow_port(index: int, _: int, __: int, spec: OpSpec) -> Places:
    names = ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")
    return tuple((f"_blocks.{index}.{conv}", f"_blocks.{index}.{norm}") for conv, norm in names[spec.expand == 1 :])


def _timm(_: int, stage: int, place: int, spec: OpSpec) -> Places:
    convs = ("conv_dw", "conv_pw") if spec.expand == 1 else ("conv_pw", "conv_dw", "conv_pwl")
    prefix = f"blocks.{stage}.{place}"
    return tuple((f"{prefix}.{conv}", f"{prefix}.bn{number}") for number, conv in enumerate(convs, 1))


def _torchvision(index: int, _: int, __: int, spec: OpSpec) -> Places:
    prefix, inner = f"features.{index + 1}.conv", 1 if spec.expand == 1 else 2
    first = ((f"{prefix}.{part}.0", f"{prefix}.{part}.1") for part in range(inner))
    return (*first, (f"{prefix}.{inner}", f"{prefix}.{inner + 1}"))


TENSORFLOW_PORT = Naming(
    "efficientnet-pytorch", ("_conv_stem", "_bn0"), _tensorflow_port, ("_conv_head", "_bn1"), "_fc"
)
TIMM = Naming("timm", ("conv_stem", "bn1"), _timm, ("conv_head", "bn2"), "classifier")
TORCHVISION_MOBILENET_V2 = Naming(
    "torchvision", ("features.0.0", "features.0.1"), _torchvision, ("features.18.0", "features.18.1"), "classifier.1"
)
