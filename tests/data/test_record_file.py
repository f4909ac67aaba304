"""Records are there or they are not, whatever ends the process that writes them, and however many write."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hwnas.data.record_file import RecordFile, remove_unused, size_bytes

COUNT, SIZE = 40, 1000
RECORDS = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE), dtype=np.uint8)


def whole(file: RecordFile) -> list[int]:
    """The rows that are there, with the right bytes in each of them."""
    found = []
    for row in range(COUNT):
        out = np.empty(SIZE, np.uint8)
        if file.read(row, out):
            assert np.array_equal(out, RECORDS[row])
            found.append(row)
    return found


def child(work: Callable[[], None]) -> int:
    """Do this in another process; returns its id."""
    if process := os.fork():
        return process
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def opened(path: Path) -> RecordFile:
    return RecordFile(path, COUNT, SIZE)


def test_records_come_back_and_others_are_absent(tmp_path: Path) -> None:
    file = opened(tmp_path / "a")
    assert whole(file) == []
    for row in (3, 39, 0):
        file.write(row, RECORDS[row])
    assert whole(file) == whole(opened(tmp_path / "a")) == [0, 3, 39]
    assert (tmp_path / "a").stat().st_size == size_bytes(COUNT, SIZE)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("writes", range(1, 9))
def test_a_process_that_is_killed_loses_what_it_was_writing_and_no_more(tmp_path: Path, writes: int) -> None:
    def filled_until_killed() -> None:
        write, left = os.pwrite, [writes]

        def pwrite(file: int, content: memoryview, at: int) -> int:
            left[0] -= 1
            if not left[0]:
                write(file, content[: len(content) // 2], at)
                os.kill(os.getpid(), signal.SIGKILL)
            return write(file, content, at)

        os.pwrite = pwrite
        file = opened(tmp_path / "a")
        for row in range(COUNT):
            file.write(row, RECORDS[row])

    _, status = os.waitpid(child(filled_until_killed), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    file = opened(tmp_path / "a")
    assert whole(file) == list(range((writes - 1) // 2))
    for row in range(COUNT):
        file.write(row, RECORDS[row])
    assert whole(file) == list(range(COUNT))


def test_two_processes_fill_one_file(tmp_path: Path) -> None:
    def fill(order: NDArray[np.int64]) -> None:
        file = opened(tmp_path / "a")
        for row in map(int, order):
            if not file.read(row, out := np.empty(SIZE, np.uint8)):
                file.write(row, RECORDS[row])
            assert file.read(row, out)
            assert np.array_equal(out, RECORDS[row])

    orders = [np.random.default_rng(seed).permutation(COUNT) for seed in range(3)]
    ended = [os.waitpid(process, 0)[1] for process in [child(lambda order=order: fill(order)) for order in orders]]
    assert ended == [0, 0, 0]
    assert whole(opened(tmp_path / "a")) == list(range(COUNT))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").stat().st_size == size_bytes(COUNT, SIZE)


def test_a_file_that_a_process_has_open_is_not_removed(tmp_path: Path) -> None:
    file = opened(tmp_path / "a")
    assert not remove_unused(tmp_path / "a")
    del file
    reading, writing = os.pipe()

    def hold() -> None:
        kept = opened(tmp_path / "a")
        os.write(writing, b"!")
        signal.pause()
        del kept

    process = child(hold)
    os.read(reading, 1)
    assert not remove_unused(tmp_path / "a")
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert remove_unused(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_removed_while_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_, opens = os.open, []

    def remove_at_first(path: Path, *options: Any) -> int:
        file = open_(path, *options)
        opens.append(file)
        if len(opens) == 1:
            path.unlink()
        return file

    monkeypatch.setattr(os, "open", remove_at_first)
    file = opened(tmp_path / "a")
    file.write(5, RECORDS[5])
    assert len(opens) == 2
    assert whole(opened(tmp_path / "a")) == [5]


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "a").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        opened(tmp_path / "a")
    assert (tmp_path / "mine").read_text() == "mine"
