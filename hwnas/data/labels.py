"""From the labels that a file holds to indices of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwnas.errors import DataError


def class_labels(
    arrays: Mapping[str, NDArray[Any]], names: Sequence[str] | None, *, where: str
) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """The classes of all arrays together, and each array as class indices of shape (N,).

    Args:
        arrays: labels by key, each of shape (N,) or (N, 1): integers, whole floats, booleans or text.
        names: the classes, if they are known; integers are indices into them, text is one of them. Otherwise the
            classes are the sorted values that occur.
        where: the file that the arrays come from, for messages.

    Raises:
        DataError: these are no labels, there are fewer than two classes, or a label is none of the names.
    """
    flat = {key: _flat(f"{key} of {where}", array) for key, array in arrays.items()}
    if len({array.dtype.kind for array in flat.values()}) > 1:
        raise DataError(
            f"labels must all be numbers or all be text, but {', '.join(flat)} of {where} are mixed",
            hint="store all of them alike",
        )
    values, found = np.unique(np.concatenate(list(flat.values())), return_inverse=True)
    classes = tuple(str(value) for value in values) if names is None else tuple(names)
    _check_names(classes, where)
    if names is None:
        indices = found.astype(np.int64)
    elif values.dtype.kind == "U":
        indices = np.array([_index(str(value), classes, where) for value in values], np.int64)[found]
    else:
        wrong = [int(value) for value in values if not 0 <= value < len(classes)]
        if wrong:
            raise DataError(
                f"a label is the index of its class, here 0 to {len(classes) - 1}, but {where} has a label {wrong[0]}",
                hint="count the classes from 0, and name all of them in 'classes'",
            )
        indices = values[found].astype(np.int64)
    ends = np.cumsum([len(array) for array in flat.values()])
    return classes, dict(zip(flat, np.split(indices, ends[:-1]), strict=True))


def class_names(array: NDArray[Any], *, where: str) -> tuple[str, ...]:
    """The names in an array of text, in its order.

    Raises:
        DataError: it holds something else, or a name twice.
    """
    names = _text(array, f"classes of {where}")
    if array.ndim != 1 or names is None:
        raise DataError(
            f"'classes' must be a row of names, but in {where} it has type {array.dtype} and shape {array.shape}",
            hint="store it as np.array(['cat', 'dog'])",
        )
    result = tuple(names.tolist())
    _check_names(result, where)
    return result


def _flat(what: str, array: NDArray[Any]) -> NDArray[Any]:
    """One label per row, as int64 or text."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"labels must have shape (N,), but {what} has {array.shape}",
            hint="for one column per class, store y.argmax(axis=1)",
        )
    text = _text(array, what)
    if text is not None:
        return text
    if array.dtype.kind not in "biuf":
        raise DataError(f"labels must be numbers or text, but {what} has type {array.dtype}", hint="convert them")
    whole = np.isfinite(array) & (np.abs(array.astype(np.float64)) < 2**53)
    whole[whole] = np.mod(array[whole], 1) == 0 if array.dtype.kind == "f" else True
    if not whole.all():
        raise DataError(
            f"labels must be whole numbers, but {what} has {array[~whole][0]!s}",
            hint="hwnas searches classifiers: give the index or the name of each image's class",
        )
    return array.astype(np.int64)


def _text(array: NDArray[Any], what: str) -> NDArray[np.str_] | None:
    """The array as text if it is text, else None."""
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"text must be UTF-8, but {what} is not: {error.reason}", hint="store it as text"
            ) from error
    return array if array.dtype.kind == "U" else None


def _index(value: str, classes: tuple[str, ...], where: str) -> int:
    if value not in classes:
        raise DataError(
            f"a label must be one of the classes, but {where} has a label {value!r}", hint="name it in 'classes'"
        )
    return classes.index(value)


def _check_names(classes: tuple[str, ...], where: str) -> None:
    if len(classes) < 2:
        raise DataError(
            f"at least two classes are needed, but {where} has {', '.join(map(repr, classes)) or 'none'}",
            hint="add images of another class",
        )
    odd = [name for name in classes if not name.isprintable() or not name.strip()]
    if odd:
        raise DataError(f"a class name must be printable text, but {where} has {odd[0]!r}", hint="rename it")
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise DataError(f"class names must differ, but {where} has {twice!r} twice", hint="rename one")
