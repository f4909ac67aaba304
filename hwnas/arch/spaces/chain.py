"""`chain`: the layer chains of MetaQNN (Baker et al., ICLR 2017), where the layers so far say what may come next.

A sequential space: what a layer may be, and what it costs, depends on the map that it reads, so there are no slots
whose ops share a shape. A chain is a sequence of steps from state to state; `hwnas.nas.sequential_set` counts,
completes and decodes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from hwnas.arch.choice_costs import SequentialCosts, Step
from hwnas.arch.groups import Groups
from hwnas.arch.kinds import make_divisible
from hwnas.arch.network import Network
from hwnas.arch.op import OpSpec
from hwnas.arch.primitives import Shape
from hwnas.arch.space import Architecture, Decision, Slot
from hwnas.errors import InputError
from hwnas.image_size import Size, SizeLike

_END = "end"
_FILTERS, _DEPTHS = (1, 3, 5), (64, 128, 256)  # of convolutions, at width 1; the paper has 512 as well
_POOLS = ((5, 3), (3, 2), (2, 2))  # size and stride
_FULLY_CONNECTED = (512, 256, 128)  # at width 1
_MOST_FULLY_CONNECTED, _LARGEST_TO_CONNECT = 2, 8 * 8  # pixels
_LAYERS = 12

# Instances from small to large, for budgets to choose from: (width, layers). The paper's have 12 layers.
RUNGS = ((0.125, 6), (0.125, 12), (0.25, 12), (0.5, 12), (1.0, 12))


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a chain after some of its layers: all that decides what may follow and what it costs.

    Attributes:
        shape: of the map so far.
        last: kind of the last layer: `start`, `conv`, `pool` or `fc`.
        connected: how many layers are fully connected.
        ended: whether the chain is over.
    """

    shape: Shape
    last: str = "start"
    connected: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class _Option:
    """A layer: its name, kind, kernel or size, stride, channels."""

    name: str
    kind: str
    kernel: int = 1
    stride: int = 1
    channels: int = 0


@dataclass(frozen=True)
class ChainSpace:
    """Chains of at most `layers` layers and a classifier.

    The first layer is a convolution. Pools never follow one another. Layers are fully connected only once the map has
    at most 8 x 8 pixels, twice at most, and never to more channels than before; only those or the end follow.
    Filters and pools are no larger than the map. After its first layer a chain may end anywhere; the classifier is
    global average pooling and a linear layer. An architecture has a choice for each layer, behind the end always 0.

    Attributes:
        name: of the instance, for example `chain@w0.25-r8`.
        input_shape: of the image.
        classes: number of logits.
        layers: most layers before the classifier.
        width: multiplier of all channels, which are rounded to multiples of 8.
    """

    name: str
    input_shape: Shape
    classes: int
    layers: int
    width: float

    @cached_property
    def _options(self) -> tuple[_Option, ...]:
        depths = list(dict.fromkeys(make_divisible(depth * self.width) for depth in _DEPTHS))
        units = list(dict.fromkeys(make_divisible(number * self.width) for number in _FULLY_CONNECTED))
        return (
            _Option(_END, _END),
            *(_Option(f"conv{f}_{d}", "conv", kernel=f, channels=d) for f in _FILTERS for d in depths),
            *(_Option(f"pool{size}_{stride}", "pool", size, stride) for size, stride in _POOLS),
            *(_Option(f"fc_{number}", "fc", channels=number) for number in units),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the options of every layer."""
        return tuple(option.name for option in self._options)

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """One for each layer; which of the options may be taken, those before it say."""
        return tuple(Decision(f"layer{layer}", self.names) for layer in range(1, self.layers + 1))

    groups: ClassVar[Groups] = ()
    slots: ClassVar[tuple[Slot, ...]] = ()
    sources: ClassVar[tuple[tuple[int, ...], ...]] = ()
    search_norms: ClassVar[tuple[str, ...]] = ()
    shares_weights: ClassVar[bool] = False
    mixed_warmup: ClassVar[bool] = False
    is_chain: ClassVar[bool] = True
    tilts: ClassVar[tuple[float, float]] = (-1.0, 4.0)  # below, chains of pools take a hundredth of what the slowest do

    @property
    def options(self) -> tuple[int, ...]:
        """Number of options of each layer."""
        return (len(self._options),) * self.layers

    @cached_property
    def size(self) -> int:
        """Number of chains."""
        chains = {self.start: 1}
        for _ in range(self.layers):
            longer: dict[State, int] = {}
            for state, count in chains.items():
                for _, _, after in self.steps(state):
                    longer[after] = longer.get(after, 0) + count
            chains = longer
        return sum(chains.values())

    @property
    def signature(self) -> str:
        """Name of the instance with its input channels and classes."""
        return f"{self.name}-i{self.input_shape[0]}-o{self.classes}"

    @property
    def start(self) -> State:
        return State(self.input_shape)

    def steps(self, state: State) -> tuple[tuple[int, OpSpec | None, State], ...]:
        """What may follow `state`: the option, its op (None for the end), and the state that it leads to."""
        if state not in self._known:
            self._known[state] = tuple(self._steps(state))
        return self._known[state]

    @cached_property
    def _known(self) -> dict[State, tuple[tuple[int, OpSpec | None, State], ...]]:
        return {}

    def _steps(self, state: State) -> Iterator[tuple[int, OpSpec | None, State]]:
        for index, option in enumerate(self._options):
            if not _may_follow(option, state):
                continue
            if option.kind == _END:
                yield index, None, replace(state, ended=True)
                continue
            spec = _op(option, state.shape)
            yield index, spec, State(spec.output_shape, option.kind, state.connected + (option.kind == "fc"))

    def classifier(self, state: State) -> OpSpec:
        """What a chain in `state` ends with."""
        channels, height, width = state.shape
        return OpSpec("classifier", channels, self.classes, height, width)

    @cached_property
    def ops(self) -> tuple[OpSpec, ...]:
        """Every op of every chain, once: the rows that a latency table needs."""
        found: dict[OpSpec, None] = {}
        states = {self.start: None}
        for _ in range(self.layers):
            steps = [step for state in states for step in self.steps(state)]
            found |= dict.fromkeys(spec for _, spec, _ in steps if spec is not None)
            states = dict.fromkeys(state for _, _, state in steps)
            found |= dict.fromkeys(map(self.classifier, states))
        return tuple(found)

    def costs(self, row: Callable[[OpSpec], float]) -> SequentialCosts[State]:
        """What chains cost where an op costs `row(op)`: the sum over the layers and the classifier."""
        known: dict[State, tuple[Step[State], ...]] = {}

        def steps(state: State) -> tuple[Step[State], ...]:
            if state not in known:
                known[state] = tuple(
                    Step(option, 0.0 if spec is None else row(spec), after, ends=spec is None)
                    for option, spec, after in self.steps(state)
                )
            return known[state]

        return SequentialCosts(self.options, self.start, steps, lambda state: row(self.classifier(state)))

    def restricted(self, kept: Sequence[Sequence[int]]) -> ChainSpace:
        """Itself: a layer may need any of its options, so none can be left out.

        Raises:
            InputError: one is.
        """
        if tuple(map(len, kept)) != self.options:
            raise InputError(f"every layer of {self.name} keeps all of its {len(self._options)} options")
        return self

    def drawn(self, index: Callable[[int], int]) -> Architecture:
        """The chain for which `index(n)` picks one of the n steps that may come next, in order."""
        state, choices = self.start, []
        for _ in range(self.layers):
            steps = self.steps(state)
            option, _, state = steps[int(index(len(steps)))]
            choices.append(option)
        return Architecture(self.name, tuple(choices))

    def architecture(self, choices: Sequence[int]) -> Architecture:
        """Checked genotype.

        Raises:
            InputError: there is not one choice for each layer, or one may not follow those before it.
        """
        if len(choices) != self.layers:
            raise InputError(f"{self.name} has {self.layers} layers, not {len(choices)}")
        self._followed(choices)
        return Architecture(self.name, tuple(map(int, choices)))

    def network(self, architecture: Architecture) -> Network:
        """The network of a genotype: its layers, named by their place, and the classifier."""
        if architecture.space != self.name:
            raise InputError(f"an architecture of {architecture.space} does not belong to {self.name}")
        specs, state = self._followed(architecture.choices)
        layers = ((f"layer{index}", spec) for index, spec in enumerate(specs, 1))
        return Network((*layers, ("classifier", self.classifier(state))))

    def describe(self, architecture: Architecture) -> dict[str, str]:
        """Option name per layer, without the end."""
        named = zip(self.decisions, architecture.choices, strict=True)
        return {layer.name: self.names[choice] for layer, choice in named if choice}

    def _followed(self, choices: Iterable[int]) -> tuple[list[OpSpec], State]:
        specs, state = [], self.start
        for layer, choice in enumerate(choices, 1):
            steps = {option: (spec, after) for option, spec, after in self.steps(state)}
            if choice not in steps:
                allowed = ", ".join(self.names[option] for option in steps)
                raise InputError(f"layer {layer} of {self.name} cannot be option {choice} here: it may be {allowed}")
            spec, state = steps[choice]
            specs += [] if spec is None else [spec]
        return specs, state


def chain(
    width: float = 1.0, resolution: SizeLike = 32, channels: int = 3, classes: int = 10, layers: int = _LAYERS
) -> ChainSpace:
    """Chains for images of one size.

    Args:
        width: multiplier of the 64, 128 and 256 channels of convolutions and the 512, 256 and 128 of fully connected
            layers.
        resolution: of the input: the side of a square, or a size.
        channels: of the input image.
        classes: number of logits.
        layers: most layers before the classifier; 12 in the paper.

    Raises:
        InputError: there is no layer.
    """
    if layers < 1:
        raise InputError(f"a chain has at least one layer, not {layers}")
    depth = "" if layers == _LAYERS else f"-d{layers}"
    size = Size.of(resolution)
    name = f"chain@w{width:g}{depth}-r{size}"
    return ChainSpace(name, (channels, *size), classes, layers, width)


def _may_follow(option: _Option, state: State) -> bool:
    channels, *sides = state.shape
    if state.ended or option.kind == _END:
        return option.kind == _END and state.last != "start"
    if option.kind == "fc":
        small = math.prod(sides) <= _LARGEST_TO_CONNECT and state.last != "start"
        not_more = state.last != "fc" or option.channels <= channels
        return small and not_more and state.connected < _MOST_FULLY_CONNECTED
    if state.last == "fc" or option.kernel > min(sides):
        return False
    return option.kind == "conv" or state.last == "conv"


def _op(option: _Option, shape: Shape) -> OpSpec:
    channels, height, width = shape
    if option.kind == "conv":
        return OpSpec("conv", channels, option.channels, height, width, kernel=option.kernel, act="relu")
    if option.kind == "fc":
        return OpSpec("dense", channels, option.channels, height, width)
    if option.kernel == 2:
        return OpSpec("tilepool", channels, channels, height, width)
    return OpSpec("maxpool", channels, channels, height, width, kernel=option.kernel, stride=option.stride)
