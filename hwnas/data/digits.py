"""The 1,797 handwritten digits that scikit-learn carries: 8×8 grey, ten classes, no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from hwnas.data.dataset import Dataset, Images, assemble

CLASSES = tuple("0123456789")
NATIVE_RESOLUTION = 8


class Digits:
    """One channel, resized bilinearly."""

    def native_shape(self) -> tuple[int, int]:
        return 1, NATIVE_RESOLUTION

    def classes(self) -> tuple[str, ...]:
        return CLASSES

    def load(self, *, resolution: int, seed: int) -> Dataset:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        grey = torch.from_numpy(bunch.images).to(torch.float32)[:, None] * (255 / 16)
        # With its antialias filter the resize is the identity at the native size, and a proper average below it.
        grey = interpolate(grey, size=(resolution, resolution), mode="bilinear", align_corners=False, antialias=True)
        pixels = grey.round().clamp(0, 255).to(torch.uint8).numpy()
        images = Images(pixels, bunch.target.astype(np.int64))
        return assemble("digits", CLASSES, images, seed=seed, flip=False)
