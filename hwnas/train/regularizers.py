"""What is around a network while it is trained, and no part of it: drop path and an auxiliary head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from hwnas.errors import InputError
from hwnas.train.auxiliary import AuxiliaryHead
from hwnas.train.drop_path import DropPath
from hwnas.train.recipe import Recipe


class Cells(Protocol):
    """What wrappers ask of a network.

    Attributes:
        paths: names of the ops that may be dropped.
        two_thirds: name of the op that ends two thirds of it, and the number of channels that it makes.
    """

    paths: tuple[str, ...]
    two_thirds: tuple[str, int]


class Regularizers:
    """Those that a recipe asks for. They hang on the network by hooks, which do nothing in eval mode.

    The state of the network does not name them: its average and its exported file are without them.

    Attributes:
        recipe: that is followed; it may become shorter on the way.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, classes: int, seed: int, device: torch.device) -> None:
        """Hang them on `model`.

        Raises:
            InputError: the recipe has drop path or an auxiliary head, and the network does not say where they go.
        """
        if (recipe.drop_path or recipe.auxiliary) and not hasattr(model, "two_thirds"):
            raise InputError(
                f"drop path and an auxiliary head need a network that says where they go, not {type(model).__name__}",
                hint="train what `network_module` makes, or set drop_path and auxiliary of the recipe to 0",
            )
        self.recipe = recipe
        self._drop_path: DropPath | None = None
        self._head: AuxiliaryHead | None = None
        cells = cast(Cells, model)
        if recipe.drop_path:
            self._drop_path = DropPath(model.get_submodule(name) for name in cells.paths)
        if recipe.auxiliary:
            name, channels = cells.two_thirds
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self._head = AuxiliaryHead(model.get_submodule(name), channels, classes).to(device)

    def modules(self) -> list[nn.Module]:
        """What is trained beside the network: the auxiliary head, if there is one."""
        return [] if self._head is None else [self._head]

    def parameters(self) -> list[nn.Parameter]:
        """Those of the auxiliary head, which are trained with the network's."""
        return [one for module in self.modules() for one in module.parameters()]

    def tensors(self) -> dict[str, Tensor]:
        """The live state of the auxiliary head, by the names that it has in a checkpoint."""
        state = {} if self._head is None else self._head.state_dict()
        return {f"auxiliary.{name}": value for name, value in state.items()}

    def at(self, epoch: int) -> None:
        """An epoch, counted from 0, begins: the rate of drop path rises linearly with the epochs, as in DARTS."""
        if self._drop_path is not None:
            self._drop_path.rate = self.recipe.drop_path * self.recipe.planned(epoch) / self.recipe.planned_epochs

    def loss(self, criterion: Callable[[Tensor], Tensor]) -> Tensor | float:
        """What is added to the loss of the images that the network was just given, by `criterion` of logits."""
        return 0.0 if self._head is None else self.recipe.auxiliary * criterion(self._head())

    def remove(self) -> None:
        """Leave the network as it was found."""
        for wrapper in (self._drop_path, self._head):
            if wrapper is not None:
                wrapper.remove()
