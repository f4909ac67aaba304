"""Images per second of the loader beside torchvision's ImageFolder with torch's DataLoader, and memory for many images.

    python tools/bench_loader.py speed ../shared/data/clothing/train --workers 1 --rounds 3 --out speed.json
    python tools/bench_loader.py memory ../shared/data/clothing/train --copies 100000 --out memory.json
    python tools/bench_loader.py memory ../shared/data/clothing/train --copies 1000000 --distinct 20000 --side 32

`speed` reads the whole folder in every epoch, by turns: ImageFolder, then hwnas with an empty cache, then hwnas again.
Both resize the shorter side, take the centre square, and give normalised float32 batches of the same images; `workers`
are processes there and threads here. An epoch of hwnas with an empty cache counts from `load_dataset` on, with what it
decodes for mean and deviation; looking at the images, which a plan does once, stands beside it.

`memory` makes copies of the photographs, small and with noise, in a temporary folder, and then reads them in a new
process as a search does: looks at all, loads, and trains on nothing for some batches. With `--distinct` so many of them
are made, and the others are hard links to these.

A torchvision that was built for another torch lacks its compiled operators, which ImageFolder has no use for; those
whose absence would be an error are declared.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from hwnas.data import Dataset, Images, ReadOptions, batches, load_dataset, survey
from hwnas.files import write_json
from hwnas.train import keep_freed_memory, peak_memory_mib

_CPU = torch.device("cpu")
app = typer.Typer(add_completion=False)


@app.command()
def speed(
    data: Path,
    resolution: int = 224,
    batch_size: int = 64,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    out: Path | None = None,
) -> None:
    """Time whole epochs by turns, and print medians and ratios."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as a search does; workers inherit it
    theirs = image_folder(data, resolution, batch_size, workers)
    options = ReadOptions(fit="crop", flip="off", threads=workers, loader_threads=workers)
    seconds: dict[str, list[float]] = {"ImageFolder": [], "looking": [], "first epoch": [], "later epoch": []}
    count = 0
    for turn in range(rounds):
        seconds["ImageFolder"].append(timed(lambda: exhausted(theirs)))
        with fresh_cache():
            seconds["looking"].append(timed(lambda: survey(str(data), seed=0, options=options)))
            began = time.monotonic()
            dataset = load_dataset(str(data), resolution=resolution, seed=0, options=options)
            whole = everything(dataset)
            count = exhausted(epoch(whole, dataset, batch_size, turn))
            loaded = time.monotonic()
            exhausted(epoch(whole, dataset, batch_size, turn))
            seconds["first epoch"].append(loaded - began)
            seconds["later epoch"].append(time.monotonic() - loaded)
    rates = {name: [count / one for one in times] for name, times in seconds.items()}
    ratios = {
        name: [ours / other for ours, other in zip(rates[name], rates["ImageFolder"], strict=True)]
        for name in ("first epoch", "later epoch")
    }
    for name, found in rates.items():
        ratio = f", {statistics.median(ratios[name]):.2f} times ImageFolder" if name in ratios else ""
        typer.echo(f"{name}: {statistics.median(found):.0f} images/s ({min(found):.0f} to {max(found):.0f}){ratio}")
    if out is not None:
        write_json(out, {"images": count, "workers": workers, "images_per_s": rates, "ratios": ratios})


def image_folder(data: Path, resolution: int, batch_size: int, workers: int) -> Iterable[Any]:
    """torchvision's data set in torch's loader, shuffled, with its workers kept from epoch to epoch."""
    declared = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    while True:
        try:
            from torchvision import transforms
            from torchvision.datasets import ImageFolder
        except RuntimeError as error:
            missing = re.search(r"torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            declared.define(f"{missing[1]}(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
        else:
            break
    steps = [transforms.Resize(resolution), transforms.CenterCrop(resolution), transforms.ToTensor()]
    steps.append(transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    folder = ImageFolder(str(data), transforms.Compose(steps))
    return torch.utils.data.DataLoader(
        folder, batch_size=batch_size, shuffle=True, num_workers=workers, persistent_workers=True
    )


def everything(dataset: Dataset) -> Images:
    """All parts as one."""
    parts = (dataset.train, dataset.val, dataset.test)
    rows = np.concatenate([part.rows for part in parts])
    return Images(dataset.train.store, np.concatenate([part.labels for part in parts]), rows)


def epoch(images: Images, dataset: Dataset, batch_size: int, seed: int) -> Iterator[Any]:
    generator = torch.Generator().manual_seed(seed)
    return batches(images, dataset, batch_size=batch_size, device=_CPU, generator=generator, augment=False)


def exhausted(stream: Iterable[Any]) -> int:
    """How many images came."""
    return sum(len(labels) for _, labels in stream)


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


@contextmanager
def fresh_cache() -> Iterator[None]:
    """An empty cache folder; images stay in the memory of the system, for both."""
    before = os.environ.get("HWNAS_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HWNAS_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("HWNAS_CACHE")
            if before is not None:
                os.environ["HWNAS_CACHE"] = before


@app.command()
def memory(
    data: Path,
    copies: Annotated[int, typer.Option(min=20)] = 100_000,
    distinct: Annotated[int, typer.Option(min=20, help="Different ones; the others are links.")] = 10**9,
    side: int = 64,
    resolution: int = 224,
    read_batches: int = 200,
    out: Path | None = None,
) -> None:
    """Make the copies, read them in another process, and print its memory and times."""
    with tempfile.TemporaryDirectory() as folder:
        make_copies(data, Path(folder) / "photos", copies, side, distinct)
        environment = os.environ | {"HWNAS_CACHE": str(Path(folder) / "cache")}
        words = [sys.executable, __file__, "read", f"{folder}/photos", str(resolution), str(read_batches)]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True, text=True)
        facts = {"copies": copies, "distinct": min(copies, distinct), "side": side} | json.loads(done.stdout)
        typer.echo(json.dumps(facts, indent=2))  # removing so many files takes a while
        if out is not None:
            write_json(out, facts)


def make_copies(data: Path, to: Path, copies: int, side: int, distinct: int) -> None:
    """JPEG files of `side` pixels with the classes of the folder; no two of the first `distinct` are alike."""
    rng = np.random.default_rng(0)
    files = sorted(path for path in data.glob("*/*") if path.is_file())[::7]
    photos = []
    for path in files:
        with Image.open(path) as image:
            photos.append(np.asarray(image.convert("RGB").resize((side, side))).astype(np.int16))
        (to / path.parent.name).mkdir(parents=True, exist_ok=True)
    noise = rng.integers(-12, 13, (64, side, side, 3)).astype(np.int16)
    made: list[Path] = []
    for number in range(copies):
        if number >= distinct:
            source = made[number % distinct]
            os.link(source, source.with_name(f"{number:07d}.jpg"))
            continue
        which = number % len(files)
        pixels = photos[which] + np.roll(noise[number % 64], number // 64, axis=(0, 1))
        content = BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=70)
        made.append(to / files[which].parent.name / f"{number:07d}.jpg")
        made[-1].write_bytes(content.getvalue())


@app.command(hidden=True)
def read(data: Path, resolution: int, read_batches: int) -> None:
    """Read images as a search does; print the facts as JSON."""
    torch.set_num_threads(1)
    facts: dict[str, float] = {"process_mib": peak_memory_mib(_CPU)}
    options = ReadOptions(flip="off")
    facts["looking_s"] = timed(lambda: survey(str(data), seed=0, options=options))
    facts["looked_mib"] = peak_memory_mib(_CPU)
    began = time.monotonic()
    dataset = load_dataset(str(data), resolution=resolution, seed=0, options=options)
    facts["loaded_s"] = time.monotonic() - began
    dataset.digest()
    for number, _ in enumerate(epoch(dataset.train, dataset, 64, 0)):
        if not number:
            facts["first_batch_s"] = time.monotonic() - began
        if number >= read_batches:
            break
    facts["all_s"] = time.monotonic() - began
    facts["peak_mib"] = peak_memory_mib(_CPU)
    typer.echo(json.dumps(facts))


if __name__ == "__main__":
    app()
