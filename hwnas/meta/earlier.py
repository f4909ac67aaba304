"""What an earlier search learned, as an initialisation."""

from __future__ import annotations

from pathlib import Path

import torch

from hwnas.errors import InputError
from hwnas.meta.initialisation import Initialisation
from hwnas.search.origin import Origin
from hwnas.train import checkpoint as store

_SUPERNET, _ALPHA = "supernet.", "alpha."


def from_search(checkpoint: Path) -> Initialisation:
    """Shared weights and α from the checkpoint of a search, finished or not.

    Of its α it is the one that no budget has pressed: the next device has another budget.

    Raises:
        InputError: there is no checkpoint, or it is damaged or of an earlier version.
    """
    if not checkpoint.is_file():
        raise InputError(
            f"a search can start from an earlier one only where that kept its weights, but there is no {checkpoint}",
            hint="give the folder of a run whose candidates were scored with a supernet, or a file of hwnas meta-train",
        )
    tensors, info = store.load(checkpoint)
    try:
        origin = Origin.from_json(info["space"])
        alphas = sorted((int(name.removeprefix(_ALPHA)), name) for name in tensors if name.startswith(_ALPHA))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{checkpoint} does not say which space it is of: {error}", hint="it is of an earlier hwnas: search again"
        ) from error
    weights = {name.removeprefix(_SUPERNET): value for name, value in tensors.items() if name.startswith(_SUPERNET)}
    alpha = tensors[alphas[-1][1]] if alphas else None
    if alpha is not None:
        alpha = torch.where(torch.isfinite(alpha), alpha, 0.0)
    return Initialisation(origin, weights, alpha)
