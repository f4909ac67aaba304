from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from hwnas.errors import InputError
from hwnas.parents.checkpoint_file import read_checkpoint


def test_a_pipe_a_device_and_a_folder_are_no_checkpoints(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "link.pth").symlink_to("/dev/zero")
    (tmp_path / "link.safetensors").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe.pth", Path("/dev/zero"), tmp_path / "link.pth", tmp_path / "link.safetensors"):
        with pytest.raises(InputError, match="not a regular file"):
            read_checkpoint(path)
    with pytest.raises(InputError, match="cannot read"):
        read_checkpoint(tmp_path)


def archive(path: Path, compression: int, pickled: bytes) -> Path:
    """A checkpoint whose pickle is another one."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w", compression) as made:
        for one in whole.infolist():
            made.writestr(one.filename, pickled if one.filename.endswith("data.pkl") else whole.read(one))
    return path


def test_an_archive_that_inflates_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(InputError, match="no more than its own"):
        read_checkpoint(archive(tmp_path / "a.pth", zipfile.ZIP_DEFLATED, bytes(3 << 20)))
    with pytest.raises(InputError, match="at most 4 MiB"):
        read_checkpoint(archive(tmp_path / "b.pth", zipfile.ZIP_STORED, bytes(5 << 20)))
    (tmp_path / "c.pth").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(tmp_path / "c.pth")


def test_a_file_of_the_format_before_archives_has_a_bound_on_its_pickles_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwnas.parents.checkpoint_file._LARGEST_PICKLE", 10_000)
    state = {"a": torch.arange(10_000.0), "b": torch.ones(3)}
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    found, _ = read_checkpoint(tmp_path / "a.pth")
    assert all(torch.equal(found[name], value) for name, value in state.items())
    (tmp_path / "b.pth").write_bytes(b"\x80\x02" + b"]" * 20_000)
    with pytest.raises(InputError, match="names and shapes"):
        read_checkpoint(tmp_path / "b.pth")


class Unknown:
    pass


def test_a_bad_pickle_is_told_without_the_advice_to_run_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    torch.save({"a": Unknown()}, tmp_path / "archive.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Unknown(), protocol=4))
    many = b"\x8a\x07" + b"\x7f" * 7  # bytes: more than any machine has
    (tmp_path / "memory.pth").write_bytes(b"\x80\x02c__builtin__\nbytearray\n" + many + b"\x85R.")
    (tmp_path / "text.pth").write_bytes(b"hello world")
    for name in ("archive.pth", "pickle.pth", "memory.pth", "text.pth"):
        with pytest.raises(InputError, match="damaged, or holds more than tensors") as caught:
            read_checkpoint(tmp_path / name)
        assert "weights_only" not in str(caught.value) + caught.value.hint
    assert not recwarn.list
    assert capsys.readouterr() == ("", "")
