"""Which instance of a space a budget in milliseconds calls for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from run_fakes import a_config, changed, draw_images

from hwnas.arch import SlotSpace, space_instance, space_rungs
from hwnas.arch.costs import macs, written
from hwnas.arch.network import Network
from hwnas.config import Configuration, Target
from hwnas.data import Dataset, Images
from hwnas.devices.device import Condition, Device, load_device
from hwnas.errors import InfeasibleBudgetError, InputError
from hwnas.latency import missing_rows
from hwnas.nas.strategies import strategy
from hwnas.progress import Progress, Silent
from hwnas.run import affordable, instance, plan_devices
from hwnas.run.plan import make_plan
from hwnas.run.run_folder import RunFolder

measured_floor_ms = instance.floor_ms
NS_PER_MAC = 0.25  # of the made-up machine: 0.25 ms a million multiply-adds


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def floor_ms(
        networks: Mapping[str, Network], device: Device, *, progress: Progress, label: str
    ) -> dict[str, float]:
        return {name: macs(network.graph) * NS_PER_MAC / 1e6 for name, network in networks.items()}

    monkeypatch.setattr(instance, "floor_ms", floor_ms)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return draw_images(tmp_path / "small", count=4, size=32)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return draw_images(tmp_path / "photos", count=4, size=200)


def test_the_ends_of_spaces_are_measured() -> None:
    ends = {"small": instance.extreme(mobile(0.25, 2), min), "large": instance.extreme(mobile(1.0, 2), max)}
    found_ms = measured_floor_ms(ends, load_device("host"), progress=Silent())
    assert 0 < 2 * found_ms["small"] < found_ms["large"]


def range_ms(space: SlotSpace) -> tuple[float, float]:
    low, high = (macs(instance.extreme(space, pick).graph) for pick in (min, max))
    return low * NS_PER_MAC / 1e6, high * NS_PER_MAC / 1e6


def mobile(width: float, depth: int, resolution: int = 32) -> SlotSpace:
    return space_instance("mobile", width=width, depth=depth, resolution=resolution, channels=3, classes=3)


def test_rungs_grow() -> None:
    ranges = [range_ms(mobile(width, depth)) for width, depth in space_rungs("mobile")]
    assert ranges == sorted(ranges)
    assert [high for _, high in ranges] == sorted(high for _, high in ranges)
    assert space_rungs("toy") == ()


@pytest.mark.parametrize("budget_ms", [0.3, 0.5, 1.0, 3.0, 7.0])
def test_the_budget_cuts_the_space_that_it_chooses(budget_ms: float, small: Path) -> None:
    plan = make_plan(a_config(small, space="mobile", width=0.0, resolution=0, budget=str(budget_ms)), None)
    low, high = range_ms(plan.space)
    assert low + instance.SHARE * (high - low) <= budget_ms < high
    assert plan.space.input_shape == (3, 32, 32)
    assert (plan.config.space.width, plan.config.space.resolution) == (float(plan.space.name[8:].partition("-")[0]), 32)
    larger = space_rungs("mobile")[space_rungs("mobile").index((plan.config.space.width, plan.config.space.depth)) + 1]
    low, high = range_ms(mobile(*larger))
    assert low + instance.SHARE * (high - low) > budget_ms
    assert "largest space of which" in plan.reason


class Told(Silent):
    """Keeps what is said, in the order of what is done."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def say(self, message: str) -> None:
        self.events.append(message)


def test_nothing_is_measured_before_it_is_said(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, measure = Told(), instance.floor_ms

    def floor_ms(
        networks: Mapping[str, Network], device: Device, *, progress: Progress, label: str
    ) -> dict[str, float]:
        told.events.append(f"{len(networks)} networks")
        return measure(networks, device, progress=progress, label=label)

    monkeypatch.setattr(instance, "floor_ms", floor_ms)
    config = a_config(photos, space="mobile", width=0.0, resolution=0)
    make_plan(changed(config, budget="50%"), None, progress=told)
    make_plan(changed(config, budget="2", width=0.5), None, progress=told)
    assert told.events == []  # nothing is to be chosen by measuring
    plan = make_plan(changed(config, budget="2.5"), None, progress=told)
    passes = list(zip(told.events[::2], told.events[1::2], strict=True))
    said, done = passes.pop(1)  # after the first, whether any size at all can do
    smallest = mobile(*space_rungs("mobile")[0], resolution=64)
    assert said == f"measuring the smallest network of {smallest.name} on host, for about a second"
    assert done == "1 networks"
    resolutions = (200, 192, 160, 128, 96, 64)  # from the largest on, until one leaves room
    assert len(passes) == 1 + resolutions.index(plan.space.input_shape[1]) > 1
    for (said, done), resolution in zip(passes, resolutions, strict=False):
        assert done == "18 networks"
        expected = f"smallest and the largest network of 9 sizes of the space mobile at {resolution} pixels on host"
        assert expected in said
        assert "for about 5 s, to choose a size for 2.5 ms" in said
    told.events.clear()
    with pytest.raises(InfeasibleBudgetError) as caught:
        make_plan(changed(config, budget="0.001"), None, progress=told)
    assert told.events[1::2] == ["18 networks", "1 networks"], "the sizes between are not measured"
    assert caught.value.smallest_ms == pytest.approx(range_ms(smallest)[0])


def test_one_size_is_not_called_several(small: Path) -> None:
    labels: list[str] = []

    def floor_ms(
        networks: Mapping[str, Network], device: Device, *, progress: Progress, label: str
    ) -> dict[str, float]:
        labels.append(label)
        return dict.fromkeys(networks, 1.0)

    space, device = mobile(0.5, 2), load_device("host")
    said = instance.announcement([space], [2.0], device.id)
    assert said.startswith("measuring the smallest and the largest network of the space mobile at 32 pixels on host")
    assert said.endswith("to see whether it fits 2 ms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instance, "floor_ms", floor_ms)
        instance.measured_ranges([space], device, progress=Silent())
        instance.measured_ranges([space, mobile(1.0, 2)], device, progress=Silent())
    assert labels == ["measuring the ends of mobile@w0.5-d2-r32,", "measuring which of 2 sizes fits,"]


def test_a_remote_device_is_not_asked_before_it_is_said(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, host = Told(), plan_devices.condition_of(load_device("host"))

    def condition_of(device: Device) -> Condition:
        told.events.append(f"contact {device.id}")
        return host

    monkeypatch.setattr(plan_devices, "condition_of", condition_of)
    monkeypatch.setattr(missing_rows, "condition_of", condition_of)
    toml = tmp_path / "board.toml"
    toml.write_text(
        'id = "board"\ndescription = "a board"\ntransport = "ssh"\nruntime = "litert"\nthreads = 1\n'
        'precision = "fp32"\n[ssh]\nhost = "nowhere"\nuser = "me"\n'
    )
    make_plan(changed(a_config(small, budget="50%"), device=str(toml)), tmp_path, progress=told)
    assert told.events[0] == "asking board, over ssh, for its CPU and its version of litert"
    assert set(told.events[1:]) == {"contact board"}
    told.events.clear()
    make_plan(a_config(small, budget="50%"), tmp_path, progress=told)
    assert set(told.events) == {"contact host"}


def test_a_generous_budget_takes_the_largest_space_and_says_that_it_does_not_bind(small: Path) -> None:
    plan = make_plan(a_config(small, space="mobile", width=0.0, resolution=0, budget="1000"), None)
    assert (plan.config.space.width, plan.config.space.depth) == space_rungs("mobile")[-1]
    assert "1000 ms do not bind" in plan.reason


def test_a_tight_budget_gets_the_smallest_networks_or_an_error_with_the_smallest_latency(small: Path) -> None:
    low, high = range_ms(mobile(*space_rungs("mobile")[0]))
    config = a_config(small, space="mobile", width=0.0, resolution=0, budget=f"{low + 0.1 * (high - low):.6f}")
    assert "only its smallest networks" in make_plan(config, None).reason
    with pytest.raises(InfeasibleBudgetError) as caught:
        make_plan(a_config(small, space="mobile", width=0.0, resolution=0, budget=f"{0.9 * low:.6f}"), None)
    assert caught.value.smallest_ms == pytest.approx(low)
    assert f"--budget-ms {low * 1.1:.2g}" in caught.value.hint


def test_of_several_budgets_the_loosest_has_room_and_the_tightest_a_network(small: Path) -> None:
    """By enumeration of the rungs; one budget alone would call for a larger space than both together."""
    sizes = space_rungs("mobile")
    spans = [range_ms(mobile(*size)) for size in sizes]
    tight = 1.2 * spans[2][0]
    for loose in (1.5 * tight, 4 * tight, 20 * tight):
        config = a_config(small, space="mobile", width=0.0, resolution=0, budget=f"{loose:.6f},{tight:.6f}")
        plan = make_plan(config, None)
        reachable = [size for size, (low, _) in zip(sizes, spans, strict=True) if 1.1 * low <= tight]
        roomy = [
            size
            for size, (low, high) in zip(sizes, spans, strict=True)
            if size in reachable and low + instance.SHARE * (high - low) <= loose
        ]
        assert (plan.config.space.width, plan.config.space.depth) == roomy[-1]
        assert range_ms(plan.space)[0] <= tight
    alone = make_plan(a_config(small, space="mobile", width=0.0, resolution=0, budget=f"{loose:.6f}"), None)
    assert range_ms(alone.space)[0] > tight
    with pytest.raises(InfeasibleBudgetError) as caught:
        make_plan(
            a_config(small, space="mobile", width=0.0, resolution=0, budget=f"{0.9 * spans[0][0]:.6f},{loose:.6f}"),
            None,
        )
    assert caught.value.smallest_ms == pytest.approx(spans[0][0])


def test_of_several_devices_one_budget_has_room_and_every_one_a_network(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By enumeration of the rungs: a fast device calls for large spaces, a slow one forbids those it cannot run."""
    slower = 3.0

    def floor_ms(networks: Mapping[str, Network], device: Device, **_: object) -> dict[str, float]:
        times = slower if device.runtime == "litert" else 1.0
        return {name: times * macs(network.graph) * NS_PER_MAC / 1e6 for name, network in networks.items()}

    monkeypatch.setattr(instance, "floor_ms", floor_ms)
    sizes = space_rungs("mobile")
    spans = [range_ms(mobile(*size)) for size in sizes]
    plain = a_config(small, space="mobile", width=0.0, resolution=0)

    def taken(*targets: str) -> tuple[float, int]:
        plan = make_plan(plain.changed(target={"targets": targets, "budget": ""}), tmp_path)
        assert [one.space for one in plan.each] == [plan.space] * 2
        assert [one.device.runtime for one in plan.each] == ["onnxruntime", "litert"]
        return plan.config.space.width, plan.config.space.depth

    loose = 20.0 * spans[2][0]
    for tight in (slower * 1.2 * spans[2][0], slower * 1.2 * spans[4][0]):
        allowed = [size for size, (low, _) in zip(sizes, spans, strict=True) if 1.1 * slower * low <= tight]
        rooms = [low + instance.SHARE * (high - low) for low, high in spans]
        roomy = [
            size
            for size, room in zip(sizes, rooms, strict=True)
            if size in allowed and (room <= loose or slower * room <= tight)
        ]
        assert taken(f"host:{loose:.6f}", f"host@litert:{tight:.6f}ms") == roomy[-1]
    assert taken(f"host:{loose:.6f}", "host@litert:50%") == max(
        size for size, (low, high) in zip(sizes, spans, strict=True) if low + instance.SHARE * (high - low) <= loose
    ), "a share is of any instance"
    with pytest.raises(InfeasibleBudgetError) as caught:
        taken(f"host:{loose:.6f}", f"host@litert:{0.9 * slower * spans[0][0]:.6f}")
    assert caught.value.smallest_ms == pytest.approx(slower * spans[0][0])


def test_the_ends_of_chains_are_those_of_all_chains() -> None:
    space = space_instance("chain", width=0.25, depth=2, resolution=4, channels=1, classes=3)
    work = {}
    for first, _, state in space.steps(space.start):
        for second, _, _ in space.steps(state):
            network = space.network(space.architecture((first, second)))
            work[network] = sum(instance.work(spec) for _, spec in network.ops)
    assert len(work) == space.size
    for pick in (min, max):
        assert work[instance.extreme(space, pick)] == pick(work.values())


def test_a_budget_chooses_among_chains(small: Path) -> None:
    """The fastest chains are as fast at every width, so a tight budget must not end with the largest space."""
    chosen = [
        make_plan(a_config(small, space="chain", width=0.0, resolution=0, budget=budget), None).config
        for budget in ("2", "100", "1000000")
    ]
    sizes = [(one.space.width, one.space.depth) for one in chosen]
    assert (sizes[0], sizes[-1]) == (space_rungs("chain")[0], space_rungs("chain")[-1])
    assert sizes == sorted(set(sizes))


def test_large_images_are_shrunk_only_when_no_width_is_small_enough(photos: Path) -> None:
    at_200 = range_ms(mobile(*space_rungs("mobile")[0], resolution=200))
    roomy = at_200[0] + 0.5 * (at_200[1] - at_200[0])
    config = a_config(photos, space="mobile", width=0.0, resolution=0, budget=f"{roomy:.6f}")
    assert make_plan(config, None).config.space.resolution == 200
    config = a_config(photos, space="mobile", width=0.0, resolution=0, budget=f"{0.5 * at_200[0]:.6f}")
    assert make_plan(config, None).config.space.resolution in (64, 96, 128)
    with pytest.raises(InfeasibleBudgetError):
        make_plan(a_config(photos, space="mobile", width=0.0, resolution=200, budget=f"{0.5 * at_200[0]:.6f}"), None)


def test_enlarged_images_go_back_to_their_own_size_at_most() -> None:
    """The digits are 8 pixels wide, and are shown to the network at 32 where there is time for it."""
    asked = Configuration(target=Target(budget="0.05"))
    low, _ = range_ms(mobile(*space_rungs("mobile")[0], resolution=8))
    assert make_plan(asked, None).config.space.resolution in (8, 16, 24)
    with pytest.raises(InfeasibleBudgetError):
        make_plan(changed(asked, budget=f"{0.5 * low:.6f}"), None)


def test_what_the_user_fixes_stays(small: Path) -> None:
    plan = make_plan(a_config(small, space="mobile", width=0.25, resolution=24, depth=5, budget="1"), None)
    assert plan.space.name == "mobile@w0.25-d5-r24"
    plan = make_plan(a_config(small, space="mobile", width=0.0, resolution=24, depth=2, budget="0.3"), None)
    assert (plan.config.space.depth, plan.config.space.resolution) == (2, 24)
    with pytest.raises(InputError, match="depth of 'mobile' lies between 2 and 8"):
        make_plan(a_config(small, space="mobile", width=0.25, depth=9), None)
    with pytest.raises(InputError, match="depth of 'toy' is fixed"):
        make_plan(a_config(small, depth=2), None)


def test_an_interrupted_run_goes_on_with_the_instance_that_it_settled_on(small: Path, tmp_path: Path) -> None:
    """Measured again, the ends of the instances may say something else."""
    asked = a_config(small, space="mobile", width=0.0, resolution=0, budget="0.2")
    resolved = make_plan(asked, None).config
    folder = RunFolder(tmp_path / "run")
    assert folder.remembered(asked) == asked
    with folder.claimed(resolved, resume=False, force=False):
        pass
    assert folder.remembered(asked) == resolved
    wider = a_config(small, space="mobile", width=2.0, resolution=0, budget="0.2")
    assert folder.remembered(wider) == wider


class Timed:
    """The made-up machine trains at so many nanoseconds a unit of work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ns: float) -> None:
        self.unit_s = ns / 1e9
        monkeypatch.setattr(affordable, "_seconds_of_work", lambda *_: self.unit_s)

    def image_s(self, width: float, depth: int, side: int) -> float:
        graphs = [instance.extreme(mobile(width, depth, side), pick).graph for pick in (min, max)]
        return self.unit_s * sum(macs(one) + 20 * written(one) for one in graphs) / 2


@pytest.fixture
def many() -> Dataset:
    """A thousand photos of 224 pixels, as far as anybody asks."""
    labels = np.arange(1500) % 3
    pixels = np.broadcast_to(np.uint8(0), (1500, 3, 224, 224))
    part = Images(pixels[:1000], labels[:1000])
    return Dataset("photos", ("a", "b", "c"), part, part, part, (0.5,) * 3, (0.5,) * 3, flip=False)


@pytest.mark.parametrize(
    "minutes", [3.0, 20.0, 1000.0, *(pytest.param(each, marks=pytest.mark.dear) for each in (6.0, 60.0))]
)
def test_the_minutes_choose_the_largest_instance_that_they_train(
    minutes: float, many: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = Timed(monkeypatch, 0.1)
    config = a_config(Path("none"), space="mobile", width=0.0, resolution=0, budget="20", minutes=minutes)
    plan, longer = (make_plan(changed(config, minutes=each), None, many) for each in (minutes, 0.0))
    chosen, free = plan.config.space, longer.config.space
    own_s, free_s = (timed.image_s(one.width, one.depth, one.resolution) for one in (chosen, free))
    each_s = 0.75 * 60 * minutes * 0.5 / 1.22  # of two trainings

    def enough(image_s: float) -> bool:
        searching_s = 0.75 * 60 * minutes * 0.16 / 1.22
        return each_s >= 8 * 1000 * image_s and searching_s >= 60 * 1.5 * 64 * image_s

    if enough(free_s):
        assert chosen == free
        assert plan.reason == longer.reason
        return
    epochs = each_s / 1000 / own_s
    said = f"20 ms would fit width {free.width:g} at {free.resolution} px, but {minutes:g} minutes train it"
    assert said in plan.reason
    told = f"{epochs:.3g} epochs" if epochs >= 1.0 else f"{round(epochs * 1000 / 64)} step"
    assert f": width {chosen.width:g} at {chosen.resolution} px, {told}" in plan.reason
    if not enough(own_s):
        assert (chosen.width, chosen.resolution) == (space_rungs("mobile")[0][0], 64)
        return
    if chosen.width >= 0.5:  # one rung more, or as wide with more pixels, is too much
        sizes = space_rungs("mobile")
        larger = sizes[sizes.index((chosen.width, chosen.depth)) + 1]
        assert not enough(timed.image_s(*larger, chosen.resolution))
        more = [side for side in (96, 128, 160, 192, 224) if side > chosen.resolution]
        half = next(size for size in sizes if size[0] >= 0.5)
        assert not more or not enough(timed.image_s(*half, more[0]))


def test_what_is_asked_for_is_not_shrunk(many: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    Timed(monkeypatch, 0.1)
    config = a_config(Path("none"), space="mobile", width=1.0, resolution=0, budget="20", minutes=1.0)
    plan = make_plan(config, None, many)
    assert (plan.config.space.width, plan.config.space.resolution) == (1.0, 224)
    plan = make_plan(changed(config, width=0.0, resolution=192), None, many)
    assert plan.config.space.resolution == 192
    assert plan.config.space.width < 1.0


def test_steps_are_timed_on_what_trains() -> None:
    config = a_config(Path("none"), budget="20")
    training = affordable.Training(config, strategy("gumbel"), lambda: 1000, torch.device("cpu"))
    assert 1e-12 < affordable._seconds_of_work(mobile(0.1, 2), training) < 1e-7
