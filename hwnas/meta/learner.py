"""A network, or a supernet with α, as a pure function of its parameters. How batch norms act is always said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hwnas.errors import InputError
from hwnas.meta.inner_loop import ALPHA, Params
from hwnas.nas.strategies.base import pair_gates
from hwnas.nas.supernet import Gate

Norm = Literal["transductive", "support", "running"]
NORMS: tuple[Norm, ...] = ("transductive", "support", "running")
"""Where batch norms take their statistics from when a query set is classified.

`transductive`: from the query set itself, so its images help to classify one another. `support`: from the support set,
passed through the adapted weights. `running`: from the tasks of the meta-training, the same for every task.
"""

_DROPPED = 0.01


class Learner:
    """Logits of images as a function of parameters; nothing of it changes from call to call.

    Inner steps take the statistics of their own batch. A supernet mixes the options of every decision with
    softmax(α / τ), and those below 0.01 do not compute (MetaNAS, Elsken et al., 2020). With `noise` it is the hard
    Gumbel relaxation instead: two options compute, and the drawn one alone counts.

    Attributes:
        options: number of options of each decision.
        buffers: those of the module.
        head: names of weight and bias of its last linear layer, the classifier; None where there is none.
    """

    def __init__(self, module: nn.Module, options: Sequence[int] = ()) -> None:
        """Take the structure of a module; its own parameters are where an initialisation begins.

        Args:
            options: number of options of each decision; empty for a network without α. A module with options takes
                one gate for each decision beside the images.
        """
        self._module, self.options = module.train(), tuple(options)
        self.buffers = {name: value for name, value in module.named_buffers() if value is not None}
        linear = [
            name for name, part in module.named_modules() if isinstance(part, nn.Linear) and part.bias is not None
        ]
        self.head = (f"{linear[-1]}.weight", f"{linear[-1]}.bias") if linear and linear[-1] else None
        self._momentum = {
            name: part.momentum or 1.0 for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)
        }

    def fresh(self) -> Params:
        """The parameters of the module, copied, with α = 0 where it has options."""
        params = {name: value.detach().clone() for name, value in self._module.named_parameters()}
        if self.options:
            like = next(iter(params.values()))
            params[ALPHA] = like.new_zeros(len(self.options), max(self.options))
        return params

    def logits(
        self,
        params: Mapping[str, Tensor],
        x: Tensor,
        *,
        statistics: Mapping[str, Tensor] | None,
        temperature: float = 1.0,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Logits (batch, classes) of images (batch, C, H, W).

        Args:
            statistics: buffers for the batch norms, taken as constants; None for the statistics of this very batch.
            temperature: τ of the softmax over α.
            noise: Gumbel noise of the shape of α.
        """
        buffers = {name: value.clone() for name, value in self.buffers.items()} if statistics is None else statistics
        return self._call(params, buffers, x, batch=statistics is None, temperature=temperature, noise=noise)

    def statistics(self, params: Mapping[str, Tensor], x: Tensor, *, temperature: float = 1.0) -> Params:
        """Buffers with the mean and the (unbiased) variance of every batch norm on this batch; no gradient."""
        buffers = {name: torch.zeros_like(value) for name, value in self.buffers.items()}
        with torch.no_grad():
            self._call(params, buffers, x, batch=True, temperature=temperature, noise=None)
        for name, value in buffers.items():
            norm, _, what = name.rpartition(".")
            if what in ("running_mean", "running_var"):
                value /= self._momentum[norm]
        return {name: value if bool(value.any()) else self.buffers[name] for name, value in buffers.items()}

    def query_statistics(
        self, norm: Norm, params: Mapping[str, Tensor], support: Tensor, running: Params, *, temperature: float = 1.0
    ) -> Params | None:
        """What `logits` of a query set take as `statistics` in the mode `norm`.

        Raises:
            InputError: there is no such mode.
        """
        if norm == "transductive":
            return None
        if norm == "support":
            return self.statistics(params, support, temperature=temperature)
        if norm == "running":
            return running
        raise InputError(f"batch norms are one of {', '.join(NORMS)}, not {norm!r}", hint="transductive is usual")

    def probabilities(self, alpha: Tensor, temperature: float = 1.0) -> Tensor:
        """softmax(α / τ) over the options that exist, (decisions, most options)."""
        return torch.softmax(self.masked(alpha) / temperature, dim=1)

    def known(self, alpha: Tensor) -> Tensor:
        """α with 0 where there is no option."""
        masked = self.masked(alpha)
        return torch.where(torch.isfinite(masked), masked, 0.0)

    def masked(self, alpha: Tensor) -> Tensor:
        """α with -inf where there is no option; in parameters it is finite everywhere."""
        absent = [[place >= count for place in range(alpha.shape[1])] for count in self.options]
        return alpha.masked_fill(torch.tensor(absent, device=alpha.device), -torch.inf)

    def _call(
        self,
        params: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        *,
        batch: bool,
        temperature: float,
        noise: Tensor | None,
    ) -> Tensor:
        if self._module.training != batch:
            self._module.train(batch)
        arguments = (x, self._gates(params, temperature, noise)) if self.options else (x,)
        weights = {name: value for name, value in params.items() if name != ALPHA}
        # No two names share a tensor, and looking for such takes as long as a third of a step.
        return functional_call(  # type: ignore[no-any-return]
            self._module, {**weights, **buffers}, arguments, tie_weights=False
        )

    def _gates(self, params: Mapping[str, Tensor], temperature: float, noise: Tensor | None) -> list[Gate]:
        """Of a supernet; without α in the parameters, every option counts the same."""
        alpha = params.get(ALPHA)
        if alpha is None:
            alpha = next(iter(params.values())).new_zeros(len(self.options), max(self.options))
        if noise is not None:
            return pair_gates(self.masked(alpha) + noise, temperature, self.options)
        gates = []
        for row, count in zip(self.probabilities(alpha, temperature), self.options, strict=True):
            kept = torch.nonzero(row[:count].detach() >= min(_DROPPED, 1.0 / count)).flatten()
            gates.append(Gate(tuple(kept.tolist()), row[kept]))
        return gates
