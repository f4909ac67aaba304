"""Depthwise convolution whose gradients are convolutions again: on CPUs several times as fast as those of the library.

oneDNN has fast kernels for the gradients of 3 x 3 depthwise convolutions only; those of larger or dilated kernels take
three to ten times as long as the forward pass (docs/decisions/0028).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd
from torch.nn.functional import conv2d


def pays(kernel: int, dilation: int) -> bool:
    """Whether gradients by `depthwise` are faster than the library's."""
    return kernel > 3 or dilation > 1


def depthwise(x: Tensor, weight: Tensor, stride: int, dilation: int, padding: int | None = None) -> Tensor:
    """`conv2d` of every channel by itself.

    Args:
        x: (batch, C, H, W).
        weight: (C, 1, K, K), K odd.
        padding: rows and columns of zeros on every side, at most as many as keep the size at stride 1; None is that.
    """
    padding = dilation * (weight.shape[-1] - 1) // 2 if padding is None else padding
    return _Depthwise.apply(x, weight, stride, dilation, padding)  # type: ignore[no-any-return,no-untyped-call]


class _Depthwise(torch.autograd.Function):
    """y = the pixels of a convolution of stride 1 that the stride keeps. With g the gradient of y:

    - of x: the convolution of g, zero between the pixels that the stride keeps, by the kernel turned by 180 degrees,
      with as much padding as the other one lacks;
    - of the kernel, at (i, j): Σ g(p) · x(p · stride + (i, j) · dilation - padding), which is the convolution of x by g
      as its kernel, stride and dilation having changed places; per image and channel, then summed over the images.
    """

    @staticmethod
    @custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.dilation, ctx.padding = stride, dilation, padding
        return conv2d(x, weight, None, stride, padding, dilation, x.shape[1])

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        (x, weight), (g,) = ctx.saved_tensors, gradients
        stride, dilation, padding, kernel = ctx.stride, ctx.dilation, ctx.padding, weight.shape[-1]
        (n, c), of_x, of_weight = x.shape[:2], None, None
        if ctx.needs_input_grad[1]:
            images, kernels = x.reshape(1, n * c, *x.shape[2:]), g.reshape(n * c, 1, *g.shape[2:])
            each = conv2d(images, kernels, None, dilation, padding, stride, n * c)[..., :kernel, :kernel]
            of_weight = each.reshape(n, c, 1, kernel, kernel).sum(0)
        if ctx.needs_input_grad[0]:
            reach = dilation * (kernel - 1)
            if stride > 1:
                height, width = (size + 2 * padding - reach for size in x.shape[2:])
                spread = torch.zeros_like(x[..., :height, :width])
                spread[..., ::stride, ::stride] = g
                g = spread
            of_x = conv2d(g, weight.flip(2, 3), None, 1, reach - padding, dilation, c)
        return of_x, of_weight, None, None, None
