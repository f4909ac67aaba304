"""Faults of `check_faults.py` that come from files and disks: images, tables, and folders that cannot be written."""

from __future__ import annotations

import shutil
import socket
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from fault_lab import PROFILE, SEARCH, Lab, Record, can_mount, contents, fault, goes_on_measuring, mount
from PIL import Image

# Images that cannot be used.


def draw(folder: Path, classes: int = 2) -> Path:
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for index in range(6):
            pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{index}.png")
    return folder


def refused(lab: Lab, record: Record, data: str, says: str) -> None:
    """A search with these images is refused before anything is measured, and the images are left alone."""
    before = contents(lab.here / data) if (lab.here / data).is_dir() else (lab.here / data).read_bytes()
    record.met(lab.hwnas(SEARCH, "--data", data), 2, says)
    after = contents(lab.here / data) if (lab.here / data).is_dir() else (lab.here / data).read_bytes()
    record.check(before == after, "the images are untouched")
    record.check(not list(lab.here.glob("run/model.onnx")), "no model was made")


@fault("one class", "a folder with one class folder")
def one_class(lab: Lab, record: Record) -> None:
    draw(lab.here / "photos", classes=1)
    refused(lab, record, "photos", "at least two classes")


@fault("empty folder", "an empty folder")
def empty_folder(lab: Lab, record: Record) -> None:
    (lab.here / "photos").mkdir()
    refused(lab, record, "photos", "no class folders")


@fault("corrupt images", "one image cut in half, another replaced by text")
def corrupt_images(lab: Lab, record: Record) -> None:
    photos = draw(lab.here / "photos")
    cut = photos / "class0" / "1.png"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (photos / "class1" / "2.png").write_text("not an image")
    refused(lab, record, "photos", "2 of 12 images in photos cannot be read")


@fault("huge image", "an image whose header says 60 000 × 60 000 pixels")
def huge_image(lab: Lab, record: Record) -> None:
    photos = draw(lab.here / "photos")
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = (struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in (header, data))
    (photos / "class0" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    refused(lab, record, "photos", "1 of 12 images in photos cannot be read")


@fault("npz with objects", "an .npz file whose images are an array of Python objects")
def npz_with_objects(lab: Lab, record: Record) -> None:
    x = np.array([np.zeros((8, 8)), None] * 10, dtype=object)
    np.savez(lab.here / "images.npz", x=x, y=np.arange(20) % 2)
    refused(lab, record, "images.npz", "objects")


@fault("NaN in the images", "an .npz file with NaN in one of 40 images")
def npz_with_nan(lab: Lab, record: Record) -> None:
    x = np.random.default_rng(0).random((40, 8, 8), dtype=np.float32)
    x[3, 2, 1] = np.nan
    np.savez(lab.here / "images.npz", x=x, y=np.arange(40) % 2)
    refused(lab, record, "images.npz", "finite")


# Tables that cannot be trusted.


@contextmanager
def untrusted(lab: Lab, record: Record, says: str, command: list[str] | None = None) -> Iterator[Path]:
    """What is done to the table within is refused, and the table is left as it is."""
    yield lab.table
    before = contents(lab.table)
    record.met(lab.hwnas(command or SEARCH), 2, says)
    record.check(contents(lab.table) == before, "the table is left as it is")
    record.check(not (lab.here / "run").exists(), "no run was begun")


@fault("truncated table", "table.csv cut in half")
def truncated_table(lab: Lab, record: Record) -> None:
    with untrusted(lab, record, "table.csv was changed") as table:
        rows = table / "table.csv"
        rows.write_bytes(rows.read_bytes()[: rows.stat().st_size // 2])


@fault("edited table", "one digit of a latency in table.csv changed")
def edited_table(lab: Lab, record: Record) -> None:
    with untrusted(lab, record, "table.csv was changed") as table:
        text = (table / "table.csv").read_text()
        at = text.index(".", text.index("\n")) - 1
        (table / "table.csv").write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


@fault("edited meta.toml", "the slope of the calibration in meta.toml halved")
def edited_meta(lab: Lab, record: Record) -> None:
    with untrusted(lab, record, "meta.toml was changed") as table:
        path = table / "meta.toml"
        (slope,) = [line for line in path.read_text().splitlines() if line.startswith("slope")]
        path.write_text(path.read_text().replace(slope, f"slope = {float(slope.split()[2]) / 2}"))


@fault("half of meta.toml", "meta.toml cut in half, then profile-device")
def half_meta(lab: Lab, record: Record) -> None:
    with untrusted(lab, record, "meta.toml", PROFILE) as table:
        path = table / "meta.toml"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@fault("table of another CPU", "the table of another CPU, copied into this CPU's folder")
def table_of_another_cpu(lab: Lab, record: Record) -> None:
    from hwnas.latency.table_files import load_table, save_table

    with untrusted(lab, record, "but this device is") as folder:
        table = load_table(folder)
        table.under = replace(table.under, device="another-cpu")
        shutil.rmtree(folder)
        save_table(table, folder)


@fault("unreachable device", "a board over ssh at an address where nothing answers")
def unreachable_device(lab: Lab, record: Record) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        condition = 'transport = "ssh"\nruntime = "onnxruntime"\nthreads = 1\nprecision = "fp32"\n'
        address = f'[ssh]\nhost = "127.0.0.1"\nuser = "nobody"\nport = {port}\n'
        (lab.here / "board.toml").write_text(f'id = "board"\ndescription = "a board"\n{condition}{address}')
        for command in (PROFILE, SEARCH, ["devices", "check"]):
            where = [] if command[0] == "devices" else ["--device"]
            record.met(lab.hwnas(command, *where, "board.toml"), 5, "cannot be reached")
    record.check(not (lab.here / "run").exists(), "no run was begun")


# Disks that are full or read-only. "Full" is a limit on the size of a file, which root cannot pass either.


def too_large(lab: Lab, record: Record, largest_file: int, name: str) -> None:
    """The run cannot write `name`; with room again it goes on to the same end."""
    record.met(lab.hwnas(SEARCH, "--resume", largest_file=largest_file), 8, name)
    record.check(not list(lab.here.rglob(".*.hwnas-*")), "no half-written file is left")
    record.goes_on(lab.hwnas(SEARCH, "--resume"))
    lab.same_as_finished(record)


@fault("full disk: profiling", "no room for the models that are measured")
def full_disk_models(lab: Lab, record: Record) -> None:
    record.met(lab.hwnas(PROFILE, largest_file=1_000_000), 8, "File too large")
    record.check(not list(lab.here.rglob("table.csv")), "there is no part of a table")


@fault("full disk: table", "measuring into a disk of 32 kB, which is enlarged afterwards; the same command again")
def full_disk_table(lab: Lab, record: Record) -> None:
    if not can_mount():
        record.skipped = "needs root on Linux"
        return
    with lab.small_disk("tables", "32k") as disk:
        record.met(lab.hwnas(PROFILE), 8, "No space left on device")
        record.check(lab.journal_lines() > 50, "the rounds are kept")
        mount("-o", "remount,size=16m", str(disk))
        goes_on_measuring(lab, record)


@fault("full disk: run directory", "no room for config.toml of a new run")
def full_disk_run(lab: Lab, record: Record) -> None:
    _ = lab.table
    record.met(lab.hwnas(SEARCH, largest_file=350), 8, "config.toml")
    left = [path.name for path in (lab.here / "run").rglob("*") if path.is_file()]
    record.check(set(left) <= {"lock", ".hwnas-run"}, f"nothing of the run is left, there is {left}")


@fault("full disk: search", "no room for the checkpoint of a finished search; then room again, with --resume")
def full_disk_search(lab: Lab, record: Record) -> None:
    lab.cut_run("architecture.json", "weights.safetensors", "evaluated.csv", "state/train-*", "state/search*")
    too_large(lab, record, 100_000, "search.safetensors")


@fault("full disk: check", "no room for the reference model beside the winner; then room again, with --resume")
def full_disk_check(lab: Lab, record: Record) -> None:
    lab.cut_run("architecture.json", "weights.safetensors", "evaluated.csv", "state/train-*")
    too_large(lab, record, 1_000_000, "reference.onnx")


@fault("full disk: training", "no room for the checkpoint of the training; then room again, with --resume")
def full_disk_training(lab: Lab, record: Record) -> None:
    lab.cut_run("weights.safetensors", "state/train-*")
    too_large(lab, record, 60_000, "train-")


@fault("full disk: export", "no room for the weights and the model file; then room again, with --resume")
def full_disk_export(lab: Lab, record: Record) -> None:
    lab.cut_run("weights.safetensors")
    too_large(lab, record, 20_000, "weights.safetensors")


@fault("full disk: verify", "no room for the reference model beside the model; then room again, with --resume")
def full_disk_verify(lab: Lab, record: Record) -> None:
    lab.cut_run()
    too_large(lab, record, 60_000, "reference.onnx")


@fault("full disk: tmpfs", "a run on a disk of 140 kB, which is enlarged afterwards, with --resume")
def full_tmpfs(lab: Lab, record: Record) -> None:
    if not can_mount():
        record.skipped = "needs root on Linux"
        return
    _ = lab.finished
    with lab.small_disk("run", "140k") as disk:
        record.met(lab.hwnas(SEARCH), 8, "No space left on device")
        mount("-o", "remount,size=64m", str(disk))
        record.goes_on(lab.hwnas(SEARCH, "--resume"))
        lab.same_as_finished(record)


@fault("read-only output", "an output folder that cannot be written, for a run and for a table")
def read_only(lab: Lab, record: Record) -> None:
    _ = lab.table
    with no_writes(lab) as folder:
        record.met(lab.hwnas(SEARCH, "--out", f"{folder.name}/run"), 8, f"cannot write {folder.name}/run")
        record.met(lab.hwnas(PROFILE, "--out", folder.name), 8, f"cannot write {folder.name}")


@fault("read-only table", "a complete table that cannot be written is used as it is")
def read_only_table(lab: Lab, record: Record) -> None:
    _ = lab.table
    with no_writes(lab) as folder:
        plan = lab.hwnas(SEARCH, "--dry-run", "--tables", f"{folder.name}/tables")
        record.met(plan, 0, "")
        record.goes_on(lab.hwnas(PROFILE, "--out", f"{folder.name}/tables"))


@contextmanager
def no_writes(lab: Lab) -> Iterator[Path]:
    """A read-only folder with a copy of the table: a read-only disk for root, whom permissions do not bind."""
    if can_mount():
        with lab.small_disk("disk", "1m") as disk:
            shutil.copytree(lab.here / "tables", disk / "tables")
            mount("-o", "remount,ro", str(disk))
            yield disk
        return
    folder = lab.here / "disk"
    shutil.copytree(lab.here / "tables", folder / "tables")
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        yield folder
    finally:
        for path in folders:
            path.chmod(0o755)
