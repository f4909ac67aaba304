"""Steps in parts against whole ones, and what a step takes against the peak of a process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hwnas.data import Dataset
from hwnas.data.dataset import Images
from hwnas.errors import InputError
from hwnas.train import Recipe
from hwnas.train.memory import free_bytes, step_limit_bytes, taken_bytes
from hwnas.train.micro_batches import micro_batches
from hwnas.train.step_memory import StepMemory, peak_bytes, step_memory, training_memory
from hwnas.train.training import Training

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def dataset(count: int = 30) -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.minimum(rng.integers(0, 6, count), 2)  # uneven
    images = Images(rng.integers(0, 256, (count, 1, 8, 8)).astype(np.uint8), labels.astype(np.int64))
    return Dataset("noise", ("a", "b", "c"), images, images, images, (0.5,), (0.25,), flip=False)


@pytest.mark.parametrize("at_once", [2, 3, 7, 29, 30])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_parts_have_the_gradient_of_the_whole(at_once: int, smoothing: float) -> None:
    torch.manual_seed(1)
    x, y, weights = torch.randn(30, 1, 8, 8), torch.randint(0, 3, (30,)), torch.tensor([0.2, 1.0, 3.0])
    whole, parted = network(), network()
    loss = cross_entropy(whole(x), y, weight=weights, label_smoothing=smoothing)
    loss.backward()
    total, sizes = 0.0, []
    for part_x, part_y, share in micro_batches(x, y, at_once, weights):
        part = share * cross_entropy(parted(part_x), part_y, weight=weights, label_smoothing=smoothing)
        part.backward()
        total += float(part.detach())
        sizes.append(len(part_y))
    assert sum(sizes) == 30
    assert min(sizes) >= 2
    assert max(sizes) <= at_once
    assert total == pytest.approx(float(loss.detach()), abs=1e-6)
    for one, other in zip(whole.parameters(), parted.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, atol=1e-6)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_training_in_parts_ends_as_one_of_whole_batches(balanced: bool) -> None:
    def trained(micro_batch: int) -> tuple[list[float], list[torch.Tensor]]:
        recipe = Recipe(epochs=1, batch_size=10, micro_batch=micro_batch, class_balanced=balanced)
        run = Training(network(), dataset(), recipe, 0, CPU)
        return list(run.epoch(0)), [value.detach() for value in run.model.parameters()]

    losses, weights = trained(0)
    same, bits = trained(10)
    assert same == losses
    assert all(torch.equal(one, other) for one, other in zip(weights, bits, strict=True))
    parted, others = trained(3)
    assert parted == pytest.approx(losses, abs=1e-5)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(weights, others, strict=True))


def test_a_recipe_without_parts_is_that_of_earlier_checkpoints() -> None:
    assert "micro_batch" not in Recipe().identity()
    assert Recipe(micro_batch=4).identity()["micro_batch"] == 4
    with pytest.raises(InputError, match="micro_batch"):
        Recipe(micro_batch=1)


def test_the_peak_counts_what_is_alive() -> None:
    def act() -> None:
        first = torch.empty(1000, device="meta")
        second = first + 1.0  # two at once
        del first
        third = second.view(10, 100)  # no memory of its own
        del second
        torch.relu(third)  # two at once again

    assert peak_bytes(act) == 8000


def test_what_a_step_takes_is_linear_in_the_images() -> None:
    parameters = [nn.Parameter(torch.zeros(5))]
    found = step_memory(lambda images: torch.empty(images, 1000, device="meta"), parameters, (1, 2, 2))
    assert found.image == pytest.approx(1.15 * 4000)
    assert found.fixed == 5 * 20
    assert found.loaded == 3 * 4 * 4


def test_as_many_images_at_once_as_stay_within_the_limit() -> None:
    memory = StepMemory(image=100.0, loaded=1.0, fixed=1000.0)
    assert memory.total(64) == 1000 + 64 + 6400
    assert memory.at_once(64, memory.total(64)) == 0
    for at_once in (2, 5, 63):
        assert memory.at_once(64, memory.total(64, at_once)) == at_once
        assert memory.at_once(64, memory.total(64, at_once) + 99) == at_once
    with pytest.raises(InputError, match="must stay within") as caught:
        memory.at_once(64, memory.total(64, 2) - 1)
    assert "--memory-gb" in caught.value.hint


def test_a_measurement_leaves_network_and_chance_alone() -> None:
    model = network()
    before, state = [value.clone() for value in model.parameters()], torch.random.get_rng_state()
    training_memory(model, Recipe(), (1, 8, 8), 3)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))
    assert torch.equal(state, torch.random.get_rng_state())


def test_half_of_what_is_free_is_the_limit_unless_one_is_given() -> None:
    free = free_bytes(CPU)
    assert taken_bytes(CPU) > 0
    assert step_limit_bytes(0.0, CPU) == pytest.approx(free / 2, rel=0.2)
    assert step_limit_bytes(8.0, CPU) == pytest.approx(8 * 2**30 - taken_bytes(CPU), rel=0.05)


GROWTH = """
import sys
import torch
from torch.nn.functional import cross_entropy
from hwnas.arch import space_instance
from hwnas.backends.torch import network_module
from hwnas.run.instance import extreme
from hwnas.train import Recipe, keep_freed_memory, peak_memory_mib
from hwnas.train.step_memory import training_memory

family, width, depth, resolution, batch, micro = sys.argv[1], float(sys.argv[2]), *map(int, sys.argv[3:])
torch.set_num_threads(1)
keep_freed_memory()
space = space_instance(family, width=width, depth=depth, resolution=resolution, channels=3, classes=10)
module = network_module(extreme(space, max))
expected = training_memory(module, Recipe(), (3, resolution, resolution), 10)

def step(images):
    x = torch.rand(images, 3, resolution, resolution).to(memory_format=torch.channels_last)
    for part in x.split(micro):
        cross_entropy(module.train()(part), torch.zeros(len(part), dtype=torch.int64)).backward()

step(2)  # loads what backward needs
before = peak_memory_mib(torch.device("cpu"))
step(batch)
grown = peak_memory_mib(torch.device("cpu")) - before
print(grown, (expected.total(batch, micro) - expected.total(2)) / 2**20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is told by /proc")
@pytest.mark.dear
@pytest.mark.parametrize("case", [("mobile", "0.25", "2", "64", "64", "64"), ("darts", "0.25", "0", "32", "48", "48")])
def test_the_peak_of_a_process_is_as_measured_without_computing(case: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", GROWTH, *case], capture_output=True, check=True, text=True)
    grown, expected = map(float, done.stdout.split())
    assert expected == pytest.approx(grown, rel=0.25)
