"""The two forms in which CIFAR-10 is published: records of bytes, and Python pickles, which are not executed.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.errors import DataError

SHAPE = (3, 32, 32)
_IMAGE = 3 * 32 * 32
_LARGEST_FILE = 2**27  # a file of the set has 31 MB
_HINT = "fetch and unpack CIFAR-10 again"

_SKIPPED = frozenset({"FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"})
_TEXT = frozenset({"SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES", "BINUNICODE"})
_LIST = frozenset({"EMPTY_LIST", "MARK", "APPENDS", "APPEND"})
_INT = frozenset({"BININT", "BININT1", "BININT2"})
_OTHERS = frozenset({
    "PROTO", "STOP", "GLOBAL", "REDUCE", "BUILD", "GET", "BINGET", "LONG_BINGET", "EMPTY_DICT", "SETITEM", "SETITEMS",
    "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE", "NONE", "NEWTRUE", "NEWFALSE",
})  # fmt: skip
_GLOBALS = frozenset(
    {
        "numpy.core.multiarray _reconstruct",
        "numpy._core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
    }
)

Batch = tuple[NDArray[np.uint8], NDArray[Any]]
"""Pixels of shape (N, C, H, W) and labels of shape (N,)."""


def read_binary(path: Path) -> Batch:
    """One file of the binary version: per image a byte for the label, then the pixels.

    Raises:
        DataError: the file cannot be read, or is not made of such records.
    """
    content = _content(path)
    if not content or len(content) % (1 + _IMAGE):
        raise DataError(
            f"a CIFAR-10 file is made of records of {1 + _IMAGE} bytes, but {path} has {len(content)} bytes", hint=_HINT
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + _IMAGE)
    return records[:, 1:].reshape(-1, *SHAPE), records[:, 0].astype(np.int64)


def read_python(path: Path) -> Batch:
    """One file of the Python version: a pickle of a dictionary, of which `data` and `labels` are used.

    The pickle is split into its tokens and none of it is executed: pixels are the one long string in it, labels the
    list of numbers behind the word `labels`. A token that does not occur in CIFAR-10's files is refused.

    Raises:
        DataError: the file cannot be read, or does not look like one of CIFAR-10's.
    """
    content = _content(path)
    try:
        data, labels = _scan(content, path)
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, AttributeError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a pickle: {error}", hint=_HINT) from error
    if not labels or len(data) != len(labels) * _IMAGE:
        raise DataError(
            f"a CIFAR-10 batch has {_IMAGE} bytes per label, but {path} has {len(data)} bytes and {len(labels)} labels",
            hint=_HINT,
        )
    return np.frombuffer(data, np.uint8).reshape(-1, *SHAPE), np.array(labels, np.int64)


def read_batches(paths: Sequence[Path], read: Callable[[Path], Batch]) -> Batch:
    """Several files, one behind the other."""
    pixels, labels = zip(*map(read, paths), strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


def _scan(content: bytes, path: Path) -> tuple[bytes, list[int]]:
    data, labels = b"", []
    before, in_labels = "", False
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        if name in _SKIPPED:
            continue
        if name in _TEXT:
            text = _bytes(argument)
            in_labels = text == b"labels"
            if len(text) >= _IMAGE:
                if data or before != "NEWFALSE":  # what says that the pixels are in the order of C
                    raise DataError(
                        f"a CIFAR-10 batch has one array of pixels, row by row, but {path} differs", hint=_HINT
                    )
                data = text
        elif in_labels and name in _INT and isinstance(argument, int):
            labels.append(argument)
        elif name not in _LIST | _INT | _OTHERS or (name == "GLOBAL" and argument not in _GLOBALS):
            raise DataError(
                f"the pickle of a CIFAR-10 batch holds an array, a list and names, but {path} has "
                f"{name} {'' if argument is None else repr(argument)[:80]}".rstrip(),
                hint=f"nothing in it was executed; {_HINT}",
            )
        elif name not in _LIST:
            in_labels = False
        before = name
    return data, labels


def _bytes(argument: Any) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode("latin-1")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", hint=_HINT) from error
    if len(content) > _LARGEST_FILE:
        raise DataError(f"a CIFAR-10 file has at most {_LARGEST_FILE >> 20} MiB, but {path} has more", hint=_HINT)
    return content
