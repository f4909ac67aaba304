"""Auxiliary head: a second classifier in the midst of a network, while it is trained."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

_SQUEEZED, _WIDE = 128, 768  # channels


class AuxiliaryHead(nn.Module):
    """Reads what the op `reads` makes in each pass; its loss sends gradients to the ops before that one.

    The head of DARTS for CIFAR-10 (Liu et al., 2019, after Szegedy et al., 2015), for maps of any size: they are
    averaged to 2 x 2 pixels by windows side by side; the authors' overlap by a pixel on the 8 x 8 of CIFAR-10.
    """

    def __init__(self, reads: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(channels, _SQUEEZED, 1, bias=False),
            nn.BatchNorm2d(_SQUEEZED),
            nn.ReLU(),
            nn.Conv2d(_SQUEEZED, _WIDE, 2, bias=False),
            nn.BatchNorm2d(_WIDE),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(_WIDE, classes),
        )
        self._seen: Tensor | None = None
        self._hook = reads.register_forward_hook(self._see)

    def forward(self) -> Tensor:
        """Logits (batch, classes) of the images that the network has just been given in training mode."""
        seen, self._seen = self._seen, None
        return self.head(seen)  # type: ignore[no-any-return]

    def remove(self) -> None:
        """Leave the op as it was found."""
        self._hook.remove()

    def _see(self, op: nn.Module, _: Any, made: Tensor) -> None:
        if op.training:
            self._seen = made
