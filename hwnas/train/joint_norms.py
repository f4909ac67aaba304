"""Batch norm over a batch whose images are on several ranks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm

Gather = Callable[[Tensor], Tensor]
"""The values (...) of all ranks, as (ranks, ...)."""


@contextlib.contextmanager
def joined_norms(modules: Iterable[nn.Module], gather: Gather) -> Iterator[None]:
    """Batch norms of the modules, in training mode, see the images of all ranks, which must compute the same ones.

    They change their class in place, so that whoever holds one holds it still, and names stay as they are.
    """
    norms = [part for module in modules for part in module.modules() if type(part) is nn.BatchNorm2d]
    try:
        for norm in norms:
            norm.__class__, norm.gather = _JointNorm, gather  # type: ignore[assignment]
        yield
    finally:
        for norm in norms:
            norm.__class__ = nn.BatchNorm2d
            del norm.gather


class _JointNorm(nn.BatchNorm2d):
    """As torch's SyncBatchNorm, which is for GPUs alone: mean and variance are those of the images of all ranks."""

    gather: Gather

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        mean, variance, count = _statistics(x, self.gather)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        if self.running_mean is not None and self.running_var is not None:
            assert self.momentum is not None
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var), self.momentum)
        return _Normalise.apply(  # type: ignore[no-any-return,no-untyped-call]
            x, self.weight, self.bias, mean, variance, count, self.eps, self.gather
        )


@torch.no_grad()
def _statistics(x: Tensor, gather: Gather) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, biased variance and number of values of each channel over all ranks, (C,) each, at least in float32.

    Source: Chan, Golub and LeVeque, 1979: variances of parts, and of their means.
    """
    kind = torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype
    nothing = torch.zeros(x.shape[1], dtype=kind, device=x.device)  # whose type is that of the statistics
    mean, variance = torch.batch_norm_update_stats(x, nothing, nothing.clone(), 0.0)
    own = torch.stack([torch.full_like(mean, x.numel() // x.shape[1]), mean, variance])
    counts, means, variances = gather(own).unbind(1)  # (ranks, C) each
    count = counts.sum(0)
    shares = counts / count
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean) ** 2)).sum(0), count


class _Normalise(torch.autograd.Function):
    """y = w n + b with n = (x - mean) / σ, where mean and σ depend on x. With g the gradient of y:

    - of x: w / σ · (g - mean of g - n · mean of g n), with means over all ranks (Ioffe and Szegedy, 2015). Its first
      term is the gradient where mean and σ are fixed, and the others are another norm of x;
    - of w and b: Σ g n and Σ g over the images of this rank; what all ranks have is added up with other gradients.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        epsilon: float,
        gather: Gather,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.epsilon, ctx.gather = epsilon, gather
        return batch_norm(x, mean, variance, weight, bias, training=False, eps=epsilon)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, ctx.epsilon, [True, True, True]
        )
        mean_gn, mean_g = ctx.gather(torch.stack([of_weight, of_bias]).to(mean)).sum(0) / count
        scale = torch.rsqrt(variance + ctx.epsilon)
        scale = -scale if weight is None else -scale * weight
        of_x += batch_norm(x, mean, variance, scale * mean_gn, scale * mean_g, training=False, eps=ctx.epsilon)
        learned = (None, None) if weight is None else (of_weight, of_bias)
        return of_x, *learned, None, None, None, None, None
