"""The shapes that the inputs of a model file are measured with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwnas.backends.model_facts import ModelFile, Tensor, shape_text
from hwnas.devices.input_values import MADE_UP
from hwnas.errors import InputError

Shapes = Mapping[str, Sequence[int]]
"""Shapes of inputs, by name."""


def input_shapes(file: ModelFile, given: Shapes) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """The shapes that inputs are measured with, and which of them have a batch size of 1 that the file leaves open.

    Raises:
        InputError: there is no input of a name in `given`, a shape contradicts the file, or one is missing.
    """
    names = [one.name for one in file.inputs]
    for name in given:
        if name not in names:
            raise InputError(f"{file.path} has no input {name!r}", hint=f"its inputs: {', '.join(names) or 'none'}")
    result: dict[str, tuple[int, ...]] = {}
    taken = []
    for one in file.inputs:
        if one.dtype not in MADE_UP:
            raise InputError(
                f"{file.path} has an input {one.name!r} of the type {one.dtype}, for which there are no random values",
                hint=f"inputs of {', '.join(MADE_UP)} can be measured",
            )
        if one.name in given:
            result[one.name] = _fitting(file, one, given[one.name])
        elif one.shape is None:
            raise _open(file, one, "without a shape")
        else:
            first, rest = one.shape[:1], one.shape[1:]
            if None in rest:
                raise _open(file, one, f"of the open shape {shape_text(one.shape)}")
            if None in first:
                taken.append(one.name)
            result[one.name] = tuple(size or 1 for size in one.shape)
    return result, tuple(taken)


def _open(file: ModelFile, one: Tensor, what: str) -> InputError:
    example = ",".join("1" if index == 0 else str(size or 224) for index, size in enumerate(one.shape or (1, 3, 0, 0)))
    return InputError(
        f"{file.path} has an input {one.name!r} {what}, on which its latency depends",
        hint=f"say with which to measure it: --shape {one.name}={example}",
    )


def _fitting(file: ModelFile, one: Tensor, given: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(given)
    sizes = one.shape if one.shape is not None else (None,) * len(shape)
    fits = len(shape) == len(sizes) and all(own in (None, size) for own, size in zip(sizes, shape, strict=True))
    if not fits or min(shape, default=1) < 1:
        raise InputError(
            f"the input {one.name!r} of {file.path} is {shape_text(one.shape)}, which {shape_text(shape)} does not fit",
            hint="sizes that the file fixes cannot be changed; those shown as ? can",
        )
    return shape
