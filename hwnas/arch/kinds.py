"""The kinds of op, each a few lines of primitives."""

from __future__ import annotations

from hwnas.arch.op import OpSpec, op
from hwnas.arch.primitives import Builder, Value
from hwnas.errors import InputError


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Channels rounded to a multiple of `divisor`, never down by more than 10 % (MobileNet's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


@op("conv", "kernel stride groups dilation act pad")
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
        pad=spec.pad,
    )


def squeeze_excite(b: Builder, x: Value, squeeze: int) -> Value:
    """Channel gate of Hu et al. (2018), with the hard sigmoid of MobileNetV3, through 1/`squeeze` of the channels."""
    channels = x.shape[0]
    gate = b.global_pool(x)
    gate = b.conv(gate, "squeeze", make_divisible(channels / squeeze), act="relu", bias=True)
    gate = b.conv(gate, "excite", channels, act="hsigmoid", bias=True)
    return b.mul(x, gate)


@op("mbconv", "kernel stride expand se act pad mid")
def mbconv(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Inverted residual of MobileNetV2 (Sandler et al., 2018) with optional squeeze-excite after the depthwise conv."""
    inner = spec.inner
    y = x if inner == spec.cin else b.conv(x, "expand", inner, act=spec.act)
    y = b.conv(y, "depthwise", inner, kernel=spec.kernel, stride=spec.stride, groups=inner, act=spec.act, pad=spec.pad)
    if spec.se:
        y = squeeze_excite(b, y, spec.se)
    y = b.conv(y, "project", spec.cout)
    return b.add(x, y) if x.shape == y.shape else y


@op("uib", "kernel stride expand act mid start")
def uib(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Universal inverted bottleneck of MobileNetV4 (Qin et al., 2024): depthwise before and behind the expansion.

    Each of the two may be missing, which a kernel of 1 says. The last one there is has the stride.
    """
    if spec.stride > 1 and spec.start == spec.kernel == 1:
        raise InputError(f"a stride of {spec.stride} takes a depthwise convolution, and {spec.key} has none")
    y, inner = x, spec.inner
    if spec.start > 1:
        stride = spec.stride if spec.kernel == 1 else 1
        y = b.conv(y, "start", spec.cin, kernel=spec.start, stride=stride, groups=spec.cin)
    y = b.conv(y, "expand", inner, act=spec.act)
    if spec.kernel > 1:
        y = b.conv(y, "depthwise", inner, kernel=spec.kernel, stride=spec.stride, groups=inner, act=spec.act)
    y = b.conv(y, "project", spec.cout)
    return b.add(x, y) if x.shape == y.shape else y


@op("fused", "kernel stride expand act mid")
def fused(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Fused inverted bottleneck (Gupta and Akin, 2020): one whole convolution expands and sees the neighbours."""
    y = b.conv(x, "expand", spec.inner, kernel=spec.kernel, stride=spec.stride, act=spec.act)
    y = b.conv(y, "project", spec.cout)
    return b.add(x, y) if x.shape == y.shape else y


@op("irf", "kernel stride expand groups")
def irf(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Inverted residual of FBNet (Wu et al., 2019, figure 3): expands even by 1; grouped 1 x 1 convolutions shuffle.

    A grouped convolution whose channels are shuffled after it is the concatenation of one grouped convolution per
    group of the next: each gives that group as many channels from every group of its input. Up to the order of the
    channels within a group, which weights absorb, the two are the same function.
    """
    inner, groups = spec.cin * spec.expand, spec.groups
    if inner % groups**2:
        raise InputError(f"shuffling {inner} channels among {groups} groups takes a multiple of {groups**2} of them")
    names = [f"expand{group}" for group in range(groups)] if groups > 1 else ["expand"]
    parts = [b.conv(x, name, inner // groups, groups=groups, act="relu") for name in names]
    y = b.concat(*parts) if groups > 1 else parts[0]
    y = b.conv(y, "depthwise", inner, kernel=spec.kernel, stride=spec.stride, groups=inner, act="relu")
    y = b.conv(y, "project", spec.cout, groups=groups)
    return b.add(x, y) if x.shape == y.shape else y


@op("skip")
def skip(_: Builder, spec: OpSpec, x: Value) -> Value:
    """The identity: no primitive, no cost, no row."""
    _keeps_channels(spec)
    return x


@op("none", "stride")
def none(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Zero: no primitive, no cost, no row. Sums drop it."""
    _, height, width = x.shape
    return b.zero((spec.cout, -(-height // spec.stride), -(-width // spec.stride)))


@op("add", "inputs")
def add(b: Builder, spec: OpSpec, *maps: Value) -> Value:
    """Sum of at least two maps: a node of a cell."""
    _keeps_channels(spec)
    _joins(spec)
    total = maps[0]
    for index, x in enumerate(maps[1:], 1):
        total = b.add(total, x, f"add{index}")
    return total


@op("first", "inputs")
def first(_: Builder, spec: OpSpec, *maps: Value) -> Value:
    """The first of at least two maps: no primitive, no cost, no row. What a sum is that leaves the others out."""
    _keeps_channels(spec)
    _joins(spec)
    return maps[0]


@op("relu")
def relu(b: Builder, spec: OpSpec, x: Value) -> Value:
    """ReLU on its own."""
    _keeps_channels(spec)
    return b.activation(x, "relu", "relu")


@op("concat", "inputs")
def concat(b: Builder, spec: OpSpec, *maps: Value) -> Value:
    """The channels of at least two maps, one after the other: the end of a cell of DARTS."""
    _joins(spec)
    if spec.cout != spec.inputs * spec.cin:
        raise InputError(f"concat makes {spec.inputs} · {spec.cin} channels, not {spec.cout}")
    return b.concat(*maps)


@op("maxpool", "kernel stride")
def maxpool(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Largest value of each window."""
    _keeps_channels(spec)
    return b.pool(x, "pool", "max", kernel=spec.kernel, stride=spec.stride)


@op("tilepool")
def tilepool(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Largest value of each tile of 2 x 2 pixels."""
    _keeps_channels(spec)
    return b.pool(x, "pool", "max", kernel=2, stride=2)


@op("avgpool", "kernel stride")
def avgpool(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Mean of each window, without what lies outside the map."""
    _keeps_channels(spec)
    return b.pool(x, "pool", "avg", kernel=spec.kernel, stride=spec.stride)


@op("reluconv", "kernel stride")
def reluconv(b: Builder, spec: OpSpec, x: Value) -> Value:
    """ReLU, convolution, batch norm: `nor_conv` of NAS-Bench-201, and what comes before the cells of DARTS."""
    x = b.activation(x, "relu", "relu")
    return b.conv(x, "conv", spec.cout, kernel=spec.kernel, stride=spec.stride)


@op("dilconv", "kernel stride dilation")
def dilconv(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Dilated separable convolution of DARTS (Liu et al., 2019); dilation 2 there."""
    return _separable(b, spec, x, "", spec.cout, spec.stride)


@op("sepconv", "kernel stride")
def sepconv(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Separable convolution of DARTS (Liu et al., 2019): applied twice, the stride first."""
    x = _separable(b, spec, x, "1", spec.cin, spec.stride)
    return _separable(b, spec, x, "2", spec.cout, 1)


@op("separable", "kernel act")
def separable(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Separable convolution of ENAS: depthwise, pointwise, batch norm, activation."""
    x = b.conv(x, "depthwise", spec.cin, kernel=spec.kernel, groups=spec.cin, norm=False)
    return b.conv(x, "pointwise", spec.cout, act=spec.act)


def _separable(b: Builder, spec: OpSpec, x: Value, name: str, cout: int, stride: int) -> Value:
    """ReLU, depthwise and pointwise convolution, batch norm."""
    x = b.activation(x, f"relu{name}", "relu")
    x = b.conv(
        x,
        f"depthwise{name}",
        spec.cin,
        kernel=spec.kernel,
        stride=stride,
        dilation=spec.dilation,
        groups=spec.cin,
        norm=False,
    )
    return b.conv(x, f"pointwise{name}", cout)


@op("reduce")
def reduce(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Factorised reduction of DARTS: half of the channels from the even pixels, half from the odd ones, after a ReLU.

    Behind an odd size comes a zero, as in NAS-Bench-201, so that both halves have one size.
    """
    return _halved(b, b.activation(x, "relu", "relu"), spec.cout)


@op("shrink", "stride act")
def shrink(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Factorised reduction of ENAS (Pham et al., 2018), once for each halving; the last one sets the channels.

    What follows each convolution is what would follow their concatenation, as both are done channel by channel.
    """
    halvings = spec.stride.bit_length() - 1
    if not halvings or spec.stride != 1 << halvings:
        raise InputError(f"shrink halves a map once or several times, so its stride cannot be {spec.stride}")
    for halving in range(1, halvings):
        x = _halved(b, x, spec.cin, str(halving))
    return _halved(b, x, spec.cout, act=spec.act)


def _halved(b: Builder, x: Value, cout: int, name: str = "", act: str = "none") -> Value:
    """Half of the channels from the even pixels, half from the odd ones."""
    if cout < 2:
        raise InputError("a factorised reduction joins two halves, so it needs at least 2 output channels")
    odd = b.slice(b.pad(x, x.shape[1] % 2, x.shape[2] % 2, f"pad{name}"), f"slice{name}")
    return b.concat(
        b.conv(x, f"even{name}", cout // 2, stride=2, act=act),
        b.conv(odd, f"odd{name}", cout - cout // 2, stride=2, act=act),
        name=f"concat{name}",
    )


@op("resblock", "stride")
def resblock(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Residual block between the stages of NAS-Bench-201 (Dong and Yang, 2020): twice ReLU, convolution, batch norm."""
    y = b.activation(x, "relu1", "relu")
    y = b.conv(y, "conv1", spec.cout, kernel=3, stride=spec.stride)
    y = b.activation(y, "relu2", "relu")
    y = b.conv(y, "conv2", spec.cout, kernel=3)
    if x.shape == y.shape:
        return b.add(x, y)
    if spec.stride > 1:
        x = b.pool(x, "pool", "avg", kernel=spec.stride, stride=spec.stride)
    return b.add(b.conv(x, "shortcut", spec.cout, norm=False), y)


@op("dense")
def dense(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Fully connected layer with bias and ReLU, on the mean of each channel of its input."""
    return b.conv(_pooled(b, x), "dense", spec.cout, bias=True, act="relu")


@op("hidden", "act")
def hidden(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Hidden layer of MobileNetV3's classifier (Howard et al., 2019): global average pool, linear layer, activation."""
    return b.conv(_pooled(b, x), "hidden", spec.cout, bias=True, act=spec.act)


@op("normhidden", "act")
def normhidden(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Hidden layer of MobileNetV4's classifier: that of MobileNetV3 with a batch norm in place of the bias."""
    return b.conv(_pooled(b, x), "hidden", spec.cout, act=spec.act)


@op("flatclassifier")
def flatclassifier(b: Builder, spec: OpSpec, x: Value) -> Value:
    """A linear layer behind a hidden one: `cout` logits of a map of one pixel."""
    if x.shape[1:] != (1, 1):
        raise InputError(f"flatclassifier reads maps of one pixel, not {x.shape}", hint="use classifier")
    return b.linear(x, "linear", spec.cout)


@op("classifier")
def classifier(b: Builder, spec: OpSpec, x: Value) -> Value:
    """Global average pool and a linear layer: `cout` logits."""
    return b.linear(b.global_pool(x), "linear", spec.cout)


@op("normclassifier")
def normclassifier(b: Builder, spec: OpSpec, x: Value) -> Value:
    """The head of NAS-Bench-201: batch norm and ReLU before the classifier."""
    x = b.activation(b.scale_shift(x, "scale"), "relu", "relu")
    return b.linear(b.global_pool(x), "linear", spec.cout)


def _pooled(b: Builder, x: Value) -> Value:
    """The mean of each channel."""
    return x if x.shape[1:] == (1, 1) else b.global_pool(x)


def _joins(spec: OpSpec) -> None:
    if spec.inputs < 2:
        raise InputError(f"{spec.kind} joins at least 2 maps, not {spec.inputs}")


def _keeps_channels(spec: OpSpec) -> None:
    if spec.cin != spec.cout:
        raise InputError(f"{spec.kind} keeps its channels, so it cannot turn {spec.cin} into {spec.cout}")
