"""ENAS (Pham et al., 2018): an LSTM controller draws the options one after the other and learns by REINFORCE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwnas.nas.choice_set import ChoiceSet
from hwnas.nas.strategies.controller import Controller
from hwnas.nas.strategies.packing import pack, pack_adam, unpack, unpack_adam
from hwnas.nas.strategies.warm_start import check_fit, tagged

_KIND = "controller"
_BASELINE_RATE = 0.01


class ENAS:
    """Draws from a `Controller` and takes a step of Adam after every `batch` scores.

    The step follows REINFORCE's estimate (Williams, 1992) of the gradient of the expected reward,
    `(R - b) ∇ log p(choices)`, where R is the score plus `entropy_weight` times the entropy of the draws. The baseline
    b is the mean of all rewards so far until they are a hundred, which starts it from the first one; then it moves by
    a hundredth towards each, as in the paper.

    Units, tanh constant, entropy weight and the baseline's rate are the paper's. Its learning rate, 1e-3 with 20
    architectures a step, is for a thousand of them an epoch; where a search scores a hundred in all, each of them has a
    step of its own with a larger rate.

    What was scored already is drawn again, up to `redraws` times: where scores are dear, one that is known teaches
    little. While it guides, shared weights train on what it draws and give a known one another score each time; then
    nothing is drawn again, as in the paper, so weights and candidates at the end are those that its policy prefers.

    To another task it carries the parameters over and nothing else. The baseline starts from the new task's first
    reward, whatever the scale; Adam's moments are of the old task's gradients; and what is known there is new here.
    """

    def __init__(
        self,
        feasible: ChoiceSet,
        seed: int,
        *,
        units: int = 64,
        tanh_constant: float = 1.5,
        temperature: float = 1.0,
        lr: float = 0.005,
        batch: int = 1,
        entropy_weight: float = 1e-4,
        redraws: int = 10,
    ) -> None:
        """Prepare a controller that prefers nothing.

        Args:
            units, tanh_constant, temperature: of the `Controller`.
            lr: learning rate of Adam.
            batch: scores per step.
            entropy_weight: what a nat of entropy adds to a score.
            redraws: how often one that is known is drawn again, at most.
        """
        self._feasible, self._rng = feasible, np.random.default_rng(seed)
        self.controller = Controller(
            feasible.options,
            units=units,
            tanh_constant=tanh_constant,
            temperature=temperature,
            generator=torch.Generator().manual_seed(seed),
        )
        self._lr = lr
        self._batch, self._entropy_weight, self._redraws = batch, entropy_weight, redraws
        self._optimizer = torch.optim.Adam(self.controller.parameters(), lr=lr)
        self._known: dict[tuple[int, ...], None] = {}  # in the order of their scores
        self._told: list[tuple[tuple[int, ...], float]] = []
        self._baseline, self._rewards = 0.0, 0
        self._guides = False

    def guide(self, guides: bool) -> None:
        self._guides = guides

    def ask(self) -> tuple[int, ...]:
        choices = self.controller.draw(self._feasible, self._rng)
        for _ in range(0 if self._guides else self._redraws):
            if choices not in self._known:
                break
            choices = self.controller.draw(self._feasible, self._rng)
        return choices

    def tell(self, choices: Sequence[int], score: float) -> None:
        if not self._guides:
            self._known[tuple(choices)] = None
        self._told.append((tuple(choices), score))
        if len(self._told) < self._batch:
            return
        log_probs, entropies = self.controller([one for one, _ in self._told], self._feasible)
        rewards = [score for _, score in self._told] + self._entropy_weight * entropies.detach().double().numpy()
        self._optimizer.zero_grad()
        reinforce(log_probs, [self._advantage(float(reward)) for reward in rewards]).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._told.clear()

    def state(self) -> dict[str, Any]:
        return {
            "rng": self._rng.bit_generator.state,
            "known": [list(choices) for choices in self._known],
            "told": [[*one] for one in self._told],
            "baseline": [self._baseline, self._rewards],
            "parameters": self._parameters(),
            "adam": pack_adam(self._optimizer),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._known = dict.fromkeys(tuple(choices) for choices in state["known"])
        self._told = [(tuple(choices), score) for choices, score in state["told"]]
        self._baseline, self._rewards = state["baseline"]
        self._take(state["parameters"])
        unpack_adam(self._optimizer, state["adam"])

    def export_state(self) -> dict[str, Any]:
        return tagged(_KIND, self._feasible.options, parameters=self._parameters())

    def warm_start(self, sampler_state: dict[str, Any]) -> None:
        check_fit(sampler_state, _KIND, self._feasible.options)
        self._take(sampler_state["parameters"])
        self._optimizer = torch.optim.Adam(self.controller.parameters(), lr=self._lr)
        self._known.clear()
        self._told.clear()
        self._baseline, self._rewards = 0.0, 0

    def _parameters(self) -> list[str]:
        return [pack(parameter) for parameter in self.controller.parameters()]

    def _take(self, packed: list[str]) -> None:
        with torch.no_grad():
            for parameter, text in zip(self.controller.parameters(), packed, strict=True):
                parameter.copy_(unpack(text, parameter))

    def _advantage(self, reward: float) -> float:
        """How much better than the baseline, which moves first, so that nothing is good only for being the first."""
        self._rewards += 1
        self._baseline += max(_BASELINE_RATE, 1.0 / self._rewards) * (reward - self._baseline)
        return reward - self._baseline


def reinforce(log_probs: Tensor, advantages: Sequence[float]) -> Tensor:
    """The loss whose gradient is REINFORCE's estimate: the mean of `-(R - b) log p`, for (batch,) log-probabilities."""
    return -(torch.tensor(advantages) * log_probs).mean()
