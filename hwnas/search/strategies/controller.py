"""ENAS's controller: a distribution over the feasible architectures, decision by decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.search.feasible import Feasible

_INIT = 0.1


class Controller(nn.Module):
    """One layer of LSTM that reads the option taken last and gives the logits of the next decision's options.

    Decisions with equally many options share their embeddings and their outputs, as the nodes of ENAS's cell do; what
    tells them apart is the state of the LSTM. Parameters are drawn from uniform(-0.1, 0.1), and there are no biases:
    at the start every option is nearly as probable as the next. Logits are `tanh_constant · tanh(x / temperature)`,
    which bounds how sure the controller can become. Options that are not allowed after those before them are left out
    before the softmax.
    """

    def __init__(
        self,
        options: Sequence[int],
        *,
        units: int,
        tanh_constant: float,
        temperature: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        counts = sorted(set(options))
        starts = dict(zip(counts, np.cumsum([0, *counts]).tolist(), strict=False))
        self._rows = [slice(starts[count], starts[count] + count) for count in options]
        ends = np.cumsum([0, *options]).tolist()
        self._own = [slice(ends[i], ends[i + 1]) for i in range(len(options))]
        self._tanh_constant, self._temperature = tanh_constant, temperature
        with torch.device("meta"):  # draws nothing from the global generator
            self.embedding = nn.Embedding(sum(counts) + 1, units)  # the last one stands before the first decision
            self.lstm = nn.LSTMCell(units, units, bias=False)
            self.head = nn.Linear(units, sum(counts), bias=False)
            self.own = nn.Linear(units, sum(options), bias=False)
        self.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-_INIT, _INIT, generator=generator)

    def forward(self, choices: Sequence[Sequence[int]], feasible: Feasible) -> tuple[Tensor, Tensor]:
        """Log-probabilities (batch,) of feasible architectures, and the entropies (batch,) of their decisions, summed.

        Both are those of the distribution that `draw` draws from.
        """
        chosen = torch.tensor([list(one) for one in choices])
        log_probs, entropies = torch.zeros(len(choices)), torch.zeros(len(choices))
        for decision, logits in enumerate(self._logits(chosen)):
            allowed = torch.tensor([feasible.allowed(one[:decision]) for one in choices])
            rows = torch.log_softmax(logits.masked_fill(~allowed, -torch.inf), dim=1)
            log_probs = log_probs + rows.gather(1, chosen[:, decision, None])[:, 0]
            entropies = entropies - (rows.exp() * rows.masked_fill(~allowed, 0.0)).sum(dim=1)
        return log_probs, entropies

    @torch.no_grad()
    def draw(self, feasible: Feasible, rng: np.random.Generator) -> tuple[int, ...]:
        """A feasible architecture."""
        chosen = torch.zeros(1, len(self._rows), dtype=torch.long)
        choices: list[int] = []
        for decision, logits in enumerate(self._logits(chosen)):
            allowed = torch.tensor(feasible.allowed(choices))
            row = torch.softmax(logits[0].double().masked_fill(~allowed, -torch.inf), dim=0).numpy()
            choices.append(int(rng.choice(len(row), p=row / row.sum())))
            chosen[0, decision] = choices[-1]
        return tuple(choices)

    def _logits(self, chosen: Tensor) -> Iterator[Tensor]:
        """Logits (batch, options) of each decision; what was chosen, (batch, decisions), is read after they are out."""
        state: tuple[Tensor, Tensor] | None = None
        x = self.embedding.weight[-1].expand(len(chosen), -1)
        for decision, (rows, own) in enumerate(zip(self._rows, self._own, strict=True)):
            state = self.lstm(x, state)
            raw = state[0] @ (self.head.weight[rows] + self.own.weight[own]).T
            yield self._tanh_constant * torch.tanh(raw / self._temperature)
            x = self.embedding(rows.start + chosen[:, decision])
