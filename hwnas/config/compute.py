"""The options of what search and training run on."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from hwnas.config.option import Option
from hwnas.config.section import Section

Accelerator = Literal["auto", "cpu", "cuda", "mps"]


class Compute(Section):
    title: ClassVar[str] = "compute"
    about: ClassVar[str] = "What search and training run on."

    seed: Annotated[
        int,
        Option(
            "Seed of everything that is random; with equal data and latency table it gives the same bytes.",
            flag="--seed",
            ge=0,
            le=2**63 - 1,
        ),
    ] = 0
    threads: Annotated[
        int, Option("CPU threads of search and training.", flag="--threads", unit="threads", ge=1, le=1024)
    ] = 1
    loader_threads: Annotated[
        int | None,
        Option(
            "Threads that read images from files ahead of training; 0 reads them in between. Results are the same.",
            flag="--loader-threads",
            unit="threads",
            ge=0,
            le=64,
            by_default="the cores that are left, up to 8",
        ),
    ] = None
    accelerator: Annotated[Accelerator, Option("Accelerator: auto, cpu, cuda or mps.", flag="--accelerator")] = "auto"
    memory_gb: Annotated[
        float,
        Option(
            "GiB that the run may take of this machine's memory: steps of search, distillation and training are split "
            "until they do; 0 lets them take half of what is free.",
            flag="--memory-gb",
            unit="GiB",
            ge=0,
            le=1_000_000,
        ),
    ] = 0.0
    gpus_per_trial: Annotated[
        float | None,
        Option(
            "GPUs that each training for a score takes on a Ray cluster (`--on ray`), such as 0.5; 0 trains on CPUs.",
            flag="--gpus-per-trial",
            unit="GPUs",
            ge=0,
            le=1,
            by_default="1 where the accelerator is cuda, else 0",
        ),
    ] = None
    mixed_precision: Annotated[
        bool,
        Option("Train with convolutions in bfloat16: for GPUs, slower on CPUs.", flag="--mixed-precision"),
    ] = False
