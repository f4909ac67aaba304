"""Where a search starts when `--init` names an initialisation or an earlier run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hwnas.arch.spaces import parse_constants
from hwnas.errors import InputError
from hwnas.files import sha256
from hwnas.meta.earlier import from_search
from hwnas.meta.initialisation import Initialisation, load_initialisation
from hwnas.meta.transfer import same_family
from hwnas.run.config import RunConfig
from hwnas.run.folder import RunFolder


def initialised(config: RunConfig) -> tuple[RunConfig, Initialisation | None]:
    """The configuration with the checksum of what it starts from, and that; None where the start is random.

    Where the configuration leaves width, depth and resolution open, they are those of the initialisation.

    Raises:
        InputError: it cannot be read, is of another space, or scores come from training without a supernet.
    """
    if not config.init:
        return config, None
    if config.scores == "training":
        raise InputError(
            "with scores by training there are no shared weights to initialise", hint="leave out --init or --scores"
        )
    path = Path(config.init)
    if path.is_dir():
        path = RunFolder(path).search_state
        init = from_search(path)
    else:
        init = load_initialisation(path)
    same_family(config.space, init, where=config.init)
    if not (config.width or config.depth or config.resolution):
        _, width, depth, resolution = parse_constants(init.origin.space)
        config = replace(config, width=width, depth=depth, resolution=resolution)
    return replace(config, init_sha256=sha256(path.read_bytes())), init
