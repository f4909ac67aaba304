"""The processes that take every step together; here, one process alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from hwnas.data import Shard


class Ranks:
    """What loops ask of the processes that take every step together. This class is a process alone: it does nothing.

    Of each batch a rank computes a shard, with the loss of its images as their share of the loss of the batch. So the
    sums over the ranks of losses and gradients are those of the whole batch, whatever the shards' sizes.

    The first rank decides, writes, prints and measures. The others hear from it which steps to take, and else wait.

    Attributes:
        index, count: the number of this rank, from 0, and how many there are.
    """

    index, count = 0, 1

    @property
    def shard(self) -> Shard:
        """What this rank computes of each batch."""
        return Shard(self.index, self.count)

    def total(self, value: Tensor) -> Tensor:
        """The sum of the ranks' values, of equal shapes; without gradient where there are several."""
        return value

    def totals(self, values: Sequence[Tensor]) -> list[Tensor]:
        """The sum of each of several tensors."""
        return list(values)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of the parameters by their sums; those that have none have none on any rank."""

    def least(self, number: int) -> int:
        """The smallest of the ranks' numbers."""
        return number

    def agreed(self, value: Tensor) -> Tensor:
        """The first rank's value, on all of them; others give one of its shape and type."""
        return value

    def joint_norms(self, *modules: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Batch norms of the modules see the statistics of the whole batch, in training mode."""
        return contextlib.nullcontext()

    def tell(self, message: Mapping[str, Any]) -> None:
        """As the first rank, tell the others something that is JSON."""

    def heard(self) -> dict[str, Any]:
        """As another rank, wait for what the first one tells."""
        return {}

    def give(self, tensors: Mapping[str, Tensor]) -> None:
        """As the first rank, give the others tensors by name."""

    def taken(self) -> dict[str, Tensor]:
        """As another rank, wait for what the first one gives, on the CPU."""
        return {}

    def __deepcopy__(self, _: object) -> Self:
        """Copies of modules have the same ranks."""
        return self


ALONE = Ranks()
