"""Mean and deviation that images are normalised with, apart from any images."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hwnas.data.dataset import Dataset
from hwnas.errors import InputError


@dataclass(frozen=True)
class Normalisation:
    """What weights were trained with.

    Attributes:
        mean, std: per channel, of pixels scaled to 0..1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not all(value > 0.0 for value in self.std):
            raise InputError(
                f"each channel needs a mean and a deviation above 0, but they are {self.mean} and {self.std}"
            )

    @classmethod
    def of(cls, dataset: Dataset) -> Normalisation:
        """That of a data set."""
        return cls(dataset.mean, dataset.std)

    def given(self, dataset: Dataset) -> Dataset:
        """The data set with this mean and deviation in place of its own, if it has as many channels."""
        return replace(dataset, mean=self.mean, std=self.std) if dataset.channels == len(self.mean) else dataset
