"""Tensors and a little JSON in one safetensors file: written atomically, checked when read, no code inside."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from hwnas.errors import InputError
from hwnas.files import write_bytes
from hwnas.schema import json_as

_START_AGAIN = "delete the file to start again without it"
LARGEST_INTEGER = 2**128
"""Of the JSON: states of random generators are that large."""
_DAMAGED = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)
_LARGEST_HEAD = 100 << 20  # bytes: safetensors reads none that is larger


def save(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write `tensors` (of any device, layout or sharing; the values are kept) and the JSON object `info` to `path`.

    Raises:
        StorageError: the file cannot be written.
    """
    stored, text = plain(tensors), json.dumps(info, sort_keys=True, allow_nan=False)
    # One entry: several would come in an order of their own each time.
    write_bytes(path, safetensors.torch.save(stored, {"hwnas": f"{digest(stored, text)} {text}"}))


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, because safetensors refuses tensors that share memory or are not contiguous."""
    return {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }


def load(path: Path, *, hint: str = _START_AGAIN) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save` wrote: the tensors, on the CPU, and the JSON object.

    Args:
        hint: what to do about a damaged file.

    Raises:
        InputError: the file cannot be read, is damaged, or was not written by `save`.
    """
    try:
        header = _header(path)
        tensors = safetensors.torch.load(path.read_bytes())
        told, _, text = header["__metadata__"]["hwnas"].partition(" ")
        if told != digest(tensors, text):
            raise ValueError("its contents do not match its checksum")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", hint="check the path") from error
    except (SafetensorError, *_DAMAGED) as error:
        raise InputError(f"{path} is damaged or not a checkpoint of hwnas: {error}", hint=hint) from error
    return tensors, json_as(text, dict[str, Any], path, hint=hint, largest_integer=LARGEST_INTEGER)


def is_own(path: Path) -> bool:
    """Whether `save` wrote the file, by its head and length."""
    try:
        return "hwnas" in _header(path)["__metadata__"]
    except (OSError, *_DAMAGED):
        return False


def _header(path: Path) -> dict[str, Any]:
    """What the file says of its tensors; a file that is longer or shorter than it says is refused unread.

    Raises:
        OSError: it cannot be read. Any of `_DAMAGED`: it is no such file.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError("it must be a file")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LARGEST_HEAD:
            raise ValueError("its header is too large")
        header: dict[str, Any] = json.loads(file.read(length))
    ends = [int(one["data_offsets"][1]) for name, one in header.items() if name != "__metadata__"]
    if size != 8 + length + max(ends, default=0):
        raise ValueError(f"it must be {8 + length + max(ends, default=0)} bytes long, not {size}")
    return header


def copy_into(live: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: Path) -> None:
    """Copy the stored tensors into the live ones of the same names.

    Raises:
        InputError: one is missing in `path`, or has another shape.
    """
    for name, value in live.items():
        if name not in stored or stored[name].shape != value.shape:
            found = f"{tuple(stored[name].shape)}" if name in stored else "nothing"
            raise InputError(f"{path}: {name} must have the shape {tuple(value.shape)}, not {found}", hint=_START_AGAIN)
    with torch.no_grad():
        for name, value in live.items():
            value.copy_(stored[name])


def pack_optimizer(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The optimizer's state as tensors named `{prefix}{parameter index}.{state name}`.

    Parameters without state yet (no gradient so far) have no entry. Learning rate and other settings are not packed:
    they belong to whoever made the optimizer. The tensors are the live ones, as in `state_dict`: `save` copies them.

    Raises:
        InputError: the state holds something other than tensors.
    """
    packed = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                packed[f"{prefix}{index}.{key}"] = value
            elif value is not None:
                raise InputError(
                    f"the state of an optimizer must be tensors to be stored, but {key!r} of "
                    f"{type(optimizer).__name__} is {type(value).__name__}",
                    hint="use SGD, Adam or AdamW",
                )
    return packed


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Give `optimizer`, built over the same parameters in the same order, the state in `tensors` under `prefix`.

    Its earlier state is replaced; names without the prefix are ignored.

    Raises:
        InputError: an entry belongs to no parameter, or its shape differs from the parameter's.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if not name.startswith(prefix):
            continue
        index, _, key = name.removeprefix(prefix).partition(".")
        fits = index.isdecimal() and int(index) < len(parameters) and key
        if not fits or (tensor.ndim and tensor.shape != parameters[int(index)].shape):
            raise InputError(
                f"the stored entry {name!r} of shape {tuple(tensor.shape)} fits none of the optimizer's "
                f"{len(parameters)} parameters",
                hint="the checkpoint belongs to another network: delete it or choose another folder",
            )
        # Laid out in memory as the parameter is, so that the next step runs the same kernels.
        like = parameters[int(index)] if tensor.ndim else tensor
        state.setdefault(int(index), {})[key] = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 over the names, types, shapes and bytes of contiguous CPU tensors, and over `text`."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"\n{name}\n{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
