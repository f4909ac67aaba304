"""Tensors inside of JSON, to the bit."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch
from torch import Tensor


def pack(tensor: Tensor) -> str:
    """The values of a float32 tensor as text."""
    return base64.b64encode(tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes()).decode()


def unpack(text: str, like: Tensor) -> Tensor:
    """A tensor of the shape of `like` from what `pack` made."""
    values = np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32)
    return torch.from_numpy(values).reshape(like.shape)


def pack_adam(optimizer: torch.optim.Adam) -> list[dict[str, str]]:
    """The moments and step counts of Adam, a parameter after the other; empty before the first step."""
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return [{name: pack(tensor) for name, tensor in entry.items()} for entry in state.values()]


def unpack_adam(optimizer: torch.optim.Adam, packed: list[dict[str, str]]) -> None:
    """Give an optimizer over parameters of the same shapes what `pack_adam` made."""
    groups: Any = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        index: {
            name: unpack(text, torch.zeros(()) if name == "step" else parameters[index]) for name, text in entry.items()
        }
        for index, entry in enumerate(packed)
    }
    optimizer.load_state_dict({"state": state, "param_groups": groups})
