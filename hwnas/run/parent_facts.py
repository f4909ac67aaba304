"""What a plan and a result say of the parent: who made it, what it takes, and what is left of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hwnas.arch import costs, space_instance
from hwnas.display import ms
from hwnas.image_size import Size
from hwnas.latency.missing_rows import lacking
from hwnas.latency.model import LatencyModel
from hwnas.latency.table_model import model_of
from hwnas.parents import ParentWeights
from hwnas.run.context import RunContext
from hwnas.run.head_accuracy import kept_head
from hwnas.run.plan import Plan


def parent_facts(plan: Plan, model: LatencyModel | None) -> dict[str, Any] | None:
    """Ready for JSON; None where the search starts from no parent.

    Latencies are predicted, in milliseconds, `predicted_ms` at the size of the search and `own_ms` at that of the
    parent's training; None where the table does not tell. Multiply-adds and parameters are those at the size of the
    search, with a classifier for its classes.

    Args:
        model: of the whole space of the plan; None where its table is not complete.
    """
    weights = plan.parent
    if weights is None:
        return None
    parent, size = weights.parent, Size(*plan.space.input_shape[1:])
    channels, classes = plan.space.input_shape[0], plan.space.classes
    spent = costs(parent.network(width=weights.width, resolution=size, channels=channels, classes=classes).graph)
    return {
        "name": parent.name,
        "licence": parent.licence,
        "source": parent.source,
        "weights": weights.source,
        "pixels": str(size),
        "own_pixels": str(parent.resolution),
        "predicted_ms": None if model is None else _parent_ms(model),
        "own_ms": _own_ms(plan, weights),
        "macs": spent.macs,
        "params": spent.params,
    }


def parent_line(facts: dict[str, Any]) -> str:
    """The latencies of `parent_facts`, for people."""
    here, own = facts["predicted_ms"], facts["own_ms"]
    whole = "known once the table is complete" if here is None else f"predicted {ms(here)} ms"
    if facts["pixels"] == facts["own_pixels"]:
        return f"the whole network at its own {facts['pixels']} pixels: {whole}"
    beside = "not in the table" if own is None else f"predicted {ms(own)} ms"
    return f"the whole network at {facts['pixels']} pixels: {whole}; at its own {facts['own_pixels']}: {beside}"


def parent_result(run: RunContext, choices: Sequence[int]) -> dict[str, Any] | None:
    """What `result.json` says of the parent: its facts, what a head on it reaches, and what became of its blocks.

    Raises:
        InputError: what was kept of the head is damaged.
    """
    facts = parent_facts(run.plan, run.whole)
    if facts is None:
        return None
    head = kept_head(run.shared or run.folder)
    return facts | {"head": None if head is None else asdict(head), "blocks": _blocks_left(run.plan, choices)}


def _blocks_left(plan: Plan, choices: Sequence[int]) -> list[dict[str, str]]:
    """Of each block that could be replaced its name, the parent's own option, and the one that was chosen."""
    decisions = zip(plan.whole.decisions, plan.space.decisions, choices, strict=True)
    return [
        {"name": own.name, "parent": own.options[0], "chosen": left.options[choice]} for own, left, choice in decisions
    ]


def _parent_ms(model: LatencyModel) -> float:
    """Of the network that takes the first option of every decision, which is the parent's own."""
    return model.predict_ms([0] * len(model.costs.table))


def _own_ms(plan: Plan, weights: ParentWeights) -> float | None:
    """At the size of the parent's training, where the table holds that too."""
    own = space_instance(
        weights.parent.name,
        width=weights.width,
        resolution=weights.parent.resolution,
        channels=plan.space.input_shape[0],
        classes=plan.space.classes,
    )
    if lacking(plan.table, own) or (plan.cold and own.signature not in plan.table.cold):
        return None
    return _parent_ms(model_of(plan.table, own, any_table=True, cold=plan.cold))
