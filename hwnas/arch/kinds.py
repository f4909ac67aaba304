"""The kinds of op, each a few lines of primitives."""

from __future__ import annotations

from hwnas.arch.op import OpSpec, op
from hwnas.arch.primitives import Builder, Value
from hwnas.errors import InputError


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Channels rounded to a multiple of `divisor`, never down by more than 10 % (MobileNet's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


@op("conv", "kernel stride groups dilation act")
def conv(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Convolution, batch norm, activation."""
    return b.conv(
        x,
        "conv",
        spec.cout,
        kernel=spec.kernel,
        stride=spec.stride,
        dilation=spec.dilation,
        groups=spec.groups,
        act=spec.act,
    )


def squeeze_excite(b: Builder, x: Value, squeeze: int) -> Value:
    """Channel gate of Hu et al. (2018), with the hard sigmoid of MobileNetV3, through 1/`squeeze` of the channels."""
    channels = x.shape[0]
    gate = b.global_pool(x)
    gate = b.conv(gate, "squeeze", make_divisible(channels / squeeze), act="relu", bias=True)
    gate = b.conv(gate, "excite", channels, act="hsigmoid", bias=True)
    return b.mul(x, gate)


@op("mbconv", "kernel stride expand se act")
def mbconv(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Inverted residual of MobileNetV2 (Sandler et al., 2018) with optional squeeze-excite after the depthwise conv."""
    inner = spec.cin * spec.expand
    y = x if spec.expand == 1 else b.conv(x, "expand", inner, act=spec.act)
    y = b.conv(y, "depthwise", inner, kernel=spec.kernel, stride=spec.stride, groups=inner, act=spec.act)
    if spec.se:
        y = squeeze_excite(b, y, spec.se)
    y = b.conv(y, "project", spec.cout)
    return b.add(x, y) if x.shape == y.shape else y


@op("skip")
def skip(_: Builder, spec: OpSpec, x: Value) -> Value:
    """The identity: no primitive, no cost, no row."""
    if spec.cin != spec.cout:
        raise InputError(f"skip keeps its channels, so it cannot turn {spec.cin} into {spec.cout}")
    return x


@op("classifier")
def classifier(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Global average pool and a linear layer: `cout` logits."""
    return b.linear(b.global_pool(x), "linear", spec.cout)
