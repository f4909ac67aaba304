"""TrivialAugment (Müller and Hutter, ICCV 2021): to each image one change, chosen by chance, as strong as chance says.

The fourteen changes and their ranges are those of RandAugment in that paper, with strengths from an interval where it
has 31 steps. Moves are affine maps, which the crop's map takes in, so an image is resampled once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hwnas.data import color_ops
from hwnas.data.shard import EVERY

_ENHANCED = 0.9
_COLOUR_OPS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda x, m: color_ops.jitter(x, 1 + _ENHANCED * m, torch.ones_like(m), torch.ones_like(m)),
    lambda x, m: color_ops.jitter(x, torch.ones_like(m), 1 + _ENHANCED * m, torch.ones_like(m)),
    lambda x, m: color_ops.jitter(x, torch.ones_like(m), torch.ones_like(m), 1 + _ENHANCED * m),
    lambda x, m: color_ops.sharpen(x, 1 + _ENHANCED * m),
    lambda x, m: color_ops.posterize(x, 8 - 4 * m.abs()),
    lambda x, m: color_ops.solarize(x, 1 - m.abs()),
    lambda x, m: color_ops.autocontrast(x),
    lambda x, m: color_ops.equalize(x),
)
_MOVES = 5  # after the colours: two shears, two shifts and a turn; then the identity
_MAX_SHEAR, _MAX_MOVE, _MAX_TURN = 0.3, 10 / 32, math.radians(30)
CHANGES = len(_COLOUR_OPS) + _MOVES + 1


@dataclass(frozen=True)
class Changes:
    """One for each of B images.

    Attributes:
        kinds: shape (B,), which of the `CHANGES`.
        strengths: shape (B,), from -1 to 1; some changes take the absolute value.
    """

    kinds: Tensor
    strengths: Tensor

    @classmethod
    def draw(cls, n: int, generator: torch.Generator, mine: slice = EVERY) -> Changes:
        """`n` of them on the CPU, uniform; those for the images `mine` of so many."""
        kinds = torch.randint(CHANGES, (n,), generator=generator)
        return cls(kinds[mine], 2 * torch.rand(n, generator=generator)[mine] - 1)

    def moves(self, aspect: float) -> Tensor:
        """Maps (B, 2, 3) as `warp` takes them, the identity where the change is of colours.

        Args:
            aspect: height through width, so that a turn keeps right angles.
        """
        shear_x, shear_y, shift_x, shift_y, turn = (
            torch.where(self.kinds == len(_COLOUR_OPS) + index, self.strengths, 0.0) for index in range(_MOVES)
        )
        radians = _MAX_TURN * turn
        cos, sin = torch.cos(radians), torch.sin(radians)
        return torch.stack(
            [
                torch.stack([cos, aspect * sin + _MAX_SHEAR * shear_x, 2 * _MAX_MOVE * shift_x], 1),
                torch.stack([_MAX_SHEAR * shear_y - sin / aspect, cos, 2 * _MAX_MOVE * shift_y], 1),
            ],
            1,
        )

    def recolour(self, x: Tensor) -> Tensor:
        """The float images `x` (B, C, H, W), values 0..1, with the changes of colours."""
        x = x.clone()
        for kind, op in enumerate(_COLOUR_OPS):
            chosen = torch.nonzero(self.kinds == kind).flatten()
            if len(chosen):
                at = chosen.to(x.device)
                x[at] = op(x[at], self.strengths[chosen].to(x.device))
        return x
