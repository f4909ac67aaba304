"""The groups of `fuzz_commands.py`: each makes one command and the files that it meets, from a random generator."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fuzz_damage import NAMES, NUMBERS, bytes_of, damage, flipped
from fuzz_lab import IMPORT, SEARCH, Base

_Case = Callable[[random.Random, Path, Base], list[str]]
GROUPS: dict[str, tuple[int, _Case]] = {}
"""By name: its share of all commands, and what makes a case."""
_TOY = ("--space", "toy", "--width", "1", "--resolution", "8")
_TEXTS = ("data", "device", "space", "strategy", "tables", "init", "config", "set")
_RUN_FILES = (
    ".hwnas-run", "config.toml", "env.json", "log.jsonl", "evaluated.csv", "architecture.json", "weights.safetensors",
    "model.onnx", "labels.txt", "result.json", "report.html", "state/search.safetensors", "state/search.json",
    "state/latency.json", "state/data.json", "state/recipe.json", "state/lock",
)  # fmt: skip


def group(name: str, share: int) -> Callable[[_Case], _Case]:
    """Register what makes the cases of a group."""

    def register(case: _Case) -> _Case:
        GROUPS[name] = share, case
        return case

    return register


def _run(rng: random.Random, folder: Path, base: Base, name: str = "run") -> Path:
    """A finished run with one file damaged, or two."""
    run = base.copy(name, folder)
    for link in ("images", "tables"):
        base.link(link, folder)
    part = run / rng.choice(("40pct", "80pct", "")) if name == "front" else run
    for _ in range(rng.choice((1, 1, 1, 2))):
        target = part / rng.choice(_RUN_FILES)
        if target.parent.is_dir() and not target.is_dir():
            damage(rng, target, (run / "config.toml", base.folder / "board.csv"))
    return run


def _json(rng: random.Random) -> list[str]:
    return ["--json"] if rng.random() < 0.4 else []


@group("verify", 10)
def verify(rng: random.Random, folder: Path, base: Base) -> list[str]:
    model = base.copy("run", folder) / "model.onnx"
    if rng.random() < 0.9:
        damage(rng, model, (base.folder / "run" / "weights.safetensors",))
    if rng.random() < 0.2:
        renamed = folder / rng.choice(("model.tflite", "model.ort", "model.pb", "MODEL.ONNX", "model"))
        with suppress(OSError):
            model.rename(renamed)
            model = renamed
    options = ["--processes", "2"]
    for name, values in (
        ("--budget-ms", NUMBERS),
        ("--shape", (*NAMES, *NUMBERS, "input=1,3,8,8", "input=0", "input=1x3x8x8", "=", "input=" + "9," * 2000)),
        ("--runtime", ("onnxruntime", "litert", *NAMES)),
    ):
        if rng.random() < 0.2:
            options += [name, rng.choice(values)]
    return ["verify", str(model.relative_to(folder)), *options, *_json(rng)]


@group("predict", 10)
def predict(rng: random.Random, folder: Path, base: Base) -> list[str]:
    run = base.copy("run", folder)
    base.link("images", folder)
    image, model = "images/a/00.png", run / "model.onnx"
    how = rng.randrange(4)
    if how == 0:
        damage(rng, model, (run / "weights.safetensors",))
    elif how == 1:
        model.write_bytes(flipped(rng, model.read_bytes(), rng.choice((1, 5, 50))))
    elif how == 2:
        content = model.read_bytes()
        start = max(0, content.find(rng.choice((b"names", b"hwnas.normalised_inside", b"imgsz", b"hwnas.color"))))
        model.write_bytes(content[:start] + flipped(rng, content[start : start + 60], 3) + content[start + 60 :])
    else:
        image = "one.png"
        (folder / image).write_bytes((base.folder / "images/a/00.png").read_bytes())
        damage(rng, folder / image, (model,))
    return ["predict", rng.choice(("run", "run/model.onnx")), image, *_json(rng)]


@group("resume", 9)
def resume(rng: random.Random, folder: Path, base: Base) -> list[str]:
    _run(rng, folder, base)
    how = rng.choice((["--resume"], ["--resume"], ["--resume"], ["--force"], []))
    return [*SEARCH, "--out", "run", *how, *_json(rng)]


@group("resume front", 5)
def resume_front(rng: random.Random, folder: Path, base: Base) -> list[str]:
    _run(rng, folder, base, "front")
    words = [word if word != "50%" else "40%,80%" for word in SEARCH]
    words[words.index("--budget-ms")] = "--budgets-ms"
    return [*words, "--out", "front", "--resume", *_json(rng)]


@group("init", 4)
def init(rng: random.Random, folder: Path, base: Base) -> list[str]:
    run = _run(rng, folder, base)
    damage(rng, run / "state" / "search.safetensors")
    place = rng.choice(("run", "run/state/search.safetensors", "run/weights.safetensors", "run/result.json"))
    return [*SEARCH, "--init", place, "--dry-run", *_json(rng)]


@group("report", 10)
def report(rng: random.Random, folder: Path, base: Base) -> list[str]:
    name = rng.choice(("run", "run", "front"))
    _run(rng, folder, base, name)
    return ["report", name, *_json(rng)]


@group("tables", 14)
def tables(rng: random.Random, folder: Path, base: Base) -> list[str]:
    name = rng.choice(("tables", "measured"))
    (place,) = (path.parent for path in base.copy(name, folder).glob("*/*/meta.toml"))
    base.link("images", folder)
    for _ in range(rng.choice((1, 1, 2))):
        damage(rng, place / rng.choice(("meta.toml", "table.csv")), (base.folder / "board.csv",))
    commands = (
        ["table", "show", name, "--rows", "0"],
        ["table", "show", name, "--space", rng.choice((*NAMES, "toy", "mobile"))],
        ["table", "show", name, "--plot", rng.choice(("x.png", "x.svg", *NAMES))],
        ["table", "diff", str(base.folder / name), name],
        [
            "table",
            "import",
            str(base.folder / "board.csv"),
            *IMPORT,
        ],
        [*SEARCH, "--dry-run"],
        [
            "adapt-device",
            "--space",
            "toy",
            "--width",
            "1",
            "--resolution",
            "8",
            "--sources",
            "tables",
            "--samples",
            "0",
        ],
    )
    return [*rng.choice(commands), *_json(rng)]


@group("imports", 12)
def imports(rng: random.Random, folder: Path, base: Base) -> list[str]:
    form = rng.choice(("csv", "fbnet", "ofa"))
    path = folder / {"csv": "x.csv", "fbnet": "x.json", "ofa": "x.yaml"}[form]
    if form == "csv":
        path.write_bytes((base.folder / "board.csv").read_bytes())
    elif form == "fbnet":
        options = ["k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip"]
        layers = [[1.0] * (len(options) - 1) + [0.0]] * 22
        device = {"relative_to_skip_ms": layers, "all_skip_total_ms": 2.0}
        content = {
            "ops": options,
            "layers": 22,
            "dataset": "cifar10 32x32",
            "source": "made up",
            "devices": {"one": device},
        }
        path.write_text(json.dumps(content))
    else:
        path.write_text(
            "Conv-input:32x32x3-output:16x16x16:\n  mean: 0.52\nLogits-input:1x1x64-output:10: {count: 3, mean: 0.1}\n"
        )
    damage(rng, path, (base.folder / "board.csv",))
    words = [
        "table",
        "import",
        path.name,
        "--format",
        form,
        "--device",
        rng.choice(("board", "x", *NAMES)),
        "--out",
        "out",
    ]
    if rng.random() < 0.3:
        words += [
            rng.choice(("--unit", "--entry", "--width", "--resolution", "--classes")),
            rng.choice((*NUMBERS, *NAMES)),
        ]
    return [*words, *_json(rng)]


@group("images", 12)
def images(rng: random.Random, folder: Path, base: Base) -> list[str]:
    root = base.copy("images", folder)
    base.link("tables", folder)
    files = sorted(root.rglob("*.png"))
    for path in rng.sample(files, rng.choice((1, 2, len(files)))):
        damage(rng, path, (base.folder / "board.csv", base.folder / "images/b/00.png"))
    if rng.random() < 0.4:
        with suppress(OSError, ValueError):
            (root / "a").rename(root / rng.choice(NAMES))
    if rng.random() < 0.3:
        with suppress(OSError, ValueError):
            files[-1].rename(files[-1].with_name(rng.choice(NAMES)))
    if rng.random() < 0.1:
        (root / "b" / "deeper").symlink_to(root)
    words = [*SEARCH, *(["--dry-run"] if rng.random() < 0.7 else ["--out", "out"])]
    return [*words, *_json(rng)]


@group("data files", 6)
def data_files(rng: random.Random, folder: Path, base: Base) -> list[str]:
    import numpy as np

    base.link("tables", folder)
    x, y = np.zeros((40, 8, 8, 3), np.uint8), np.arange(40) % 2
    if rng.random() < 0.5:
        np.savez(folder / "x.npz", x=x, y=y)
    else:
        np.savez(folder / "x.npz", x=x, y=y, classes=np.array(["a", "b"]))
    path = folder / "x.npz"
    path.write_bytes(rng.choice((bytes_of, lambda rng, one: flipped(rng, one, 4)))(rng, path.read_bytes()))
    words = ["x.npz" if word == "images" else word for word in SEARCH]
    return [*words, "--dry-run", *_json(rng)]


@group("devices", 10)
def devices(rng: random.Random, folder: Path, base: Base) -> list[str]:
    path = folder / "mine.toml"
    content = 'id = "mine"\ndescription = "x"\ntransport = "local"\nruntime = "onnxruntime"\n'
    content += 'threads = 1\nprecision = "fp32"\n'
    if rng.random() < 0.3:
        content = content.replace('"local"', '"ssh"') + 'host = "host.invalid"\nuser = "me"\n'
    path.write_text(content)
    damage(rng, path, (base.folder / "board.csv",))
    base.link("images", folder)
    commands = (["devices", "show", "mine.toml"], [*SEARCH, "--dry-run", "--device", "mine.toml"])
    return [*rng.choice(commands), *_json(rng)]


@group("configs", 12)
def configs(rng: random.Random, folder: Path, base: Base) -> list[str]:
    for link in ("images", "tables"):
        base.link(link, folder)
    path = folder / "mine.toml"
    path.write_bytes((base.folder / "run" / "config.toml").read_bytes())
    damage(rng, path, (base.folder / "board.csv",))
    words = ["search", "--config", "mine.toml", "--tables", "tables", "--dry-run"]
    if rng.random() < 0.3:
        place = rng.choice(("search.lr", "train.epochs", "data.source", "search.strategy", "compute.seed", *NAMES))
        words += ["--set", f"{place}={rng.choice((*NUMBERS, *NAMES))}"]
    return [*words, *_json(rng)]


@group("names", 14)
def names(rng: random.Random, folder: Path, base: Base) -> list[str]:
    for link in ("images", "tables", "run"):
        base.link(link, folder)
    name = rng.choice(NAMES)
    with suppress(OSError, ValueError):
        place = folder / name
        if rng.random() < 0.5 and name and place.resolve().parent == folder and not place.exists():
            place.mkdir() if rng.random() < 0.5 else place.write_bytes(b"x")
    search = [*SEARCH, "--dry-run"]
    board = str(base.folder / "board.csv")
    commands = (
        ["predict", "run", name],
        ["predict", name, "images/a/00.png"],
        ["predict", "run", f"images/{name}/00.png"],
        *([one, name] for one in ("report", "verify", "search", "table", "doctor")),
        *([one, "show", name] for one in ("devices", "table", "strategies", "spaces")),
        [name],
        ["table", "diff", name, name],
        ["table", "import", name, *IMPORT],
        ["table", "import", board, "--format", name, "--device", "board", "--out", "out"],
        ["table", "import", board, "--format", "csv", "--device", name, "--out", "out"],
        ["table", "show", "--tables", name],
        *([*search, f"--{one}", name] for one in _TEXTS),
        *([*search, f"--{one}", rng.choice(NUMBERS)] for one in ("budget-ms", "minutes", "seed", "width", "epochs")),
        [*SEARCH, "--out", name, "--resume"],
        [*SEARCH, "--out", name, "--force"],
        ["meta-train", "--out", name, "--tasks", name, "--steps", "1"],
        ["meta-train", "--out", name, "--resume"],
    )
    return [os.fsdecode(os.fsencode(word).replace(b"\0", b"")) for word in [*rng.choice(commands), *_json(rng)]]
