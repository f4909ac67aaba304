"""Meta-training on patterns that can be told apart: it helps, repeats itself, and goes on after any interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from meta_data import a_pool
from typer.testing import CliRunner, Result

from hwnas.arch import space_instance
from hwnas.arch.space import Architecture
from hwnas.cli import app
from hwnas.errors import DivergedError, InputError
from hwnas.latency.model import LatencyModel
from hwnas.latency.space_latency import latency_model
from hwnas.meta.initialisation import load_initialisation
from hwnas.meta.inner_loop import ALPHA, Inner, adapt
from hwnas.meta.meta_settings import MetaSettings
from hwnas.meta.problem import problem_of
from hwnas.meta.tasks import Shape, draw
from hwnas.meta.train import MetaTraining, Sources
from hwnas.progress import Silent

CPU = torch.device("cpu")
SPACE = space_instance("toy", width=0.5, resolution=8, channels=1, classes=3)
SMALL = Shape(ways=3, shots=3, queries=3)


def settings_of(method: str, **changes: Any) -> MetaSettings:
    usual = MetaSettings.of(method)
    few = replace(usual.inner, steps=2)
    short = {"steps": 4, "validations": 2, "validation_tasks": 2, "tasks_per_step": 1, "batch_size": 0}
    return replace(usual, **{"shape": SMALL, "validation": SMALL, "inner": few} | short | changes)


def training(settings: MetaSettings, models: tuple[LatencyModel, ...] = (), *, seed: int = 0) -> MetaTraining:
    train, held_out = a_pool(classes=20).hold_out()
    return MetaTraining(SPACE, Sources((train,), (held_out,), models), settings, seed=seed, device=CPU)


@pytest.mark.parametrize("method", ["reptile", "fomaml", "maml"])
def test_every_method_learns_weights_and_then_alpha(method: str, tmp_path: Path) -> None:
    one = training(settings_of(method))
    start = {name: value.detach().clone() for name, value in one.phi.items()}
    for step in range(2):
        one.step(step)
    assert torch.equal(one.phi[ALPHA], start[ALPHA])
    assert not torch.equal(one.phi["stem.0.conv.weight"], start["stem.0.conv.weight"])
    one.step(2)
    assert not torch.equal(one.phi[ALPHA], start[ALPHA])
    assert all(bool(torch.isfinite(value).all()) for value in one.phi.values())


def test_a_step_of_reptile_goes_towards_the_adapted_parameters() -> None:
    """φ ← φ + ε (φ̃ - φ), with ε = 1 and 0.6, times what is left of the training."""
    one = training(settings_of("reptile", weights_only=0.0))
    before = {name: value.detach().clone() for name, value in one.phi.items()}
    rng = np.random.default_rng([0, 1, 1, 0])
    task = one.task(one.sources.train, rng, training=True)
    problem = problem_of(one.learner, task, one.settings, rng, one.running)
    adapted = adapt(before, problem.support, one.settings.inner)
    one.step(1)
    for name, value in one.phi.items():
        rate = 0.75 * (0.6 if name == ALPHA else 1.0)
        torch.testing.assert_close(value.detach(), before[name] + rate * (adapted[name] - before[name]))


def test_a_network_learns_weights_alone_from_where_it_is_told(tmp_path: Path) -> None:
    network = SPACE.network(Architecture(SPACE.name, (0,) * len(SPACE.decisions)))
    settings = settings_of("fomaml", head="prototypes", augment="strong")
    train, held_out = a_pool(classes=20).hold_out()

    def made(start: Any = None) -> MetaTraining:
        return MetaTraining(network, Sources((train,), (held_out,)), settings, seed=0, device=CPU, start=start)

    one = made()
    one.run(checkpoint=tmp_path / "a.safetensors", progress=Silent())
    assert ALPHA not in one.phi
    assert all(bool(torch.isfinite(value).all()) for value in one.phi.values())
    other = made(one.weights())
    for name, value in one.weights().items():
        assert torch.equal(other.weights()[name], value)
    with pytest.raises(InputError, match="belongs to a meta-training with other settings"):
        other.restore(tmp_path / "a.safetensors")
    assert not torch.equal(one.phi["stem.conv.weight"], made().phi["stem.conv.weight"])


def test_adaptation_makes_alpha_nearly_one_hot() -> None:
    settings = settings_of("reptile", inner=Inner(rule="adam", steps=10, lr=1e-3, alpha_lr=0.05), mixing="soft")
    one = training(settings)
    rng = np.random.default_rng(0)
    task = one.task(one.sources.train, rng, training=True)
    params = adapt(one.initial(4), problem_of(one.learner, task, settings, rng, one.running).support, settings.inner)
    sharp = one.learner.probabilities(params[ALPHA], settings.temperature(10)).max(dim=1).values
    blunt = one.learner.probabilities(params[ALPHA], 1.0).max(dim=1).values
    assert settings.temperature(0) == 1.0
    assert settings.temperature(10) == pytest.approx(0.05)
    assert sharp.mean() > 0.85
    assert blunt.mean() < 0.65


def test_a_tight_budget_moves_alpha_to_cheap_options() -> None:
    model = latency_model(SPACE, lambda spec: float(spec.kernel**2))
    settings = settings_of("reptile", mixing="soft", inner=Inner(rule="sgd", steps=3, lr=0.0, alpha_lr=0.5))
    one = training(settings)
    task = draw(one.sources.train[0], SMALL, np.random.default_rng(0), CPU)
    ends = []
    for budget_ms in (model.largest_ms, 1.05 * model.smallest_ms):
        held = replace(task, model=model, budget_ms=budget_ms)
        problem = problem_of(one.learner, held, settings, np.random.default_rng(1), one.running)
        ends.append(one.learner.probabilities(adapt(one.initial(4), problem.support, settings.inner)[ALPHA]))
    costs = torch.tensor(model.costs_ms[0])
    assert ends[1][0] @ costs < ends[0][0] @ costs - 1.0


def test_what_is_learned_helps_on_classes_that_were_never_seen(tmp_path: Path) -> None:
    settings = settings_of(
        "fomaml", steps=60, weights_only=1.0, inner=Inner(steps=3, lr=0.1), outer_lr=5e-3, validation_tasks=12
    )
    train, held_out = a_pool(classes=20, textures=True).hold_out()
    settings = replace(settings, validations=1, mixing="soft")
    one = MetaTraining(SPACE, Sources((train,), (held_out,)), settings, seed=0, device=CPU)
    one.run(checkpoint=tmp_path / "state", progress=Silent())
    (_, before, _), (_, after, error) = one.history
    assert after > before + 0.15
    assert after > 0.6
    assert 0.0 < error < 0.1


def test_diverging_says_so() -> None:
    one = training(settings_of("fomaml", inner=Inner(steps=5, lr=1e30)))
    with pytest.raises(DivergedError, match=r"that of step 1 of 4") as caught:
        one.step(0)
    assert "--inner-lr" in caught.value.hint


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="cannot use it"):
        replace(MetaSettings.of("maml"), mixing="pair")
    with pytest.raises(InputError, match="norm of a meta-training must be one of transductive"):
        settings_of("reptile", norm="batch")
    with pytest.raises(InputError, match="steps of a meta-training must be at least 1"):
        settings_of("reptile", steps=0)
    assert [step for step in range(9) if settings_of("reptile", steps=8).validates_after(step)] == [0, 4, 8]


class Killed(BaseException):
    """Stands for SIGKILL."""


WORDS = (
    "meta-train --tasks {data} --space toy --width 0.5 --resolution 8 --ways 2 --shots 2 --queries 2 --steps 6 "
    "--inner-steps 2 --augment strong --accelerator cpu --quiet --out {out}"
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pool = a_pool(classes=8, images=20)
    path = tmp_path_factory.mktemp("data") / "patterns.npz"
    np.savez(path, x=pool.images.pixels[:, 0], y=pool.images.labels)
    return path


def hwnas(images: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(app, [*WORDS.format(data=images, out=out).split(), *more])


def test_the_same_seed_gives_the_same_bytes(images: Path, tmp_path: Path) -> None:
    for name, seed in (("one", "0"), ("two", "0"), ("other", "1")):
        done = hwnas(images, tmp_path / name, "--seed", seed, "--steps", "2", "--json")
        assert done.exit_code == 0, done.stderr
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two != other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other", "two"]
    init, facts = load_initialisation(tmp_path / "one"), json.loads(done.stdout)
    assert init.origin.space == "toy@w0.5-r8"
    assert init.tasks["held_out"] == ["6", "7"]
    assert init.metrics["history"][0][1] == init.metrics["accuracy_before"]
    assert (facts["metrics"]["norm"], facts["method"]["seed"]) == ("transductive", 1)
    assert init.alpha is not None
    assert float(init.alpha.abs().max()) > 0.0


@pytest.mark.dear
def test_killed_for_real_it_goes_on(images: Path, tmp_path: Path) -> None:
    """SIGKILL when the state after a validation is put in place."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert hwnas(images, whole).exit_code == 0
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from hwnas.cli import app\n"
        "replace, seen = Path.replace, []\n"
        "def counting(self, target):\n"
        "    seen.append(target)\n"
        "    result = replace(self, target)\n"
        "    if len(seen) == 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return result\n"
        "Path.replace = counting\n"
        "app(sys.argv[1:])\n"
    )
    words = WORDS.format(data=images, out=cut).split()
    killed = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not cut.exists()
    refused = hwnas(images, cut)
    assert refused.exit_code == 2
    assert "--resume continues it" in refused.stderr
    other = hwnas(images, cut, "--resume", "--shots", "3")
    assert other.exit_code == 2
    assert "belongs to a meta-training with other settings" in other.stderr
    resumed = hwnas(images, cut, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert cut.read_bytes() == whole.read_bytes()
    again = hwnas(images, cut)
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    assert hwnas(images, cut, "--force").exit_code == 0
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.dear
def test_minutes_decide_the_steps_once(images: Path, tmp_path: Path) -> None:
    words = WORDS.replace(" --steps 6", " --minutes 0.05").format(data=images, out=tmp_path / "file").split()
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["method"]["steps"] >= 10
    assert facts["metrics"]["history"][-1][0] == facts["method"]["steps"]
    both = hwnas(images, tmp_path / "other", "--minutes", "1")
    assert both.exit_code == 2
    assert "either --steps or --minutes" in both.stderr


def test_bad_input_is_explained(images: Path, tmp_path: Path) -> None:
    for more, complaint in (
        (("--method", "leap"), "unknown method of meta-learning 'leap'"),
        (("--hold-out", "greek"), "no class or group of classes called 'greek'"),
        (("--ways", "6"), "a task of 6 ways"),
        (("--tasks", "cifar0"), "neither a built-in data set"),
        (("--devices", "a-phone"), "no latency table of a-phone"),
        (("--norm", "some"), "norm must be"),
        (("--augment", "wild"), "augment of a meta-training must be one of none, small, strong"),
    ):
        done = hwnas(images, tmp_path / "file", *more)
        assert done.exit_code == 2, done.output
        assert complaint in done.stderr.replace("\n", " ")
        assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("option", [(), ("--force",)])
def test_nothing_of_somebody_else_is_replaced(option: tuple[str, ...], images: Path, tmp_path: Path) -> None:
    mine = {"photo.safetensors": b"mine", "other.safetensors.state/meta.safetensors": b"mine"}
    for name, content in mine.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for out in ("photo.safetensors", "other.safetensors"):
        refused = hwnas(images, tmp_path / out, *option)
        assert refused.exit_code == 2, refused.stderr
        assert "no file of hwnas" in refused.stderr or "there already" in refused.stderr
    assert {name: (tmp_path / name).read_bytes() for name in mine} == mine


def test_what_somebody_else_keeps_beside_the_state_stays(images: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out.safetensors", tmp_path / "out.safetensors.state" / "notes.txt"
    short = ("--steps", "1")
    refused = hwnas(images, out, "--resume")
    assert refused.exit_code == 2
    assert "no interrupted meta-training" in refused.stderr
    assert not list(tmp_path.iterdir())
    notes.parent.mkdir()
    notes.write_text("mine")
    assert hwnas(images, out, *short).exit_code == 0
    assert [path.name for path in notes.parent.iterdir()] == ["notes.txt"]
    assert hwnas(images, out, "--force", *short).exit_code == 0
    out.write_bytes(b"mine")
    assert hwnas(images, out, "--force").exit_code == 2
    assert out.read_bytes() == b"mine"
