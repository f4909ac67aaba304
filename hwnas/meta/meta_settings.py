"""How an initialisation is learned."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hwnas.errors import InputError
from hwnas.meta.head import HEADS
from hwnas.meta.inner_loop import Inner
from hwnas.meta.learner import NORMS, Norm
from hwnas.meta.outer import outer_gradient
from hwnas.meta.tasks import AUGMENTATIONS, Shape

MIXINGS = ("pair", "soft")


@dataclass(frozen=True)
class MetaSettings:
    """Settings of a meta-training; `dataclasses.asdict` of it is JSON.

    Attributes:
        method: reptile, fomaml or maml.
        shape: of the tasks that are trained on.
        validation: of the tasks of held-out classes.
        inner: the inner loop, of training and of validation.
        batch_size: images of an inner step; 0 is the whole support set.
        temperatures: τ of the softmax over α in the first inner step and after the last one, geometric in between.
        mixing: what computes: all options, `soft`, or two that are drawn, `pair`.
        outer_lr, outer_alpha_lr: largest outer rates of weights and of α, annealed linearly to 0: of SGD for Reptile,
            where they are ε, and of Adam for the others.
        tasks_per_step: over how many tasks an outer gradient is averaged.
        weights_only: share of the steps, from the first on, in which α is left out, as in MetaNAS.
        norm: how batch norms act on a query set; see `hwnas.meta.learner`.
        head: `learned`, or `prototypes`: the classifier of a task is made from the means of its classes.
        augment: how images of tasks that are trained on are moved: none, small or strong.
        steps: outer steps.
        validations: how often held-out classes are tried, evenly spread, beside once before the first step.
        validation_tasks: how many tasks each time, the same ones.
    """

    method: str = "reptile"
    shape: Shape = field(default_factory=lambda: Shape(shots=15))
    validation: Shape = field(default_factory=Shape)
    inner: Inner = field(default_factory=lambda: Inner(rule="adam", steps=10, lr=1e-3, alpha_lr=0.05))
    batch_size: int = 0
    temperatures: tuple[float, float] = (1.0, 0.05)
    mixing: str = "pair"
    outer_lr: float = 1.0
    outer_alpha_lr: float = 0.6
    tasks_per_step: int = 1
    weights_only: float = 0.5
    norm: Norm = "transductive"
    head: str = "learned"
    augment: str = "none"
    steps: int = 1000
    validations: int = 10
    validation_tasks: int = 20

    def __post_init__(self) -> None:
        outer_gradient(self.method)
        rules = {
            "batch_size": ("0, or at least 2", self.batch_size == 0 or self.batch_size >= 2),
            "temperatures": ("positive, and not rise", 0 < self.temperatures[1] <= self.temperatures[0]),
            "mixing": (f"one of {', '.join(MIXINGS)}", self.mixing in MIXINGS),
            "outer_lr": ("a positive number", 0 < self.outer_lr < float("inf")),
            "outer_alpha_lr": ("0 or more", 0 <= self.outer_alpha_lr < float("inf")),
            "tasks_per_step": ("at least 1", self.tasks_per_step >= 1),
            "weights_only": ("from 0 to 1", 0 <= self.weights_only <= 1),
            "norm": (f"one of {', '.join(NORMS)}", self.norm in NORMS),
            "head": (f"one of {', '.join(HEADS)}", self.head in HEADS),
            "augment": (f"one of {', '.join(AUGMENTATIONS)}", self.augment in AUGMENTATIONS),
            "steps": ("at least 1", self.steps >= 1),
            "validations": ("at least 1", self.validations >= 1),
            "validation_tasks": ("at least 2", self.validation_tasks >= 2),
        }
        for name, (rule, holds) in rules.items():
            if not holds:
                raise InputError(
                    f"{name} of a meta-training must be {rule}, but it is {getattr(self, name)}",
                    hint=f"the default is {getattr(MetaSettings, name)}",
                )
        if self.method == "maml" and self.mixing == "pair":
            raise InputError(
                "a drawn pair of options has no exact gradient, so maml cannot use it", hint="choose --mixing soft"
            )

    @classmethod
    def of(cls, method: str, *, ways: int = 5, shots: int = 5, queries: int = 5) -> MetaSettings:
        """The usual settings of a method.

        Reptile as MetaNAS (Elsken et al., 2020) runs it, with more shots in training than in validation, and small
        batches, as it learns from what the steps agree on (Nichol et al., 2018). The others as in T-NAS (Lian et al.,
        2020): five steps of SGD at rates 0.1 and 30, an outer Adam at 1e-3, τ = 1.

        Raises:
            InputError: the method is unknown, or a number is too small.
        """
        outer_gradient(method)
        validation = Shape(ways, shots, queries)
        if method == "reptile":
            return cls(method, replace(validation, shots=max(shots, 15), queries=1), validation, batch_size=20)
        inner = Inner(rule="sgd", steps=5, lr=0.1, alpha_lr=30.0)
        mixing = "soft" if method == "maml" else "pair"
        return cls(
            method,
            validation,
            validation,
            inner,
            temperatures=(1.0, 1.0),
            mixing=mixing,
            outer_lr=1e-3,
            outer_alpha_lr=1e-3,
            tasks_per_step=2,
        )

    @property
    def first_alpha_step(self) -> int:
        """The outer step, counted from 0, from which on α is learned."""
        return round(self.weights_only * self.steps)

    def temperature(self, step: int) -> float:
        """τ in the inner step of that number; after the last one with `inner.steps`."""
        start, end = self.temperatures
        return float(start * (end / start) ** min(1.0, step / self.inner.steps))

    def anneal(self, step: int) -> float:
        """The factor of the outer rates in a step, counted from 0: from 1 to 0, linearly."""
        return 1.0 - step / self.steps

    def validates_after(self, step: int) -> bool:
        """Whether held-out classes are tried after so many steps."""
        return step == 0 or step * self.validations // self.steps > (step - 1) * self.validations // self.steps
