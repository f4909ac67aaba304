"""Names and paths of very many images in little memory."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Lazy(Sequence[T]):
    """Items that are made whenever they are asked for, and held by none."""

    def __init__(self, count: int, item: Callable[[int], T]) -> None:
        """So many items, of which `item` makes the one at an index from 0 on."""
        self._count, self._item = count, item

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return map(self._item, range(self._count))

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        chosen = range(self._count)[index]
        return self._item(chosen) if isinstance(chosen, int) else list(map(self._item, chosen))


def chained(counts: Sequence[int], item: Callable[[int, int], T]) -> Lazy[T]:
    """The items of several sources, one source after the other; `item` makes that of a source at an index in it."""
    ends = np.cumsum(counts)

    def one(index: int) -> T:
        source = int(np.searchsorted(ends, index, side="right"))
        return item(source, index - int(ends[source]) + counts[source])

    return Lazy(sum(counts), one)


class PathTable:
    """Paths of files: each folder once, and the names in the folders one behind the other in one buffer.

    A path takes 20 bytes beside its name; one of `pathlib` takes some 400.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        """Take them, in their order."""
        names, ends, numbers = bytearray(), array("q", [0]), array("i")
        folders: dict[str, int] = {}
        for path in paths:
            folder, name = os.path.split(path)
            names += name.encode("utf-8", "surrogatepass")
            ends.append(len(names))
            numbers.append(folders.setdefault(folder, len(folders)))
        bounds = np.array(ends, np.int64)
        self._names, self._folders = names, list(folders)
        self._begin, self._end, self._folder = bounds[:-1], bounds[1:], np.array(numbers, np.int32)

    def __len__(self) -> int:
        return len(self._folder)

    def ordered(self, order: NDArray[np.int64]) -> PathTable:
        """The paths at these indices, in that order; the buffer is shared."""
        result = PathTable(())
        result._names, result._folders = self._names, self._folders
        result._begin, result._end, result._folder = self._begin[order], self._end[order], self._folder[order]
        return result

    def paths(self) -> Lazy[Path]:
        return Lazy(len(self), lambda index: Path(self._folders[self._folder[index]], self._name(index)))

    def names(self, root: Path) -> Lazy[str]:
        """Each path below `root`, or whole where it is elsewhere."""
        folders = [_below(root, folder) for folder in self._folders]
        return Lazy(len(self), lambda index: str(Path(folders[self._folder[index]], self._name(index))))

    def _name(self, index: int) -> str:
        return self._names[self._begin[index] : self._end[index]].decode("utf-8", "surrogatepass")


def _below(root: Path, folder: str) -> str:
    path = Path(folder)
    if not path.is_relative_to(root):
        return folder
    return "" if path == root else str(path.relative_to(root))
