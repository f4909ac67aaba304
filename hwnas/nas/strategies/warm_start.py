"""Warm starts of samplers: the state that one exports after earlier tasks starts the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwnas.errors import InputError
from hwnas.nas.strategies.base import Sampler, WarmStartable


def warm_start(sampler: Sampler, sampler_state: dict[str, Any]) -> None:
    """Start a sampler that was told nothing yet from the state that one of its sort exported after other tasks.

    Raises:
        InputError: the sampler takes no warm start, or the state is of another sort or another space.
    """
    warm_startable(sampler).warm_start(sampler_state)


def exported_state(sampler: Sampler) -> dict[str, Any] | None:
    """The state that a sampler exports; None where it has none, or was told too little."""
    if not isinstance(sampler, WarmStartable):
        return None
    try:
        return sampler.export_state()
    except InputError:
        return None


def tagged(kind: str, options: Sequence[int], **content: Any) -> dict[str, Any]:
    """The content of an exported state, with the facts that tell whether it fits another sampler."""
    return {"kind": kind, "options": list(options), **content}


def check_fit(sampler_state: dict[str, Any], kind: str, options: Sequence[int]) -> None:
    """Refuse the state of another sort of sampler, or of a space with other decisions.

    Raises:
        InputError: it does not fit.
    """
    if sampler_state.get("kind") != kind:
        raise InputError(
            f"this strategy starts from a {kind}, but was given a {sampler_state.get('kind', 'thing without a kind')}",
            hint="start from a run with the same strategy",
        )
    if list(sampler_state["options"]) != list(options):
        raise InputError(
            f"the {kind} was learned on decisions with {_listed(sampler_state['options'])} options, but here they have"
            f" {_listed(options)}",
            hint="start from a run in the same search space",
        )


def warm_startable(sampler: Sampler) -> WarmStartable:
    """The sampler, if it takes warm starts.

    Raises:
        InputError: it does not.
    """
    if isinstance(sampler, WarmStartable):
        return sampler
    raise InputError(
        f"the strategy {type(sampler).__name__} takes no warm start from an earlier task",
        hint="enas, metaqnn and bayesian do; a plug-in does with the methods `export_state` and `warm_start`",
    )


def _listed(options: Sequence[int]) -> str:
    return ", ".join(map(str, options))
