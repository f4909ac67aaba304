"""One loop for every strategy: shared weights on the train images, architecture parameters on the validation images."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hwnas.arch.origin import Origin
from hwnas.data import WHOLE, Dataset, Images, Normalisation, Shard, batches
from hwnas.errors import DivergedError, InputError
from hwnas.files import sha256
from hwnas.metrics import Tally
from hwnas.nas.arch_parts import arch_gradient, joint_losses, problems_of
from hwnas.nas.bilevel import Bilevel
from hwnas.nas.constrained_relaxation import ConstrainedRelaxation
from hwnas.nas.guard import Guard, guard_of
from hwnas.nas.search_optimizers import arch_optimizer, clipped, weights_optimizer
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies.base import Relaxation, Sampler, guiding, mixed_gates
from hwnas.nas.supernet import Gate, Supernet, single_path
from hwnas.progress import Progress
from hwnas.schema import checked
from hwnas.train import checkpoint as store
from hwnas.train import peak_memory_mib
from hwnas.train.micro_batches import micro_batches
from hwnas.train.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from hwnas.nas.objective import BudgetPenalty

_NAMES = {"ms": "ms", "kb": "KiB"}
_EARLIER = {"BayesianOptimization": "Gaussian"}  # the name in checkpoints, which are as those of earlier versions
_T = TypeVar("_T")

Paths = Callable[[torch.Generator], list[Gate]]


@dataclass(frozen=True)
class _Kept:
    """What a checkpoint says besides its tensors."""

    epochs_done: int
    multipliers: list[float]
    samplers: list[dict[str, Any]]


class SearchLoop:
    """Trains a supernet, and the logits of a relaxation or a sampler that guides it.

    Bilevel as in DARTS (Liu et al., 2019): a step on α on a validation batch before every few steps on the shared
    weights on train batches. Constraints enter as penalties on what is expected, never through the weights.

    Beside α runs `unbudgeted`: logits that get only the gradient of the images. What they prefer is what would be
    chosen if there were no budget, so comparing both tells whether the budget binds.

    A sampler that guides alternates with the weights as the controller of ENAS does (Pham et al., 2018): after warm-up
    on uniform paths, weight steps take what it proposes, and after each epoch it is told the scores of as many
    proposals as a relaxation would have taken steps, each on one validation batch, with the statistics of that batch.

    Where the space says so, weights warm up on mixtures of all options, whatever the strategy (docs/decisions/0034).

    Several budgets share the weights and take turns, step by step (docs/decisions/0024): each has its own α, sampler or
    draws. The gradient of the images reaches the α of every budget, that of a constraint only its own.

    Several ranks take each step together (docs/decisions/0083): all draw the same gates, each computes its shard of the
    batches, and what the first one decides, the others take from it.
    """

    def __init__(
        self,
        supernet: Supernet,
        dataset: Dataset,
        settings: SearchSettings,
        *,
        constrained: Sequence[ConstrainedRelaxation] = (),
        paths: Sequence[Paths] = (),
        samplers: Sequence[Sampler] = (),
        guides: bool = False,
        seed: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        """Prepare a search.

        Args:
            constrained: the relaxations to train, one for each budget, or none to train the supernet alone.
            paths: draw the gates of the weight steps of a supernet that is trained alone.
            samplers: what will propose architectures; their states are kept with that of the search.
            guides: whether they do so already in the weight steps after warm-up.
        """
        self.supernet, self.dataset, self.settings = supernet.to(device), dataset, settings
        self.constrained, self.paths = tuple(constrained), tuple(paths)
        self.samplers, self.guides = tuple(samplers), guides
        self.seed, self.device, self.ranks = seed, device, ranks
        full, rest = divmod(len(dataset.train), settings.batch_size)
        whole = full + (rest > 1)
        self.steps = min(whole, settings.epoch_steps or whole)
        self.class_weights = torch.tensor(dataset.class_weights(balanced=settings.class_balanced), device=device)
        self.parameters = list(supernet.parameters())
        self.optimizer = weights_optimizer(self.parameters, settings)
        self._alphas = [one.relaxation.logits for one in self.constrained]
        self._alphas += [logits.detach().clone().requires_grad_() for logits in self._alphas[:1]]
        self._arch_optimizers = [arch_optimizer(logits, settings, self.steps) for logits in self._alphas]
        self._guard = guard_of(settings, supernet.space) if constrained else Guard()

    @property
    def unbudgeted(self) -> Tensor:
        """Logits as the images alone would have them."""
        return self._alphas[-1]

    def run(self, *, checkpoint: Path, progress: Progress, log: Callable[[dict[str, Any]], None]) -> None:
        """Search to the end, from `checkpoint` if it is there; the same seed gives the same result to the bit.

        Raises:
            DivergedError: the loss is not a finite number.
            InputError: the checkpoint is damaged or belongs to another search.
            StorageError: the checkpoint cannot be written.
        """
        self.supernet.settled = False
        total = self.settings.all_epochs
        done = self._restore(checkpoint) if checkpoint.exists() else 0
        self.ranks.tell({"job": "search", "settings": asdict(self.settings), "budgets": len(self.paths)})
        self.ranks.give(self._state())
        tracked = progress.track("search", total * self.steps, done=done * self.steps)
        with guiding(self.samplers if self.guides else ()), tracked as advance:
            for epoch in range(done, total):
                self.ranks.tell({"epoch": epoch})
                note = ""
                mean = 0.0
                for step, loss in enumerate(self.epoch(epoch), 1):
                    mean += (loss - mean) / step
                    warm = "warm-up, " if epoch < self.settings.warmup_epochs else ""
                    note = f"{warm}epoch {epoch + 1} of {total}, loss {mean:.3f}{self._expectation()}"
                    advance(1, note)
                rewards = list(self.guidance(epoch))
                searched = bool(self.constrained) and epoch >= self.settings.warmup_epochs
                stops = searched and self._guard.stops(self.unbudgeted)
                self.save(checkpoint, total if stops else epoch + 1)
                told = {"reward": sum(rewards) / len(rewards), "metric": self.settings.metric} if rewards else {}
                told["peak_memory_mib"] = peak_memory_mib(self.device)
                ended = {"stopped": self.settings.guard} if stops else {}
                log({"event": "epoch", "epoch": epoch + 1, "loss": mean} | self._budget_facts() | told | ended)
                if stops:
                    advance((total - epoch - 1) * self.steps, f"stopped after epoch {epoch + 1}: too many skips")
                    break
        self.supernet.auxiliary_skip = 0.0
        self.ranks.tell({})

    def follow(self) -> None:
        """Take part, as another rank, in the steps of the search that the first rank runs.

        Raises:
            DivergedError: as in the first rank.
            LostRankError: a rank is gone.
        """
        self._take(self.ranks.taken(), Path("the first rank"))
        while (epoch := self.ranks.heard().get("epoch")) is not None:
            for _ in self.epoch(epoch):
                pass

    def epoch(self, epoch: int) -> Iterator[float]:
        """Take the steps of one epoch, counted from 0; yield the loss of each batch."""
        with self.ranks.joint_norms(self.supernet):
            yield from self._epoch(epoch)

    def _epoch(self, epoch: int) -> Iterator[float]:
        settings = self.settings
        seed = self._seed(epoch)
        generator = torch.Generator().manual_seed(seed)
        searching = bool(self.constrained) and epoch >= settings.warmup_epochs
        validation = self._validation_batches(seed, self.ranks.shard)
        arch_turn = (epoch - settings.warmup_epochs) * math.ceil(self.steps / settings.arch_every)
        self.supernet.train()
        train = self._batches(self.dataset.train, generator, self.ranks.shard)
        for step, (x, y) in enumerate(itertools.islice(train, self.steps)):
            at = epoch + step / self.steps
            for group in self.optimizer.param_groups:
                group["lr"] = settings.learning_rate(at)
            joint = None
            progress = (at - settings.warmup_epochs) / settings.epochs
            self._guard.begin(self.supernet, progress)
            if searching and step % settings.arch_every == 0:
                for one in self.constrained:
                    one.relaxation.anneal(progress)
                relaxation = _turn(self.constrained, arch_turn).relaxation
                arch_turn += 1
                val = next(validation)
                problem = Bilevel(self.supernet, self.optimizer, (x, y), val, self._smooth, self._sharp, self.ranks)
                problems = problems_of(relaxation, problem, settings.micro_batch, self.class_weights)
                joint = joint_losses(relaxation, problems, generator)
                if joint is None:
                    gradient = arch_gradient(relaxation, problems, generator)
                    self._arch_step(relaxation, self.ranks.total(gradient), progress)
            losses = self._losses(x, y, self._gates(at, generator)) if joint is None else joint
            value = self._weight_step(losses, at)
            if joint is not None:
                assert relaxation.logits.grad is not None
                self._arch_step(relaxation, self.ranks.total(relaxation.logits.grad), progress)
            yield value
        if searching:
            for one in self.constrained:
                one.update()

    def guidance(self, epoch: int) -> Iterator[float]:
        """Tell samplers that guide the scores of their proposals after an epoch, counted from 0; yield each."""
        if not self.guides or epoch < self.settings.warmup_epochs:
            return
        self.supernet.train()
        batches = self._validation_batches(self._seed(epoch), WHOLE)
        for x, y in itertools.islice(batches, math.ceil(self.steps / self.settings.arch_every)):
            for sampler in self.samplers:
                choices = sampler.ask()
                parts = micro_batches(x, y, self.settings.micro_batch, self.class_weights)
                with torch.no_grad():
                    logits = torch.cat([self.supernet(part, single_path(choices)) for part, _, _ in parts])
                tally = Tally(len(self.dataset.classes))
                tally.add(logits.float().cpu().numpy(), y.cpu().numpy())
                score = tally.metrics().value(self.settings.metric)
                sampler.tell(choices, score)
                yield score

    def _seed(self, epoch: int) -> int:
        return int(sha256(f"search {self.seed} {epoch}".encode())[:15], 16)

    def _gates(self, at: float, generator: torch.Generator) -> list[Gate]:
        """Gates of a step on the weights."""
        if self.supernet.space.mixed_warmup and at < self.settings.warmup_epochs:
            return mixed_gates(self.supernet.space.options, generator, self.device)
        turn = round(at * self.steps)
        if self.constrained:
            return _turn(self.constrained, turn).relaxation.weight_gates(generator)
        if self.guides and at >= self.settings.warmup_epochs:
            gates = single_path(_turn(self.samplers, turn).ask())
        else:
            gates = _turn(self.paths, turn)(generator)
        chosen = self.ranks.agreed(torch.tensor([gate.active[0] for gate in gates]))
        return single_path(chosen.tolist())

    def _losses(self, x: Tensor, y: Tensor, gates: Sequence[Gate]) -> Iterator[Tensor]:
        """The loss of a batch in parts, which add up."""
        parts = micro_batches(x, y, self.settings.micro_batch, self.class_weights, ranks=self.ranks)
        for part_x, part_y, share in parts:
            yield share * self._smooth(self.supernet(part_x, gates), part_y)

    def _weight_step(self, losses: Iterator[Tensor], at: float) -> float:
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for loss in losses:
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        total = self.ranks.total(total)
        self.ranks.add_gradients(self.parameters)
        self._check(total.item(), clipped(self.parameters, self.settings.clip), at)
        self.optimizer.step()
        return total.item()

    def _arch_step(self, relaxation: Relaxation, from_images: Tensor, progress: float) -> None:
        """A step on every α, with the gradient of the images that one relaxation found."""
        pressures = self.ranks.agreed(torch.stack([one.pressure() for one in self.constrained]))
        gradients = [from_images + pressure for pressure in pressures] + [from_images]
        for alpha, gradient in zip(self._alphas, gradients, strict=True):
            own = self._guard.gradient(alpha, progress) + self.settings.arch_weight_decay * alpha.detach()
            alpha.grad = torch.where(torch.isfinite(alpha), gradient + own, 0.0)
        for alpha, optimizer in zip(self._alphas, self._arch_optimizers, strict=True):
            before = alpha.detach().clone()
            optimizer.step()
            optimizer.zero_grad()
            relaxation.settle(alpha.detach(), before)

    def _smooth(self, logits: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(logits, y, weight=self.class_weights, label_smoothing=self.settings.label_smoothing)

    def _sharp(self, logits: Tensor, y: Tensor) -> Tensor:
        # Plain cross entropy: smoothing would drown what options differ by (docs/decisions/0007).
        return cross_entropy(logits, y, weight=self.class_weights)

    def _check(self, loss: float, norm: float, at: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergedError(
                f"the loss of the supernet must be a finite number, but it is {loss:.4g} with a gradient of {norm:.4g} "
                f"in epoch {int(at) + 1} of {self.settings.all_epochs}",
                hint="check the images, or search with a smaller learning rate",
            )

    def _batches(self, images: Images, generator: torch.Generator, shard: Shard) -> Iterator[tuple[Tensor, Tensor]]:
        return batches(
            images,
            self.dataset,
            batch_size=self.settings.batch_size,
            device=self.device,
            generator=generator,
            augment=True,
            shard=shard,
        )

    def _validation_batches(self, seed: int, shard: Shard) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed + 1)
        for _ in itertools.count():
            yield from self._batches(self.dataset.val, generator, shard)

    def _expectation(self) -> str:
        note = ""
        for index, penalty in enumerate(self.constrained[0].penalties if self.constrained else ()):
            values = ", ".join(f"{one.expected()[index].item():.3g}" for one in self.constrained)
            note += f", expected {values} {_NAMES[penalty.unit]}"
        return note

    def _budget_facts(self) -> dict[str, Any]:
        """What is expected, and the multipliers: numbers, or lists of them where there are several budgets."""
        facts: dict[str, list[float]] = {}
        for one in self.constrained:
            for held, expected in zip(one.penalties, one.expected(), strict=True):
                facts.setdefault(f"expected_{held.unit}", []).append(expected.item())
                facts.setdefault(f"multiplier_{held.unit}", []).append(held.penalty.multiplier)
        return {name: values if len(values) > 1 else values[0] for name, values in facts.items()}

    @property
    def _penalties(self) -> list[BudgetPenalty]:
        return [one.penalty for relaxed in self.constrained for one in relaxed.penalties]

    def _digest(self) -> str:
        identity = {
            "space": [self.supernet.space.name, self.supernet.space.input_shape, self.supernet.space.classes],
            "settings": self.settings.identity(),
            "seed": self.seed,
            "dataset": [self.dataset.name, self.dataset.train.shape],
            "relaxations": [repr(one.relaxation) for one in self.constrained],
            "samplers": [[_EARLIER.get(name := type(one).__qualname__, name), self.guides] for one in self.samplers],
            "budgets": [penalty.target for penalty in self._penalties],
        }
        return sha256(json.dumps(identity).encode())

    def _tensors(self) -> dict[str, Tensor]:
        alphas = {f"alpha.{index}": alpha for index, alpha in enumerate(self._alphas)}
        return {f"supernet.{name}": value for name, value in self.supernet.state_dict().items()} | alphas

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        optimizers: list[torch.optim.Optimizer] = [self.optimizer, *self._arch_optimizers]
        return {f"optimizer.{index}.": optimizer for index, optimizer in enumerate(optimizers)}

    def _state(self) -> dict[str, Tensor]:
        tensors = self._tensors()
        for prefix, optimizer in self._optimizers().items():
            tensors |= store.pack_optimizer(optimizer, prefix)
        return tensors

    def _take(self, stored: dict[str, Tensor], path: Path) -> None:
        store.copy_into(self._tensors(), stored, path)
        for prefix, optimizer in self._optimizers().items():
            store.unpack_optimizer(optimizer, stored, prefix)

    def save(self, path: Path, epochs_done: int) -> None:
        """Write the checkpoint of a search with so many epochs behind it."""
        info = {
            "run": self._digest(),
            "space": asdict(Origin.of(self.supernet.space)),
            "normalisation": asdict(Normalisation.of(self.dataset)),
            "epochs_done": epochs_done,
            "multipliers": [penalty.multiplier for penalty in self._penalties],
            "samplers": [one.state() for one in self.samplers],
        }
        store.save(path, self._state(), info)

    def _restore(self, path: Path) -> int:
        stored, info = store.load(path)
        if info.get("run") != self._digest():
            raise InputError(
                f"{path} belongs to a search with other settings, data or seed",
                hint="use the settings of that run, another --out, or --force to start again",
            )
        kept = checked(info, _Kept, path, largest_integer=store.LARGEST_INTEGER)
        self._take(stored, path)
        try:
            for penalty, multiplier in zip(self._penalties, kept.multipliers, strict=True):
                penalty.multiplier = multiplier
            for sampler, state in zip(self.samplers, kept.samplers, strict=True):
                sampler.restore(state)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{path}: samplers must be of the strategies of this search, but one is not: {error!r}",
                hint="delete the file to start again without it",
            ) from error
        return kept.epochs_done


def _turn(things: Sequence[_T], number: int) -> _T:
    """Whose turn a step is: one after the other, from the first to the last and again."""
    return things[number % len(things)]
