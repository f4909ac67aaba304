"""Where a search starts when `--init` names an initialisation or an earlier run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import parse_constants
from hwnas.config import PARENTS, Configuration
from hwnas.data import Normalisation
from hwnas.errors import InputError
from hwnas.files import sha256
from hwnas.meta.earlier import from_samplers, from_search
from hwnas.meta.initialisation import Initialisation, load_initialisation
from hwnas.meta.reuse import Reused, same_family, start_in
from hwnas.meta.samplers import sampler_start
from hwnas.nas.start import Start
from hwnas.nas.strategies import Strategy
from hwnas.parents import ParentWeights, find_parent, inherited_start, weights_of
from hwnas.run.run_folder import RunFolder


@dataclass(frozen=True)
class FromParent:
    """What a parent gave: every option as a slice of it."""

    licence: str
    weights: str
    sha256: str

    def to_json(self, source: str) -> dict[str, Any]:
        """All of it, and where it came from."""
        return {"from": source, "licence": self.licence, "weights": self.weights, "sha256": self.sha256}

    def __str__(self) -> str:
        """One line for people."""
        return f"pre-trained, {self.licence}, weights of {self.weights}; every option begins as a slice of it"


Given: TypeAlias = Reused | FromParent
"""What a search was given to start from."""


def initialised(config: Configuration) -> tuple[Configuration, Initialisation | ParentWeights | None]:
    """The configuration with the checksum of what it starts from, and that; None where the start is random.

    Where the configuration leaves width, depth and resolution open, they are those of the initialisation.

    Raises:
        InputError: it cannot be read, or is of another space.
    """
    if not config.started:
        return config, None
    if config.from_parent:
        weights = _of_parent(config)
        return config.changed(search={"init_sha256": weights.sha256}), weights
    path = Path(config.search.init)
    init, read = _of_run(RunFolder(path), config) if path.is_dir() else (load_initialisation(path), [path])
    same_family(config.space.name, init, where=config.search.init)
    if not (config.space.width or config.space.depth or config.space.resolution):
        _, width, depth, resolution = parse_constants(init.origin.space)
        config = config.changed(space={"width": width, "depth": depth, "resolution": resolution.plain})
    return config.changed(search={"init_sha256": sha256(b"".join(file.read_bytes() for file in read))}), init


def start_of(
    config: Configuration, space: SearchSpace, init: Initialisation | ParentWeights, chosen: Strategy
) -> tuple[Start, Given]:
    """What of `init` the search begins with: weights and α, and for samplers what one of their sort learned.

    Raises:
        InputError: less than half of the weights fit; scores come from training, and the sampler cannot start from what
            was learned, so nothing is left; or nothing is searched, and there is no α.
    """
    if isinstance(init, ParentWeights):
        return inherited_start(init, space), FromParent(init.parent.licence, init.source, init.sha256)
    sampler_state, sampler = sampler_start(space, init, chosen, config.search.reward)
    if config.search.evaluator == "from-scratch":
        if sampler_state is None:
            raise InputError(
                "with scores by training a search starts from what a sampler learned, but with "
                f"{config.search.init} the sampler is {sampler}",
                hint=f"leave out --init, or give the folder of a run with --strategy {chosen.name}",
            )
        return Start(sampler_state=sampler_state), Reused(0, 0, 0.0, (), 0, sampler)
    start, reused = start_in(space, init, where=config.search.init)
    if config.search.share == 0 and not reused.decisions:
        raise InputError(
            f"without a search the architecture is decoded from α, and of {config.search.init} there is none for "
            f"{space.name}",
            hint="give the folder of a run with a relaxation such as --strategy gumbel, or a larger --search-share",
        )
    return replace(start, sampler_state=sampler_state), replace(reused, sampler=sampler)


def normalisation_of(config: Configuration, init: Initialisation | ParentWeights | None) -> Normalisation | None:
    """Mean and deviation that the images need for a start that descends from a parent and is none; else None.

    Norms of such a start are made for what the parent saw, through any number of runs.
    """
    if not isinstance(init, Initialisation) or config.space.name not in PARENTS:
        return None
    return init.normalisation


def check_start(config: Configuration, chosen: Strategy) -> None:
    """Whether the start of a search and the share of it that is done go with the rest of a configuration.

    Raises:
        InputError: they do not.
    """
    share = config.search.share
    if chosen.replaces and not config.from_parent:
        raise InputError(
            f"the strategy {chosen.name} replaces blocks of a pre-trained parent, but the search starts from none",
            hint=f"name one, such as --init {PARENTS[0]}, or choose another --strategy",
        )
    if config.from_parent and config.search.evaluator == "from-scratch":
        raise InputError(
            f"trainings from scratch use no weights, so they cannot start from {config.search.init}",
            hint="leave out --evaluator, or --init",
        )
    if config.from_parent and share == 0 and not chosen.replaces:
        raise InputError(
            f"without a search the architecture is decoded from α, and {config.search.init} has none for {chosen.name}",
            hint="--strategy replace, or a larger --search-share",
        )
    if share is not None and not config.started:
        raise InputError(
            "a search that starts from nothing is done whole, but --search-share is given without --init",
            hint="leave out --search-share, or name with --init what to start from",
        )
    if share == 0 and chosen.sampler is not None:
        raise InputError(
            f"without a search the architecture is decoded from α, which the sampler {chosen.name} does not have",
            hint="choose a relaxation such as --strategy gumbel, or a larger --search-share",
        )


def _of_parent(config: Configuration) -> ParentWeights:
    """The weights of the parent, for its own space alone."""
    name, space = config.search.init, config.space.name
    if space != name:
        raise InputError(
            f"a search from {name} is one of its elastic space, and not of {space}",
            hint=f"leave out --space {space}, or --init {name}",
        )
    return weights_of(find_parent(name), config.space.width or 1.0)


def _of_run(folder: RunFolder, config: Configuration) -> tuple[Initialisation, list[Path]]:
    """What an earlier run learned, and the files that say so.

    Raises:
        InputError: it learned nothing that another run can start from.
    """
    if config.search.evaluator == "from-scratch":
        return from_samplers(folder.sampler_state), [folder.sampler_state]
    replaced = folder.state / "parent.safetensors"
    if not folder.search_state.exists() and replaced.exists():  # blocks of a parent, and no supernet was trained
        return load_initialisation(replaced, hint=f"delete {folder.path}, or leave out --init"), [replaced]
    init = from_search(folder.search_state)
    if not folder.sampler_state.is_file():
        return init, [folder.search_state]
    samplers = from_samplers(folder.sampler_state)
    init = replace(init, strategies=samplers.strategies, method=samplers.method)
    return init, [folder.search_state, folder.sampler_state]
