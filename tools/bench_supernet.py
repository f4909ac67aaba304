"""What the steps of the DARTS family cost here, against the same steps as the authors' code takes them.

    python tools/bench_supernet.py --cells 4 --channels 8 --batch-size 16 --repeats 5 --out docs/results/supernet.json

The plain reference is written out here: every op with a ReLU of its own, NCHW, gradients of weights in steps on α too,
a deep copy of the model for the virtual step, weights changed in place for the finite difference. Each step is one on α
and one on the weights, with SGD as in DARTS. All are timed in turn in one process, by the CPU time that it takes, which
other processes hardly change; medians count. Peak memory is that of a process of its own. Gradients of both are
compared in float64.
"""

from __future__ import annotations

import copy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hwnas.arch import OpSpec, SearchSpace, space_instance
from hwnas.files import write_json, write_text
from hwnas.nas.bilevel import Bilevel
from hwnas.nas.strategies import strategy
from hwnas.nas.supernet import Supernet
from hwnas.train import keep_freed_memory, peak_memory_mib

Batch = tuple[Tensor, Tensor]
LR, MOMENTUM, DECAY, CLIP = 0.025, 0.9, 3e-4, 5.0


def _conv(cin: int, cout: int, kernel: int = 1, stride: int = 1, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(cin, cout, kernel, stride, padding, dilation, groups, bias=False)


class _Halves(nn.Module):
    """Factorised reduction."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.even = nn.Sequential(_conv(cin, cout // 2, stride=2), nn.BatchNorm2d(cout // 2))
        self.odd = nn.Sequential(_conv(cin, cout - cout // 2, stride=2), nn.BatchNorm2d(cout - cout // 2))

    def forward(self, x: Tensor) -> Tensor:
        x = x.relu()
        return torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], dim=1)


class _Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride].mul(0.0)


def _separable(spec: OpSpec, stride: int) -> list[nn.Module]:
    depthwise = _conv(spec.cin, spec.cin, spec.kernel, stride, spec.dilation, spec.cin)
    return [nn.ReLU(), depthwise, _conv(spec.cin, spec.cout), nn.BatchNorm2d(spec.cout)]


def _plain(spec: OpSpec) -> nn.Module:
    """The op as a module of torch's own."""
    if spec.kind == "maxpool":
        return nn.Sequential(nn.MaxPool2d(3, spec.stride, 1), nn.BatchNorm2d(spec.cout, affine=False))
    if spec.kind == "avgpool":
        pool = nn.AvgPool2d(3, spec.stride, 1, count_include_pad=False)
        return nn.Sequential(pool, nn.BatchNorm2d(spec.cout, affine=False))
    made: dict[str, Callable[[], nn.Module]] = {
        "none": lambda: _Zero(spec.stride),
        "skip": nn.Identity,
        "reduce": lambda: _Halves(spec.cin, spec.cout),
        "sepconv": lambda: nn.Sequential(*_separable(spec, spec.stride), *_separable(spec, 1)),
        "dilconv": lambda: nn.Sequential(*_separable(spec, spec.stride)),
        "conv": lambda: nn.Sequential(_conv(spec.cin, spec.cout, 3), nn.BatchNorm2d(spec.cout)),
        "reluconv": lambda: nn.Sequential(nn.ReLU(), _conv(spec.cin, spec.cout), nn.BatchNorm2d(spec.cout)),
        "classifier": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(spec.cin, spec.cout)),
    }
    return made[spec.kind]()


class Plain(nn.Module):
    """The supernet of DARTS with α as a parameter, and the steps as the authors' code takes them."""

    def __init__(self, space: SearchSpace, supernet: Supernet, logits: Tensor) -> None:
        super().__init__()
        self.space = space
        joins = ("add", "concat")
        self.slots = nn.ModuleList(
            nn.ModuleList(_plain(spec) for spec in slot.ops if spec.kind not in joins) for slot in space.slots
        )
        self.weights = list(self.slots.parameters())
        with torch.no_grad():
            for ours, theirs in zip(self.weights, supernet.parameters(), strict=True):
                ours.copy_(theirs)
        self.alpha = nn.Parameter(logits.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        p = torch.softmax(self.alpha, dim=1)
        made: list[Tensor] = []
        for slot, places, options in zip(self.space.slots, self.space.sources, self.slots, strict=True):
            maps = [made[place] if place >= 0 else x for place in places]
            assert isinstance(options, nn.ModuleList)
            if slot.ops[0].kind == "add":
                made.append(sum(maps[1:], start=maps[0]))
            elif slot.ops[0].kind == "concat":
                made.append(torch.cat(maps, dim=1))
            elif slot.decision is None:
                made.append(options[0](maps[0]))
            else:
                mixed = [weight * option(maps[0]) for weight, option in zip(p[slot.decision], options, strict=True)]
                made.append(sum(mixed[1:], start=mixed[0]))
        return made[-1]

    def loss(self, batch: Batch) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def first(self, optimizer: torch.optim.Optimizer, train: Batch, val: Batch) -> Tensor:
        self.zero_grad()
        self.loss(val).backward()  # type: ignore[no-untyped-call]
        assert self.alpha.grad is not None
        return self.alpha.grad.clone()

    def second(self, optimizer: torch.optim.Optimizer, train: Batch, val: Batch) -> Tensor:
        gradients = torch.autograd.grad(self.loss(train), self.weights)
        unrolled = copy.deepcopy(self)
        unrolled.weights = list(unrolled.slots.parameters())
        with torch.no_grad():
            for w, moved, g in zip(self.weights, unrolled.weights, gradients, strict=True):
                buffer = optimizer.state[w].get("momentum_buffer")
                step = g + DECAY * w if buffer is None else MOMENTUM * buffer + g + DECAY * w
                moved.copy_(w - LR * step)
        unrolled.zero_grad()
        unrolled.loss(val).backward()  # type: ignore[no-untyped-call]
        v = [w.grad for w in unrolled.weights]
        radius = 0.01 / torch.cat([part.flatten() for part in v if part is not None]).norm()
        sides = []
        for move in (radius, -2 * radius):
            with torch.no_grad():
                for w, part in zip(self.weights, v, strict=True):
                    assert part is not None
                    w.add_(move * part)
            sides.append(torch.autograd.grad(self.loss(train), self.alpha)[0])
        with torch.no_grad():
            for w, part in zip(self.weights, v, strict=True):
                assert part is not None
                w.add_(radius * part)
        assert unrolled.alpha.grad is not None
        second: Tensor = LR * (sides[0] - sides[1]) / (2 * radius)
        return unrolled.alpha.grad - second


def weight_step(loss: Tensor, optimizer: torch.optim.Optimizer, weights: list[nn.Parameter]) -> None:
    """One step on the weights."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_([w for w in weights if w.grad is not None], CLIP)
    optimizer.step()


Step = Callable[[Batch, Batch], Tensor]


def plain_step(space: SearchSpace, logits: Tensor, order: str) -> Step:
    """A step of the reference; it gives the gradient of α."""
    torch.manual_seed(0)
    model = Plain(space, Supernet(space), logits)
    optimizer = torch.optim.SGD(model.weights, LR, MOMENTUM, weight_decay=DECAY)

    def step(train: Batch, val: Batch) -> Tensor:
        gradient: Tensor = getattr(model, order)(optimizer, train, val)
        weight_step(model.loss(train), optimizer, model.weights)
        return gradient

    return step


def our_step(space: SearchSpace, logits: Tensor, name: str) -> Step:
    """A step of ours; it gives the gradient of α."""
    torch.manual_seed(0)
    supernet = Supernet(space)
    weights = list(supernet.parameters())
    optimizer = torch.optim.SGD(weights, LR, MOMENTUM, weight_decay=DECAY)
    maker = strategy(name).relaxation
    assert maker is not None
    found, generator = maker(space.options, torch.device("cpu")), torch.Generator().manual_seed(0)
    found.logits.data.copy_(logits)

    def step(train: Batch, val: Batch) -> Tensor:
        train, val = ((x.to(memory_format=torch.channels_last), y) for x, y in (train, val))
        problem = Bilevel(supernet, optimizer, train, val, cross_entropy, cross_entropy)
        gradient = found.gradient(problem, generator)
        weight_step(problem.train(found.weight_gates(generator)), optimizer, weights)
        return gradient

    return step


STEPS: dict[str, Callable[[SearchSpace, Tensor], Step]] = {
    "plain first order": lambda space, logits: plain_step(space, logits, "first"),
    "darts": lambda space, logits: our_step(space, logits, "darts"),
    "plain second order": lambda space, logits: plain_step(space, logits, "second"),
    "darts2": lambda space, logits: our_step(space, logits, "darts2"),
    "gdas": lambda space, logits: our_step(space, logits, "gdas"),
}
RIVALS = (("darts", "plain first order"), ("darts2", "plain second order"))


def gradient_errors(steps: int = 2) -> dict[str, float]:
    """How far our gradients of α are from the plain ones, relative to their norm: the most in some steps of a tiny
    supernet in float64, of which all but the first see momentum."""
    torch.set_default_dtype(torch.float64)
    try:
        space = space_instance("darts", width=0.25, depth=3, resolution=8, channels=2, classes=5)
        generator = torch.Generator().manual_seed(0)
        logits = 0.5 * torch.randn(len(space.options), max(space.options), generator=generator)
        train, val = ((torch.randn(6, *space.input_shape), torch.randint(5, (6,))) for _ in range(2))
        errors = {}
        for ours, theirs in RIVALS:
            both = [STEPS[name](space, logits) for name in (ours, theirs)]
            pairs = [[step(train, val) for step in both] for _ in range(steps)]
            errors[ours] = max(float((found - plain).norm() / plain.norm()) for found, plain in pairs)
        return errors
    finally:
        torch.set_default_dtype(torch.float32)


def page(result: dict[str, Any]) -> str:
    """The result for people."""
    medians, memory = result["step_cpu_s"], result["peak_mib"]
    rows = [f"| {name} | {medians[name]:.2f} | {memory[name]:.0f} |" for name in medians]
    ratios = [
        f"- `{ours}` takes {result[f'ratio_{ours}']:.2f} of the time of the {theirs}; their gradients of α differ by "
        f"{result[f'gradient_error_{ours}']:.0e} of their norm (a tiny supernet in float64)."
        for ours, theirs in RIVALS
    ]
    return "\n".join(
        [
            "# What a step of a supernet costs",
            "",
            f"A step on α and one on the weights on {result['space']}, batches of {result['batch_size']}, "
            f"{result['threads']} CPU thread(s): seconds of CPU",
            f"time, medians of {result['repeats']} steps taken in turn, ratios within each turn; peak memory of a "
            "process that takes two steps. By",
            "`tools/bench_supernet.py`, which says what the plain reference is.",
            "",
            "| steps | CPU seconds | peak, MiB |",
            "| --- | --- | --- |",
            *rows,
            "",
            *ratios,
            f"- `gdas` takes {result['ratio_gdas']:.2f} of the time of `darts`.",
            "",
        ]
    )


def main(
    cells: int = 4,
    channels: int = 8,
    resolution: int = 32,
    batch_size: int = 16,
    repeats: int = 5,
    threads: int = 1,
    only: str = typer.Option("", help="Take two of these steps and print the peak of the memory in MiB."),
    out: Path | None = None,
) -> None:
    """Time all steps in turn, print medians and ratios."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    space = space_instance("darts", width=channels / 16, depth=cells, resolution=resolution, channels=3, classes=10)
    generator = torch.Generator().manual_seed(1)
    logits = 0.5 * torch.randn(len(space.options), max(space.options), generator=generator)
    shape = (batch_size, *space.input_shape)
    train, val = (
        (torch.randn(shape, generator=generator), torch.randint(10, (batch_size,), generator=generator))
        for _ in range(2)
    )
    if only:
        step = STEPS[only](space, logits)
        for _ in range(2):
            step(train, val)
        print(peak_memory_mib(torch.device("cpu")))
        return

    options = ["--cells", cells, "--channels", channels, "--resolution", resolution, "--batch-size", batch_size]
    options += ["--threads", threads]
    commands = {name: [sys.executable, __file__, *map(str, options), "--only", name] for name in STEPS}
    running = {name: subprocess.Popen(command, stdout=subprocess.PIPE) for name, command in commands.items()}
    memory = {name: float(process.communicate()[0]) for name, process in running.items()}
    steps = {name: make(space, logits) for name, make in STEPS.items()}
    for step in steps.values():
        step(train, val)
    errors = gradient_errors()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            started = time.process_time()
            step(train, val)
            times[name].append(time.process_time() - started)
    medians = {name: statistics.median(values) for name, values in times.items()}
    result = {
        "space": space.name,
        "batch_size": batch_size,
        "threads": threads,
        "repeats": repeats,
        "step_cpu_s": medians,
        "peak_mib": memory,
    }
    for ours, theirs in (*RIVALS, ("gdas", "darts")):
        result[f"ratio_{ours}"] = statistics.median(a / b for a, b in zip(times[ours], times[theirs], strict=True))
    result |= {f"gradient_error_{ours}": error for ours, error in errors.items()}
    text = page(result)
    print(text)
    if out is not None:
        write_json(out, result)
        write_text(out.with_suffix(".md"), text)


if __name__ == "__main__":
    typer.run(main)
