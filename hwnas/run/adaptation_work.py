"""What it takes to adapt a parent, by arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from hwnas.run.adaptation import Adaptation
from hwnas.run.affordable import mean_work, work
from hwnas.run.plan import Plan
from hwnas.run.schedule import FORWARD_SHARE


@dataclass(frozen=True)
class AdaptationWork:
    """In units of what an image takes in a training, on the mean of the smallest and the largest network.

    Attributes:
        features: of an image for the head: once through the parent.
        distilled: of an image in a step of distillation: once through the parent, and a training of every option.
        scored: of an image in the scores of replacements.
    """

    features: float
    distilled: float
    scored: float

    @classmethod
    def of(cls, plan: Plan) -> AdaptationWork:
        """What a plan that starts from a parent takes."""
        slots = plan.space.slots
        own = [work(slot.ops[0].graph) for slot in slots]
        options, behind = 0.0, 0.0  # and what the rest of the parent takes behind each of them
        for place, slot in enumerate(slots):
            if slot.decision is not None:
                options += sum(work(spec.graph) for spec in slot.ops[1:])
                behind += (len(slot.ops) - 1) * sum(own[place + 1 :])
        unit = mean_work(plan.space)
        features = FORWARD_SHARE * sum(own) / unit
        return cls(features, features + options / unit, FORWARD_SHARE * (options + behind) / unit)

    def usual_s(self, usual: Adaptation, image_s: float, *, scores: bool) -> float:
        """Seconds of distillation and scores where no minutes are given.

        Args:
            image_s: of an image in a training.
            scores: whether replacements are scored.
        """
        images = usual.steps * usual.batch_size * self.distilled
        return image_s * (images + scores * usual.score_images * self.scored)
