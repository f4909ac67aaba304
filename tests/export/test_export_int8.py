"""int8 that recovers: the order of the ways, what they find on networks with a known fault, and the training."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwnas.arch import Network, OpSpec
from hwnas.backends.fake_quantize import fake_quantise, plain, rounded
from hwnas.backends.model_format import format_of
from hwnas.backends.parity import trained_like
from hwnas.backends.quantize import Setting, settings_of
from hwnas.backends.torch import export_weights, load_weights, network_module
from hwnas.backends.weights import Weights
from hwnas.data import Dataset, Images, to_input
from hwnas.errors import ExportError
from hwnas.exporting import int8, quantise_aware
from hwnas.exporting.file_images import FileOutcome, calibration_inputs
from hwnas.exporting.int8 import Allowed, Quantising, Source, int8_file, with_test_images
from hwnas.exporting.int8_ways import Attempt, Drop, attempts, divergence, most_floats, ranking
from hwnas.exporting.int8_ways import ways as number_of_ways
from hwnas.metrics import Tally
from hwnas.progress import Silent
from hwnas.train import Recipe
from hwnas.train.norms import train_with_kept_statistics

CLASSES = tuple("abcd")
NETWORK = Network(
    (
        ("first", OpSpec("conv", 3, 8, 8, 8, 3, act="relu")),
        ("second", OpSpec("conv", 8, 8, 8, 8, 3, act="relu")),
        ("third", OpSpec("conv", 8, 8, 8, 8, act="relu")),
        ("last", OpSpec("classifier", 8, 4, 8, 8)),
    )
)


class Known:
    """A network whose files say themselves how they were made."""

    settings = settings_of("min-max", "percentile")

    def __init__(self, layers: int) -> None:
        self.layers = tuple(f"layer{k}" for k in range(layers))

    def quantised(self, setting: Setting, floats: Collection[str] = (), *_: Any) -> bytes:
        return f"{setting}|{','.join(floats)}".encode()


@given(st.integers(0, 40), st.integers(0, 3))
def test_the_ways_go_from_cheap_to_dear(layers: int, best: int) -> None:
    known = Known(layers)
    costs = [0.5] * len(known.settings)
    costs[best] = 0.4
    asked: list[Setting] = []

    def judged(setting: Setting, floats: Collection[str]) -> tuple[bytes, Drop]:
        return known.quantised(setting, floats), Drop(0.3 if floats else costs[known.settings.index(setting)])

    def rank(setting: Setting) -> list[str]:
        asked.append(setting)
        return [*reversed(known.layers)]

    every = attempts(known, judged, rank)
    whole = [next(every)[0] for _ in known.settings]
    assert [one.setting for one in whole] == [*known.settings]
    assert [one.setting.per_channel for one in whole] == [True, True, False, False]
    assert not asked, "layers are ranked once all settings have failed"
    further = [one for one, _ in every]
    assert len(whole) + len(further) == number_of_ways(known)
    assert asked == [known.settings[best]] * (layers > 1)
    assert [one.floats for one in further] == [
        tuple(reversed(known.layers[-count:])) for count in range(1, most_floats(layers) + 1)
    ]
    assert {one.setting for one in further} <= {known.settings[best]}


@given(st.integers(0, 500))
def test_some_layers_stay_int8(layers: int) -> None:
    most = most_floats(layers)
    assert 0 <= most <= max(layers - 1, 0)
    assert most <= max(2, layers / 4)


@given(st.permutations(range(6)))
def test_layers_are_ranked_by_what_each_costs_alone(order: list[int]) -> None:
    known = Known(6)

    def cost(made: bytes) -> float:
        floats = made.decode().split("|")[1].split(",")
        (quantised,) = {*known.layers} - {*floats}
        return float(order.index(known.layers.index(quantised)))

    assert ranking(known, known.settings[0], cost) == [known.layers[one] for one in reversed(order)]


def test_divergence_is_that_of_the_formula() -> None:
    scores, others = np.random.default_rng(0).normal(size=(2, 50, 7)).astype(np.float32)
    own, other = (torch.from_numpy(one).double().log_softmax(1) for one in (scores, others))
    expected = torch.nn.functional.kl_div(other, own, log_target=True, reduction="batchmean").item()
    assert divergence(scores, others, "logits") == pytest.approx(expected)
    shares = (own.exp().float().numpy(), other.exp().float().numpy())
    assert divergence(*shares, "probabilities") == pytest.approx(expected, rel=1e-4)
    assert divergence(scores, scores, "logits") == 0
    others[3, 2] = np.nan
    assert divergence(scores, others, "logits") == np.inf


def images(count: int = 160) -> torch.Tensor:
    """Smooth ones (n, 3, 8, 8)."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, 3, 3, 3))
    pixels = torch.nn.functional.interpolate(torch.from_numpy(coarse), (8, 8), mode="bilinear")
    return pixels.round().to(torch.uint8)


def logits(weights: Weights, pixels: torch.Tensor) -> torch.Tensor:
    module = network_module(NETWORK).eval()
    load_weights(module, weights)
    with torch.inference_mode():
        return module(to_input(pixels, (0.5,) * 3, (0.25,) * 3))


def dataset(weights: Weights, count: int = 160) -> Dataset:
    """Images that the network itself has named, in float: it is right on all of them."""
    pixels = images(count)
    labels = logits(weights, pixels).argmax(1).numpy()
    assert np.bincount(labels, minlength=4).min() > count / 10
    parts = [Images(pixels.numpy()[k::2], labels[k::2]) for k in range(2)]
    return Dataset("noise", CLASSES, parts[0], parts[1], parts[0], (0.5,) * 3, (0.25,) * 3, flip=False)


def telling_apart(weights: dict[str, Any]) -> dict[str, Any]:
    """The same with a last layer whose logits are centred, and have a deviation of 3 for each class."""
    found = logits(weights, images()).numpy()
    scale = 3 / found.std(0)
    weights["last.linear.weight"] *= scale[:, None]
    weights["last.linear.bias"] = (weights["last.linear.bias"] - found.mean(0)) * scale
    return weights


def sound(seed: int = 1) -> dict[str, Any]:
    """Weights as after a training, that quantise well."""
    torch.manual_seed(seed)
    module = network_module(NETWORK)
    trained_like(module, NETWORK, seed)
    return telling_apart(export_weights(module))


def broken(name: str, factor: float = 1e3) -> dict[str, Any]:
    """The same, with one layer that eight bits cannot hold, whatever their scales.

    The op before it has a channel that is always zero; all channels of the layer read it with a weight so large that
    all other weights are rounded to zero beside it; with a smaller factor, to few levels.
    """
    weights, names = sound(), [one for one, _ in NETWORK.ops]
    before = names[names.index(name) - 1]
    weights[f"{before}.conv.norm.bias"][0] = -1e3
    weights[f"{name}.conv.weight"][:, 0] = factor * np.abs(weights[f"{name}.conv.weight"]).max()
    return telling_apart(weights)


def source(weights: Weights, data: Dataset, runtime: str = "onnxruntime") -> Source:
    model_format = format_of(runtime, "int8")
    interface = model_format.app_interface(data.mean, data.std)

    def write(weights: Weights) -> bytes:
        return model_format.model(NETWORK, weights, interface=interface)

    return Source(model_format, NETWORK, weights, write(weights), write)


class Heard:
    """What was told: messages, and of each task that is open what is noted."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.noted: list[tuple[str, int, int, str]] = []
        self.open = 0

    def quantising(self, data: Dataset, allowed: Allowed) -> Quantising:
        from hwnas.events import Event, Events

        def hear(event: Event) -> None:
            if event.kind == "message":
                self.said.append(event.label)
            if event.kind == "advance":
                self.noted.append((event.label, event.done, event.total, event.note))
            self.open += {"begin": 1, "end": -1}.get(event.kind, 0)

        return Quantising(data, allowed, progress=Events(hear), label="model-int8.onnx")


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_a_sound_network_is_quantised_at_once(runtime: str) -> None:
    weights, heard = sound(), Heard()
    data = dataset(weights)
    content, found = int8_file(source(weights, data, runtime), heard.quantising(data, Allowed(max_drop=20.0)))
    assert found.tried == (found.taken,)
    assert found.taken.floats == ()
    assert found.taken.setting.per_channel
    assert found.taken.size_bytes == len(content)
    assert found.drop <= 0.2
    (said,) = heard.said
    assert said == f"model-int8.onnx, int8: {found.taken}"
    task, ways = "quantising model-int8.onnx", {"onnxruntime": 4, "litert": 6}[runtime] + most_floats(4)
    read = len(calibration_inputs(data))
    assert heard.noted == [
        *(("judging the float file of model-int8.onnx", count, 80, "") for count in (32, 64, 80)),
        (task, 0, ways, f"attempt 1 of {ways}"),
        *(("judging model-int8.onnx", count, read + 80, "calibrating") for count in range(1, read + 1)),
        *(("judging model-int8.onnx", read + count, read + 80, "classifying") for count in (0, 32, 64, 80)),
    ]
    assert heard.open == 0


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
@pytest.mark.parametrize("name", ["second", "third"])
def test_the_one_layer_that_eight_bits_cannot_hold_stays_float(
    name: str, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "tuned_weights", None)  # which it does not come to
    weights, heard = broken(name), Heard()
    data = dataset(weights)
    content, found = int8_file(source(weights, data, runtime), heard.quantising(data, Allowed(max_drop=20.0)))
    assert found.taken.floats == (f"{name}.conv",)
    *before, last = found.tried
    assert last is found.taken
    assert len(before) == len({one.setting for one in before})
    assert all(one.drop > 0.3 and one.floats == () for one in before)
    assert last.setting == min(before, key=lambda one: one.drop).setting
    assert last.drop <= 0.2
    assert heard.said == [f"model-int8.onnx, int8: {last}"]
    assert str(last) == f"{last.setting}, 1 of 4 layers in float: drop {last.points} points"
    assert {label for label, *_ in heard.noted} == {
        *("quantising model-int8.onnx", "ranking the layers of model-int8.onnx"),
        *("judging model-int8.onnx", "judging the float file of model-int8.onnx"),
    }
    assert heard.open == 0
    model_format = format_of(runtime, "int8")
    right = model_format.run(content, data.test.pixels).argmax(1) == data.test.labels
    reported = with_test_images(source(weights, data, runtime), content, Quantising(data), found)
    assert (reported.tried, reported.taken) == (found.tried, found.taken)
    assert reported.test is not None
    assert reported.test.accuracy == pytest.approx(right.mean())
    assert reported.test_drop == pytest.approx(1 - right.mean())
    changed = max(1, (~right).sum())  # as the float file is right
    assert reported.test_drop_error == pytest.approx(changed**0.5 / len(right))


def test_the_images_that_choose_are_not_those_that_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test images are read once everything is chosen: twice, of the float file and of the one that is taken."""
    weights = broken("second")
    data = dataset(weights)
    data = dataclasses.replace(data, test=data.test.subset(np.arange(20)))
    read: list[int] = []
    original = int8.file_outcome

    def counted(model_format: Any, model: bytes, dataset: Dataset, images: Images, *tell: Any) -> Any:
        read.append(len(images))
        return original(model_format, model, dataset, images, *tell)

    monkeypatch.setattr(int8, "file_outcome", counted)
    own, how = source(weights, data), Quantising(data, Allowed(max_drop=20.0))
    content, found = int8_file(own, how)
    assert read == [80] * (1 + len(found.tried))
    assert found.test is None
    with_test_images(own, content, how, found)
    assert read[-2:] == [20, 20]


def test_a_file_that_is_too_large_does_not_do() -> None:
    """Layers in float are four times as large; a limit on the size holds for them, too."""
    weights = broken("second")
    data = dataset(weights)
    _, free = int8_file(source(weights, data), Quantising(data, Allowed(max_drop=20.0)))
    limit = max(one.size_bytes for one in free.tried if not one.floats)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "tuned_weights", lambda network, weights, *_, **__: weights)
        content, found = int8_file(source(weights, data), Quantising(data, Allowed(20.0, max_bytes=limit)))
    assert len(content) == found.taken.size_bytes <= limit
    assert any(one.size_bytes > limit and one.drop <= 0.2 for one in found.tried)
    with pytest.raises(ExportError, match=r"are allowed\. Tried: .*\(too large\)"):
        found.check(Allowed(20.0, max_bytes=limit), "hint")


def test_where_nothing_helps_the_gate_fires_with_all_that_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {name: one.copy() for name, one in sound().items()}
    data = dataset(weights)
    wrong = dataclasses.replace(data, val=Images(data.val.pixels, data.val.labels))
    seen: list[Weights] = []

    def tuned(network: Network, weights: Weights, *_: Any, **__: Any) -> Weights:
        seen.append(weights)
        return weights

    monkeypatch.setattr(int8, "tuned_weights", tuned)
    monkeypatch.setattr(int8, "file_outcome", Falling())
    heard = Heard()
    _, found = int8_file(source(weights, wrong), heard.quantising(wrong, Allowed(max_drop=5.0)))
    count = 4 + most_floats(4)
    assert [one.tuned for one in found.tried] == [False] * count + [True] * count
    last = {label: (done, total, note) for label, done, total, note in heard.noted}
    assert last["quantising model-int8.onnx"] == last["quantising model-int8.onnx, fine-tuned"]
    assert last["quantising model-int8.onnx"] == (count, count, f"attempt {count} of {count}")
    few = "80 validation images are too few to tell less than 6.9 points"
    assert heard.said == [f"model-int8.onnx, int8: {found.taken}; {few}"]
    assert len(seen) == 1
    assert found.taken == found.tried[0], "the best, of which the first"
    with pytest.raises(ExportError, match=r"quantising costs 10 ± 3\.5 points of accuracy") as caught:
        found.check(Allowed(max_drop=5.0), "do this")
    said = str(caught.value)
    assert all(str(one) in said for one in found.tried)
    assert "per-tensor, percentile: drop" in said
    assert "per-channel, min-max, fine-tuned, 2 of 4 layers in float: drop" in said
    assert (caught.value.hint, caught.value.exit_code) == ("do this", 6)


class Falling:
    """The float file is right on 72 of 80 images, every other one on 64 of these."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, *_: Any) -> FileOutcome:
        self.asked += 1
        right = np.arange(80) < (72 if self.asked == 1 else 64)
        tally = Tally(2)
        tally.add(np.eye(2)[right.astype(int)], np.ones(80, int))
        return FileOutcome(tally.metrics(), right)


def test_a_file_that_the_runtime_refuses_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as the dearest, and the others are tried; where none is left, all are named."""
    weights = sound()
    data = dataset(weights)
    own = source(weights, data)

    def opened(model: bytes) -> Any:
        if (model != own.content) and refuse(model):
            raise ExportError("refused")
        return format_of("onnxruntime").opened(model)

    picky = dataclasses.replace(own, model_format=dataclasses.replace(own.model_format, opened=opened))
    seen: list[bytes] = []

    def refuse(model: bytes) -> bool:
        seen.append(model)
        return len(seen) < 3

    _, found = int8_file(picky, Quantising(data, Allowed(max_drop=20.0)))
    assert [one.refused for one in found.tried] == [True, True, False]
    assert found.tried[0].to_json()["val_drop"] is None
    assert str(found.tried[0]) == "per-channel, min-max: refused"
    monkeypatch.setattr(int8, "tuned_weights", lambda network, weights, *_, **__: weights)
    none = dataclasses.replace(own, model_format=dataclasses.replace(own.model_format, opened=never(own)))
    with pytest.raises(ExportError, match="no int8 file of the network runs") as caught:
        int8_file(none, Quantising(data))
    assert str(caught.value).count("refused") == 2 * (4 + most_floats(4))


def never(own: Source) -> Any:
    """Opens the float file alone."""

    def opened(model: bytes) -> Any:
        if model == own.content:
            return format_of("onnxruntime").opened(model)
        raise ExportError("refused")

    return opened


def test_int8_tells_all_of_it_in_json() -> None:
    one = Attempt(Setting(True, "percentile"), ("a", "b"), 31, False, 0.004, 1000)
    assert str(one) == "per-channel, percentile, 2 of 31 layers in float: drop 0.4 points"
    one = dataclasses.replace(one, error=0.0031)
    assert str(one).endswith("in float: drop 0.4 ± 0.31 points")
    content = int8.Int8((one,), one, None, 0.002, 0.001).to_json()
    assert content == {
        "weights": "per-channel",
        "calibration": "percentile",
        "float_layers": ["a", "b"],
        "layers": 31,
        "tuned": False,
        "val_drop": 0.004,
        "val_drop_error": 0.0031,
        "bytes": 1000,
        "test_drop": 0.002,
        "test_drop_error": 0.001,
        "tried": [one.to_json()],
    }


def module_of(weights: Weights) -> Any:
    module = network_module(NETWORK)
    load_weights(module, weights)
    return module


def test_a_network_in_training_computes_nearly_what_its_int8_file_computes() -> None:
    """Against the file that ONNX Runtime's quantiser makes of the same weights, which eight bits hold badly."""
    weights = broken("second", 15.0)
    data = dataset(weights)
    inputs = to_input(torch.from_numpy(data.train.pixels), data.mean, data.std).contiguous()
    module = module_of(weights)
    scale = float(inputs.max() - inputs.min()) / 255
    rounded_inputs = torch.fake_quantize_per_tensor_affine(inputs, scale, round(-inputs.min().item() / scale), 0, 255)
    with torch.inference_mode():
        exact = module.eval()(inputs).numpy()
    fake_quantise(module, NETWORK)
    train_with_kept_statistics(module)
    with torch.inference_mode():
        module(rounded_inputs)
        found = module.eval()(rounded_inputs).numpy()
    model_format = format_of("onnxruntime", "int8")
    assert model_format.quantize is not None
    content = model_format.quantize(model_format.model(NETWORK, weights), inputs.numpy())
    file = model_format.run(content, inputs.numpy())
    assert np.abs(exact - file).mean() > 0.5
    assert np.abs(found - file).mean() < 0.2 * np.abs(exact - file).mean()


def test_all_weights_learn_and_keep_their_names() -> None:
    weights = sound()
    module = module_of(weights)
    fake_quantise(module, NETWORK)
    module.train()(torch.randn(8, 3, 8, 8)).square().sum().backward()
    assert all(bool(one.grad is not None and one.grad.any()) for one in module.parameters())
    plain(module)
    state = module.state_dict()
    assert all(torch.equal(state[name], torch.from_numpy(weights[name])) for name in weights if "running" not in name)


def test_activations_that_are_computed_with_a_layer_are_rounded_behind_it() -> None:
    """Where a relu alone reads a convolution, the file writes eight bits once: behind the relu."""
    graph = OpSpec("conv", 3, 8, 8, 8, act="relu").graph
    assert [type(node.primitive).__name__ for node in graph.nodes] == ["Conv", "Activation"]
    assert rounded(graph) == [1]
    assert rounded(OpSpec("conv", 3, 8, 8, 8, act="hswish").graph) == [0, 1]
    assert rounded(OpSpec("conv", 3, 8, 8, 8).graph) == [0]


def test_a_training_for_int8_recovers_and_is_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of which eight bits leave three or four is trained to live with them."""
    monkeypatch.setattr(quantise_aware, "_STEPS", 80)
    weights = broken("second", 15.0)
    data = dataset(weights, 240)

    def right(weights: Weights) -> float:
        own = source(weights, data)
        assert own.model_format.quantize is not None
        content = own.model_format.quantize(own.content, data.train.pixels)
        return float(int8.file_outcome(own.model_format, content, data, data.val).metrics.accuracy)

    options: Any = {"metric": "accuracy", "seed": 0, "device": torch.device("cpu"), "progress": Silent()}
    found = [quantise_aware.tuned_weights(NETWORK, weights, data, **options) for _ in range(2)]
    assert found[0].keys() == weights.keys()
    assert all((found[0][name] == found[1][name]).all() for name in weights)
    before, after = right(weights), right(found[0])
    assert before < 0.7
    assert after > before + 0.1


@given(st.integers(2, 200_000), st.sampled_from([32, 224]))
def test_as_many_steps_for_few_images_as_for_many(images: int, resolution: int) -> None:
    recipe = quantise_aware.tuning_recipe(images, resolution, balanced=False)
    assert isinstance(recipe, Recipe)
    assert 300 <= recipe.epochs * recipe.epoch_steps < 300 + recipe.epoch_steps
    assert recipe.epoch_steps * recipe.batch_size <= max(images, recipe.batch_size)
    assert recipe.keep_statistics
