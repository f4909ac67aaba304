"""The 1,797 handwritten digits of UCI that scikit-learn made known: 8×8 grey, ten classes, no download.

`digits.npz` holds their images (0 to 16) and labels, as `sklearn.datasets.load_digits` gives them: the test set of
E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, licensed under CC BY 4.0.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch
from torch.nn.functional import interpolate

from hwnas.data.dataset import Dataset, Images, assemble
from hwnas.data.resize import fitted
from hwnas.image_size import Size

CLASSES = tuple("0123456789")
NATIVE_RESOLUTION = 8


class Digits:
    """One channel, resized bilinearly."""

    def native_shape(self) -> tuple[int, Size]:
        return 1, Size.square(NATIVE_RESOLUTION)

    def classes(self) -> tuple[str, ...]:
        return CLASSES

    def load(self, *, resolution: Size, seed: int) -> Dataset:
        with files("hwnas.data").joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
            images, labels = stored["images"], stored["labels"]
        grey = torch.from_numpy(images).to(torch.float32)[:, None] * (255 / 16)
        # With its antialias filter the resize is the identity at the native size, and a proper average below it.
        grey = interpolate(grey, size=(resolution.long,) * 2, mode="bilinear", align_corners=False, antialias=True)
        pixels = grey.round().clamp(0, 255).to(torch.uint8).numpy()
        pixels = fitted(pixels, resolution, "crop")
        return assemble("digits", CLASSES, Images(pixels, labels.astype(np.int64)), seed=seed, flip=False)
