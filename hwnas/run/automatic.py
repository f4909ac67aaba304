"""What `--init auto` stands for: a parent, and why this one; or random weights, and why no parent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hwnas.config import AUTO, Configuration
from hwnas.errors import HwnasError, InfeasibleBudgetError, InfeasibleLimitError, InputError, MissingRowsError
from hwnas.nas.strategies import strategy
from hwnas.parents import PARENTS, Parent, how_to_get, is_here, weights_of
from hwnas.run.images import ImageFacts
from hwnas.run.plan_checks import check_strategy

FEWEST_PIXELS = 64
"""Of the shorter side, by nature and as a network reads them: parents saw no smaller images."""

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Automatic:
    """What `auto` came to; as text, one line for people.

    Attributes:
        parent: that the search starts from; empty for random weights.
        reason: why; empty where the images are none that a parent is for, which takes no words.
        remedy: how to have it otherwise.
    """

    parent: str = ""
    reason: str = ""
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"parent": self.parent or None, "reason": self.reason, "remedy": self.remedy}

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.reason, self.remedy)))


def with_start(
    config: Configuration,
    images: Callable[[], ImageFacts],
    make: Callable[[Configuration, Automatic | None], _Made],
) -> _Made:
    """What `make` gives for the configuration, in which `auto` has become a parent or a random start.

    A parent's space may offer no network within the budget or the limits that smaller spaces can keep. Then there is no
    parent, rather than an error, unless the strategy that was asked for needs one.

    Args:
        images: looks at them; called for `auto` alone.

    Raises:
        InputError: strategy and evaluator do not go together; and whatever `make` raises.
    """
    if config.search.init != AUTO:
        return make(config, None)
    plain = config.changed(search={"init": ""})
    asked = strategy(plain.search.strategy)
    check_strategy(plain, asked)
    found = automatic(config, images())
    if found.parent:
        try:
            return make(config.changed(search={"init": found.parent}), found)
        except (InfeasibleBudgetError, InfeasibleLimitError, MissingRowsError) as error:
            if asked.replaces:
                raise
            found = out_of_reach(found.parent, error)
    return make(plain, found)


def out_of_reach(parent: str, error: HwnasError) -> Automatic:
    """A random start in place of a parent of which nothing keeps the budgets and limits."""
    return Automatic(reason=f"{parent} is out of reach: {error}", remedy="a larger budget or limit would start from it")


def automatic(config: Configuration, images: ImageFacts) -> Automatic:
    """What `auto` stands for with these options and images."""
    suited = images.in_colour and images.size.short >= FEWEST_PIXELS
    if not suited or config.search.share is not None:  # a share is of a start that is named
        return Automatic()
    named, width = config.space.name in PARENTS, config.space.width or 1.0
    parents = [PARENTS[config.space.name]] if named else list(PARENTS.values())
    here = next((one for one in parents if is_here(one, width if named else 1.0)), None)
    if against := _against(config, named=named):
        remedy = f"without that, the search would start from {_once_here(here, parents)}"
        return Automatic(reason=against, remedy=remedy)
    if here is None:
        missing = parents[0]
        return Automatic(
            reason=f"the weights of {missing.name} are not on this machine",
            remedy=f"they come with: {how_to_get(missing, width)}",
        )
    try:
        weights_of(here, width)
    except InputError as error:
        return Automatic(reason=f"the weights of {here.name} cannot be used: {error}", remedy=error.hint)
    return Automatic(
        here.name,
        f"chosen by --init auto, as images in colour have {FEWEST_PIXELS} pixels or more and its weights are here",
        "--init none starts from random weights",
    )


def _against(config: Configuration, *, named: bool) -> str:
    """The option that keeps a search from starting from a parent; empty where none does.

    Args:
        named: whether the space that was asked for is that of a parent.
    """
    space, size = config.space, config.space.size
    if config.search.evaluator == "from-scratch":
        return "--evaluator from-scratch uses no weights"
    if space.name and not named:
        return f"--space {space.name} is not that of a parent"
    if space.width not in (0, 1) and not named:
        return f"--width {space.width:g} is not that of a parent, which is 1"
    if space.depth:
        return f"--depth {space.depth} is given, and a parent has a depth of its own"
    if size is not None and size.short < FEWEST_PIXELS:
        return f"--resolution {size} is below the {FEWEST_PIXELS} pixels that a parent needs"
    return ""


def _once_here(here: Parent | None, parents: list[Parent]) -> str:
    if here is not None:
        return here.name
    return f"{parents[0].name}, whose weights come with: {how_to_get(parents[0])}"
