"""A process that trains architectures from scratch: what `hwnas.nas.from_scratch` starts.

Its only argument is a folder with what all trainings share. It reads one JSON object a line, `{"network": ..., "file":
..., "seed": ...}`, writes the score to that file, and answers one JSON object a line, an `Answer`.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import torch

from hwnas.arch.network import Network
from hwnas.backends.torch import network_module
from hwnas.data import Dataset
from hwnas.data.saved import load_images
from hwnas.errors import HwnasError
from hwnas.files import write_json
from hwnas.metric_names import Metric
from hwnas.nas.from_scratch_messages import Answer, Job, Score, Shared
from hwnas.nas.select import judged
from hwnas.schema import json_as, read_json_as
from hwnas.train import Recipe, deterministic, keep_freed_memory, train


def main(folder: Path) -> None:
    """Train until there is nothing to read; whoever asks ends this process by going away."""
    asked: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            asked.put(line)
        os._exit(0)  # in the midst of a training, whose score nobody waits for

    threading.Thread(target=listen, daemon=True).start()
    shared = read_json_as(folder / "shared.json", Shared)
    dataset, device = load_images(folder, shared.dataset), torch.device(shared.device)
    deterministic(0, shared.threads)
    keep_freed_memory()
    while True:
        job = asked.get()
        try:
            score_one(json_as(job, Job, "the job of a worker"), dataset, shared.recipe, device, shared.metric)
            answer = Answer()
        except HwnasError as error:
            answer = Answer(type(error).__name__, str(error), error.hint)
        sys.stdout.write(json.dumps(asdict(answer)) + "\n")
        sys.stdout.flush()


def score_one(job: Job, dataset: Dataset, recipe: Recipe, device: torch.device, metric: Metric = "accuracy") -> None:
    """Train one network from random weights, and write its score. All chance in it comes from the seed."""
    torch.manual_seed(job.seed)
    module = network_module(Network.from_json(job.network))
    train(module, dataset, recipe, seed=job.seed, device=device)
    accuracy, score, losses = judged(module, dataset, device, metric)
    write_json(Path(job.file), asdict(Score(accuracy, losses.tolist(), score)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
