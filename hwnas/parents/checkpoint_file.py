"""The tensors of a checkpoint file, of which nothing is trusted: no code in it runs, and it is read within a bound."""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from hwnas.errors import InputError

_LARGEST_FILE = 1 << 30  # bytes
_LARGEST_PICKLE = 4 << 20  # bytes: of the names and shapes, which take a tenth of that
_ZIP = b"PK\x03\x04"
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe would hold it up
_NESTED = ("state_dict", "model", "model_state_dict", "state_dict_ema")
_HINT = "give a .pth or .safetensors file with the weights of a network"
_UNREADABLE = (
    pickle.UnpicklingError,
    SafetensorError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
    ImportError,
)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a .pth, .pt or .safetensors file by their names in it, as they are, and its SHA-256.

    Raises:
        InputError: it cannot be read, is no regular file, is too large, or holds anything but tensors by name.
    """
    try:
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"{path} is not a regular file", hint=_HINT)
            if found.st_size > _LARGEST_FILE:
                raise InputError(f"a checkpoint has at most {_LARGEST_FILE >> 20} MiB, and {path} has more", hint=_HINT)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            content = _content(file, path, found.st_size)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", hint="check the path") from error
    except SafetensorError as error:
        raise InputError(f"{path} is no safetensors file: {error}", hint=_HINT) from error
    except _UNREADABLE as error:  # torch's own words advise to run the code in the file
        raise InputError(f"{path} is damaged, or holds more than tensors, numbers and text", hint=_HINT) from error
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise InputError(f"{path} must hold tensors by name, not {type(content).__name__}", hint=_HINT)
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}, digest


def _content(file: BinaryIO, path: Path, size: int) -> Any:
    if path.suffix == ".safetensors":
        return safetensors.torch.load(file.read())
    zipped = file.read(len(_ZIP)) == _ZIP
    if zipped:
        _check_members(file, path, size)
    file.seek(0)
    readable: Any = file if zipped else _Pickles(file, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they ask the user to report to torch
        return torch.load(readable, map_location="cpu", weights_only=True)


def _check_members(file: BinaryIO, path: Path, size: int) -> None:
    """Refuse what inflates: torch writes archives that are not compressed."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    inflated = sum(one.file_size for one in members)
    if inflated > size:
        raise InputError(f"{path} must hold no more than its own {size} bytes, not {inflated}", hint=_HINT)
    pickled = sum(one.file_size for one in members if one.filename.lower().endswith(".pkl"))
    if pickled > _LARGEST_PICKLE:
        raise _long_pickle(path)


class _Pickles:
    """A file of the format before archives, of which torch reads the pickles here, and the numbers by `fileno`."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path, self._left = file, path, _LARGEST_PICKLE

    def read(self, size: int = -1) -> bytes:
        return self._counted(self._file.read(size if 0 <= size <= self._left else self._left + 1))

    def readline(self) -> bytes:
        return self._counted(self._file.readline(self._left + 1))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise _long_pickle(self._path)
        return content


def _long_pickle(path: Path) -> InputError:
    return InputError(f"the names and shapes in {path} must take at most {_LARGEST_PICKLE >> 20} MiB", hint=_HINT)
