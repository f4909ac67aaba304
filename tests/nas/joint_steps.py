"""Steps of searches and of a training in float64, by ranks together or by one process: as a program, the second rank.

python joint_steps.py STORE OUT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.distributed as dist
from problems import TOY, toy_model
from torch import Tensor, nn

from hwnas.arch import Architecture
from hwnas.backends.torch import network_module
from hwnas.data import Dataset, Images, Shard, batches
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.make_loop import following_loop, make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategy
from hwnas.nas.supernet_loop import SearchLoop
from hwnas.train import Recipe
from hwnas.train.checkpoint import plain
from hwnas.train.joined_ranks import JoinedRanks
from hwnas.train.ranks import Ranks
from hwnas.train.training import Training

CPU = torch.device("cpu")
STRATEGIES = ("gumbel", "darts", "single_level", "darts2", "enas")
STEPS = 2
SETTINGS = SearchSettings(warmup_epochs=0, epochs=1, batch_size=9, arch_every=1, clip=1e9, metric="balanced")
RECIPE = Recipe(epochs=1, batch_size=9, augment=False, class_balanced=True, clip=1e9)
MODEL = toy_model()
LIMITS = AdditiveSet(latency_constraint(MODEL, 0.5 * (MODEL.smallest_ms + MODEL.largest_ms)))


def dataset() -> Dataset:
    """Batches of 9, 9 and 3 train images: shards of 4 and 5, and a batch that each of two ranks computes whole."""
    rng = np.random.default_rng(0)
    parts = [Images(rng.integers(0, 256, (n, *TOY.input_shape), np.uint8), np.arange(n) * 7 % 10) for n in (21, 13, 10)]
    return Dataset("noise", tuple(map(str, range(10))), *parts, (0.5,), (0.5,), flip=True)


def join(rank: int, store: Path) -> Ranks:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    return JoinedRanks(rank, 2, dist.new_group(timeout=timedelta(seconds=60)), {"cpu": dist.new_group()})


def found(ranks: Ranks) -> dict[str, Tensor]:
    """Losses, gradients, α and statistics of norms after a few steps of each kind, by name."""
    kept: dict[str, Tensor] = {}
    for name in STRATEGIES:
        loop = _loop(name, ranks)
        losses = list(islice(loop.epoch(0), STEPS))
        kept |= _state(name, losses, loop.supernet, loop.parameters)
        kept |= {f"{name} α {k}": alpha.detach() for k, alpha in enumerate(loop._alphas)}
        kept[f"{name} draws"] = torch.rand(1)
    torch.manual_seed(1)
    model = network_module(TOY.network(Architecture(TOY.name, (0,) * len(TOY.decisions)))).double()
    training = Training(_cast(model), dataset(), RECIPE, 0, CPU, ranks=ranks)
    training.class_weights = training.class_weights.double()
    return kept | _state("training", list(training.epoch(0)), model, training.parameters)


def _loop(name: str, ranks: Ranks) -> SearchLoop:
    chosen, data = strategy(name), dataset()
    if ranks.index:
        loop = following_loop(TOY, chosen, data, SETTINGS, budgets=1, seed=0, device=CPU, ranks=ranks)
    else:
        loop = make_loop(TOY, [LIMITS], chosen, data, SETTINGS, seed=0, device=CPU, ranks=ranks)
    torch.manual_seed(0)
    for w in _cast(loop.supernet.double()).parameters():
        nn.init.normal_(w, 0.3 if w.ndim == 1 else 0.0, 0.3)
    loop.class_weights = loop.class_weights.double()
    for alpha in loop._alphas:
        alpha.data = alpha.data.double()

    def unchanged(images: Images, generator: torch.Generator, shard: Shard) -> Iterator[tuple[Tensor, Tensor]]:
        return batches(images, data, batch_size=9, device=CPU, generator=generator, augment=False, shard=shard)

    loop._batches = unchanged  # type: ignore[method-assign]
    return loop


def _cast(module: nn.Module) -> nn.Module:
    module.register_forward_pre_hook(lambda _, inputs: (inputs[0].double(), *inputs[1:]))
    return module


def _state(name: str, losses: list[float], module: nn.Module, parameters: list[nn.Parameter]) -> dict[str, Tensor]:
    gradients: dict[str, Any] = {f"{name} gradient {k}": one.grad for k, one in enumerate(parameters)}
    kept = {key: value.clone() for key, value in gradients.items() if value is not None}
    kept |= {f"{name} {key}": value.clone() for key, value in module.named_buffers()}
    return kept | {f"{name} losses": torch.tensor(losses, dtype=torch.float64)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    safetensors.torch.save_file(plain(found(join(1, Path(sys.argv[1])))), sys.argv[2])
    dist.destroy_process_group()
