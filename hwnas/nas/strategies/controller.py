"""ENAS's controller: a distribution over the feasible architectures, decision by decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from hwnas.nas.choice_set import ChoiceSet

_INIT = 0.1


class Controller(nn.Module):
    """One layer of LSTM that reads the option taken last and gives the logits of the next decision's options.

    Decisions with equally many options share their embeddings, as the nodes of ENAS's cell do. The output of an option
    is the sum of a row that they share and of one of the decision's own: what is good everywhere is learned from few
    scores, and equally many options need not mean the same. Parameters are drawn from uniform(-0.1, 0.1), and there are
    no biases: at the start every option is nearly as probable as the next. Logits are
    `tanh_constant · tanh(x / temperature)`, which bounds how sure the controller can become. Options that are not
    allowed after those before them are left out before the softmax.
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
        shared = dict(zip(counts, _slices(counts), strict=True))
        self._rows = [(shared[count], own) for count, own in zip(options, _slices(options), strict=True)]
        self._tanh_constant, self._temperature = tanh_constant, temperature
        with torch.device("meta"):  # draws nothing from the global generator
            self.embedding = nn.Embedding(sum(counts) + 1, units)  # the last one stands before the first decision
            self.lstm = nn.LSTM(units, units, bias=False)
            self.shared = nn.Linear(units, sum(counts), bias=False)
            self.own = nn.Linear(units, sum(options), bias=False)
        self.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-_INIT, _INIT, generator=generator)

    def forward(self, choices: Sequence[Sequence[int]], feasible: ChoiceSet) -> tuple[Tensor, Tensor]:
        """Log-probabilities (batch,) of feasible architectures, and the entropies (batch,) of their decisions, summed.

        Both are those of the distribution that `draw` draws from.
        """
        chosen = torch.tensor([list(one) for one in choices])
        log_probs, entropies = torch.zeros(len(choices)), torch.zeros(len(choices))
        states, _ = self.lstm(self._read(chosen))  # (decisions, batch, units)
        for decision, (state, (shared, own)) in enumerate(zip(states, self._rows, strict=True)):
            raw = state @ (self.shared.weight[shared] + self.own.weight[own]).T
            logits = self._tanh_constant * torch.tanh(raw / self._temperature)
            allowed = torch.tensor([feasible.allowed(one[:decision]) for one in choices])
            rows = torch.log_softmax(logits.masked_fill(~allowed, -torch.inf), dim=1)
            log_probs = log_probs + rows.gather(1, chosen[:, decision, None])[:, 0]
            entropies = entropies - (rows.exp() * rows.masked_fill(~allowed, 0.0)).sum(dim=1)
        return log_probs, entropies

    def draw(self, feasible: ChoiceSet, rng: np.random.Generator) -> tuple[int, ...]:
        """A feasible architecture.

        The same pass as `forward` takes, of one architecture that is not known yet, without torch: with so few units
        most of its time would go to calling small operations.
        """
        embedding, ih, hh, shared, own = (parameter.detach().numpy() for parameter in self.parameters())
        units = embedding.shape[1]
        x, output, cell = embedding[-1], np.zeros(units, np.float32), np.zeros(units, np.float32)
        choices: list[int] = []
        for of_count, of_decision in self._rows:
            gates = ih @ x + hh @ output
            take, keep, show = (expit(gates[at * units : (at + 1) * units]) for at in (0, 1, 3))
            cell = keep * cell + take * np.tanh(gates[2 * units : 3 * units])
            output = show * np.tanh(cell)
            raw = (shared[of_count] + own[of_decision]) @ output
            logits = self._tanh_constant * np.tanh(raw.astype(np.float64) / self._temperature)
            allowed = np.flatnonzero(feasible.allowed(choices))
            odds = np.exp(logits[allowed]).cumsum()  # tanh bounds the logits
            choices.append(int(allowed[np.searchsorted(odds[:-1], rng.random() * odds[-1], side="right")]))
            x = embedding[of_count.start + choices[-1]]
        return tuple(choices)

    def _read(self, chosen: Tensor) -> Tensor:
        """What the LSTM reads, (decisions, batch, units), where (batch, decisions) options are chosen."""
        starts = torch.tensor([shared.start for shared, _ in self._rows[:-1]], dtype=torch.long)
        first = self.embedding.weight[-1].expand(1, len(chosen), -1)
        return torch.cat([first, self.embedding(starts + chosen[:, :-1]).transpose(0, 1)])


def _slices(counts: Sequence[int]) -> list[slice]:
    """Where each of so many rows are, one after the other."""
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
