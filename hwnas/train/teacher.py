"""A teacher: another network whose predictions are learned beside the labels."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div

from hwnas.train.recipe import Recipe


class Teacher:
    """Mixes a loss of labels with the divergence from a network's predictions: (1 - w) · labels + w · T² · KL.

    KL is that of the teacher's softmax from the student's, of logits over T each; times T², as its gradient shrinks by
    that. It is a mean over images that weighs them as the loss of the labels does. Source: Hinton et al., 2015.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, device: torch.device) -> None:
        """A copy of `network` teaches, in evaluation mode.

        Args:
            recipe: gives w (`distil_weight`) and T (`distil_temperature`).
        """
        self._network = copy.deepcopy(network).to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._weight, self._temperature = recipe.distil_weight, recipe.distil_temperature

    def logits(self, x: Tensor) -> Tensor:
        """Of inputs (B, C, H, W) as the student sees them: (B, K), for `mixed`."""
        with torch.inference_mode():
            found: Tensor = self._network(x).float()
        return found.clone()  # which a backward pass may use

    def mixed(self, labelled: Tensor, logits: Tensor, told: Tensor, image_weights: Tensor) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            labelled: the loss of the labels, a scalar.
            logits: of the student (B, K).
            told: those of the teacher (B, K).
            image_weights: what each image counts (B,); see `image_shares`.
        """
        own, target = ((one.float() / self._temperature).log_softmax(1) for one in (logits, told))
        divergence = kl_div(own, target, reduction="none", log_target=True).sum(1) @ image_weights
        return (1.0 - self._weight) * labelled + self._weight * self._temperature**2 * divergence
