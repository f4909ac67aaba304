"""The options of what search and training run on."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from hwnas.config.option import Option
from hwnas.config.section import Section
from hwnas.schema import matching

_ACCELERATORS = "auto, cpu, cuda, cuda:N or mps"
Tracker = Literal["", "tensorboard", "mlflow"]


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
    accelerator: Annotated[
        str,
        matching(r"auto|cpu|cuda(:[0-9]{1,3})?|mps", _ACCELERATORS),
        Option(
            "Accelerator; cuda:1 is the second GPU. Each process of torchrun takes the GPU of its number.",
            flag="--accelerator",
            rule=_ACCELERATORS,
            example="--accelerator cuda for an NVIDIA GPU, cuda:1 for the second one, mps for a Mac's",
        ),
    ] = "auto"
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
        bool | None,
        Option(
            "Train with convolutions in bfloat16: for GPUs, slower on CPUs; false never does.",
            flag="--mixed-precision",
            by_default="on GPUs of CUDA that compute in it",
        ),
    ] = None
    tracker: Annotated[
        Tracker,
        Option(
            "Tracker that hears metrics by stage, and files and results at the end; results are the same.",
            flag="--tracker",
            by_default="none",
        ),
    ] = ""
