from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwnas.data import Dataset, Images, load_dataset
from hwnas.errors import DivergedError, InputError
from hwnas.progress import Advance
from hwnas.train import Recipe, evaluate, train, training
from hwnas.train.checkpoint import load
from hwnas.train.ema import ModelEma

CPU = torch.device("cpu")
SHORT = Recipe(epochs=2, batch_size=16, warmup_epochs=1)


def network(seed: int = 0, *, dropout: float = 0.0, classes: int = 2) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, classes),
    )  # fmt: skip


def stripes(n: int = 60) -> Dataset:
    """Two classes: horizontal and vertical stripes, with noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    plain = np.broadcast_to(np.arange(8) % 2 * 100, (8, 8))
    pixels = np.stack([plain if label else plain.T for label in labels]) + rng.integers(0, 100, (n, 8, 8))
    images = Images(pixels.astype(np.uint8)[:, None], labels)
    return Dataset("stripes", ("rows", "columns"), images, images, images, (0.4,), (0.25,), flip=True)


def weights(model: nn.Module) -> bytes:
    return b"".join(value.contiguous().numpy().tobytes() for value in model.state_dict().values())


def trained(data: Dataset, recipe: Recipe, seed: int = 0, *, dropout: float = 0.0, **options: object) -> bytes:
    model = network(dropout=dropout)
    train(model, data, recipe, seed=seed, device=CPU, **options)  # type: ignore[arg-type]
    assert not model.training
    return weights(model)


class Recorder:
    def __init__(self) -> None:
        self.stages: list[tuple[str, int, int]] = []
        self.steps: list[int] = []
        self.notes: list[str] = []
        self.records: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        self.stages.append((label, total, done))

        def advance(steps: int = 1, note: str = "") -> None:
            self.steps.append(steps)
            self.notes.append(note)

        yield advance

    def say(self, message: str) -> None:
        raise AssertionError(message)

    def record(self, entry: Mapping[str, Any]) -> None:
        self.records.append(dict(entry))


def test_it_learns_digits() -> None:
    data = load_dataset("digits", resolution=8, seed=0)
    model = network(classes=10)
    train(model, data, Recipe(epochs=8, lr=0.02, warmup_epochs=1, augment=False), seed=0, device=CPU)
    assert evaluate(model, data.test, data, device=CPU).accuracy > 0.95


def test_the_seed_decides() -> None:
    data = stripes()
    first = trained(data, SHORT, dropout=0.3)
    torch.manual_seed(99)
    assert trained(data, SHORT, dropout=0.3) == first
    assert trained(data, SHORT, seed=1, dropout=0.3) != first


def test_the_global_generator_is_left_alone() -> None:
    model = network()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(model, stripes(), SHORT, seed=0, device=CPU)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(("n", "per_epoch"), [(60, [4]), (65, [4]), (66, [5]), (1601, [50, 50])])
def test_progress_counts_every_batch(n: int, per_epoch: list[int]) -> None:
    recorder = Recorder()
    recipe = Recipe(epochs=2, batch_size=16) if n < 1000 else Recipe(epochs=1, batch_size=16)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    train(model, stripes(n), recipe, seed=0, device=CPU, progress=recorder, label="final")
    assert recorder.steps == per_epoch * recipe.epochs
    assert recorder.stages == [("final", sum(recorder.steps), 0)]
    assert recorder.notes[-1].startswith(f"epoch {recipe.epochs} of {recipe.epochs}, loss ")
    assert [one["epoch"] for one in recorder.records] == list(range(1, recipe.epochs + 1))
    assert recorder.notes[-1].endswith(f"loss {recorder.records[-1]['loss']:.3f}")


def test_one_step_is_adamw_without_decay_on_norms() -> None:
    """With one batch and no warm-up, augmentation, smoothing or average, the result is one step of torch's AdamW."""
    data = stripes(16)
    recipe = Recipe(
        epochs=1, batch_size=16, lr=0.01, weight_decay=0.5, label_smoothing=0, warmup_epochs=0, ema_decay=0,
        clip=1e9, augment=False,
    )  # fmt: skip
    model, reference = network(), network()
    train(model, data, recipe, seed=0, device=CPU)
    decayed = [p for p in reference.parameters() if p.ndim > 1]
    others = [p for p in reference.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.5}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate(0.5))
    x = (torch.from_numpy(data.train.pixels).float() / 255 - 0.4) / 0.25
    nn.functional.cross_entropy(reference(x), torch.from_numpy(data.train.labels)).backward()
    optimizer.step()
    # Adam divides by the gradient's size: where it is nearly zero, rounding decides, so compare the bulk.
    for found, expected in zip(model.parameters(), reference.parameters(), strict=True):
        assert (found - expected).abs().median() < 1e-6
    torch.testing.assert_close(model[1].running_mean, reference[1].running_mean)


def test_class_weights_and_clipping_reach_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    data = stripes(30)
    keep = np.flatnonzero((data.train.labels == 0) | (np.arange(30) < 8))
    uneven = Images(data.train.pixels[keep], data.train.labels[keep])
    data = Dataset("uneven", data.classes, uneven, uneven, uneven, data.mean, data.std, flip=False)
    seen: list[tuple[float, ...]] = []
    norms: list[float] = []
    loss, clip = torch.nn.functional.cross_entropy, nn.utils.clip_grad_norm_

    def spy_loss(*args: Tensor, weight: Tensor, label_smoothing: float) -> Tensor:
        seen.append((*weight.tolist(), label_smoothing))
        return loss(*args, weight=weight, label_smoothing=label_smoothing)

    def spy_clip(parameters: list[nn.Parameter], limit: float) -> Tensor:
        norm = clip(parameters, limit)
        norms.append(float(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]).norm()))
        return norm

    monkeypatch.setattr("hwnas.train.training.cross_entropy", spy_loss)
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", spy_clip)
    recipe = Recipe(epochs=1, batch_size=8, clip=0.01, class_balanced=True)
    train(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), data, recipe, seed=0, device=CPU)
    assert seen[0] == pytest.approx((*data.class_weights(), 0.1))
    assert max(norms) <= 0.0101
    plain = Recipe(epochs=1, batch_size=8, clip=0.01)
    train(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), data, plain, seed=0, device=CPU)
    assert seen[-1] == (1.0, 1.0, 0.1)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_average_follows_its_recurrence(decay: float) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = ModelEma(model, decay)
    expected = {name: value.double().clone() for name, value in model.state_dict().items()}
    for step in range(12):
        with torch.no_grad():
            for p in model.parameters():
                p.normal_(generator=torch.Generator().manual_seed(step))
            model[1].running_mean.add_(1)
            model[1].num_batches_tracked.add_(1)
        average.update(step)
        d = min(decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            expected[name] = d * expected[name] + (1 - d) * value.double()
    assert average.values["1.num_batches_tracked"] == 12
    for name, value in average.values.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], atol=1e-6, rtol=1e-6)


def test_the_network_ends_with_its_average(tmp_path: Path) -> None:
    model = network()
    train(model, stripes(), SHORT, seed=0, device=CPU, checkpoint=tmp_path / "state")
    stored = load(tmp_path / "state")[0]
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[f"average.{name}"])
    assert not torch.equal(stored["average.1.running_mean"], stored["model.1.running_mean"])
    assert not torch.equal(stored["average.0.weight"], stored["model.0.weight"])


class Breaks(nn.Module):
    """Gives NaN from the `at`-th call on."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.linear, self.at, self.calls = nn.Linear(64, 2), at, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(x.flatten(1)) * (float("nan") if self.calls >= self.at else 1.0)


def test_divergence_is_reported_at_once() -> None:
    model = Breaks(at=6)  # 4 batches an epoch: the second of epoch 2
    with pytest.raises(DivergedError, match=r"epoch 2 of 3 at learning rate 0\.0\d+") as caught:
        train(model, stripes(), Recipe(epochs=3, batch_size=16, lr=0.02), seed=0, device=CPU)
    assert model.calls == 6
    assert caught.value.exit_code == 7
    assert caught.value.hint


def test_a_finished_run_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "state"
    first = trained(stripes(), SHORT, checkpoint=path)
    recorder = Recorder()
    assert trained(stripes(), SHORT, checkpoint=path, progress=recorder) == first == trained(stripes(), SHORT)
    assert recorder.steps == []
    assert recorder.stages == [("train", 8, 8)]


def test_a_training_is_shortened_on_its_way_and_resumed_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To three epochs after the second of four: the third does what was planned for two."""
    monkeypatch.setattr(training._Pace, "epoch_s", lambda _, done: 7.0 if done > 1 else 0.0)
    asked: list[tuple[int, int, float]] = []
    stored: list[bytes] = []
    path = tmp_path / "state"

    def shorten(recipe: Recipe, behind: int, epoch_s: float) -> Recipe:
        asked.append((recipe.epochs, behind, epoch_s))
        stored.append(path.read_bytes())
        return recipe.shorter(3, behind=2)

    recorder = Recorder()
    model = network()
    found = train(
        model, stripes(), FOUR_EPOCHS, seed=0, device=CPU, checkpoint=path, progress=recorder, shorten=shorten
    )
    assert (asked, found) == ([(4, 2, 7.0)], FOUR_EPOCHS.shorter(3, behind=2))
    assert sum(recorder.steps) == 16
    assert trained(stripes(), found) == weights(model) != trained(stripes(), replace(FOUR_EPOCHS, epochs=3))
    path.write_bytes(stored[0])  # of the first epoch: as of a run that was killed before the second was stored
    assert trained(stripes(), found, checkpoint=path) == weights(model)


def test_another_run_s_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    trained(stripes(), SHORT, checkpoint=path)
    before = path.read_bytes()
    longer = Recipe(epochs=3, batch_size=16, warmup_epochs=1)
    for data, recipe, seed in ((stripes(), SHORT, 1), (stripes(), longer, 0), (stripes(62), SHORT, 0)):
        with pytest.raises(InputError, match="same recipe, seed, data and network") as caught:
            trained(data, recipe, seed, checkpoint=path)
        assert "delete it" in caught.value.hint
    with pytest.raises(InputError, match="same recipe"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), stripes(), SHORT, seed=0, device=CPU, checkpoint=path)
    assert path.read_bytes() == before


PHOTO = replace(
    SHORT, crop_scale=0.5, color_jitter=0.3, trivial_augment=True, random_erasing=0.5, mixup=0.2, cutmix=1.0
)


def test_all_augmentation_ends_with_the_same_bytes_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    whole = trained(stripes(), PHOTO)
    path = tmp_path / "state"

    class StoppedError(Exception):
        pass

    class AfterOneEpoch(Recorder):
        @contextlib.contextmanager
        def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
            def advance(steps: int = 1, note: str = "") -> None:
                raise StoppedError

            yield advance

    with pytest.raises(StoppedError):
        trained(stripes(), PHOTO, checkpoint=path, progress=AfterOneEpoch())
    assert trained(stripes(), PHOTO, checkpoint=path) == whole
    assert trained(stripes(), replace(PHOTO, mixup=0.0, cutmix=0.0)) != whole


FOUR_EPOCHS = Recipe(epochs=4, batch_size=16, warmup_epochs=1)

CHILD = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
from test_train_loop import CPU, FOUR_EPOCHS, network, stripes, train

torch.set_num_threads(1)
model, calls = network(dropout=0.2), 0

def stop(*_):
    global calls
    calls += 1
    if str(calls) in sys.argv[3:]:
        print("stopped", flush=True)
        sys.stdin.readline()

model.register_forward_pre_hook(stop)
train(model, stripes(), FOUR_EPOCHS, seed=0, device=CPU, checkpoint=Path(sys.argv[2]))
"""


@pytest.mark.dear
def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    batches = ("2", "10")  # in the first and in the third epoch of four
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(state), *batches]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"stopped\n"
        assert not state.exists(), "nothing is stored yet"
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"stopped\n"
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    recorder = Recorder()
    assert trained(stripes(), FOUR_EPOCHS, dropout=0.2, checkpoint=state, progress=recorder) == trained(
        stripes(), FOUR_EPOCHS, dropout=0.2
    )
    assert recorder.stages == [("train", 16, 8)]
