"""From the arguments of `hwnas.search` to a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from hwnas.config import Configuration, Declared, Target, load_configuration
from hwnas.errors import InputError
from hwnas.near_names import did_you_mean

Targets = str | Sequence[str]
"""Devices with their budgets, such as 'pi4:50ms' and 'host@litert:5ms,10ms'."""

BudgetMs = float | str | Sequence[float | str]
"""Milliseconds, a share of the space's latency range such as '50%', or several of one kind."""


def configuration(
    base: Configuration | str | PathLike[str] | None,
    *,
    data: str | None,
    budget_ms: BudgetMs | None,
    target: Target | None,
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    targets: Sequence[str] | None = None,
) -> Configuration:
    """The configuration that the arguments describe: `base`, changed by all that is given beside it.

    Args:
        base: a configuration, or a TOML file of one; None for the defaults.
        data: name or path of the images; None for that of `base`.
        settings: values by place, such as `{"search.lr": 0.01}`.
        options: values by the names of flags, such as `{"minutes": 5}`.
        targets: several devices with their budgets, such as `["pi4:50ms", "host@litert:5ms,10ms"]`.

    Raises:
        InputError: a name or value is wrong, or one option is set twice.
    """
    if isinstance(base, str | PathLike):
        base = load_configuration(Path(base))
    content: dict[str, dict[str, Any]] = {} if base is None else base.model_dump()
    given: dict[str, Any] = {}
    if target is not None:
        given |= {f"target.{name}": getattr(target, name) for name in target.model_fields_set}
    named = {_place(name): _value(name, value) for name, value in options.items()}
    budget = {} if budget_ms is None else {"target.budget": budget_text(budget_ms)}
    source = {} if data is None else {"data.source": data}
    several = {} if targets is None else {"target.targets": targets}
    for more in (settings, named, budget, source, several):
        if twice := sorted(given.keys() & more.keys()):
            raise InputError(f"{twice[0]} is set twice", hint="leave one of the two out")
        given |= more
    if base is not None and not given:
        return base
    for place, value in given.items():
        section, _, name = place.partition(".")
        content.setdefault(section, {})[name] = value
    return Configuration.model_validate(content)


def texts_of(targets: Targets | None) -> Sequence[str] | None:
    """Targets, of which one alone may be a text."""
    return (targets,) if isinstance(targets, str) else targets


def budget_text(budget_ms: BudgetMs) -> str:
    """A budget, or several, as a configuration keeps them.

    Raises:
        InputError: it is neither a number nor a text, nor a sequence of them.
    """
    if isinstance(budget_ms, str):
        return budget_ms
    several = budget_ms if isinstance(budget_ms, Sequence) else (budget_ms,)
    for one in several:
        if isinstance(one, bool) or not isinstance(one, int | float | str):
            raise InputError(f"a budget is a number of milliseconds or a share such as '50%', not {one!r}")
    return ",".join(one if isinstance(one, str) else f"{one:.12g}" for one in several)


def _by_name() -> dict[str, Declared]:
    """Options by the names of their flags in Python: `--max-size-kb` is `max_size_kb`."""
    return {
        flag.removeprefix("--").replace("-", "_"): one
        for one in Configuration.options()
        if one.option.settable and one.place not in ("target.budget", "target.targets", "data.source")
        for flag in one.flags
    }


def _place(name: str) -> str:
    known = _by_name()
    if name in known:
        return known[name].place
    hint = did_you_mean(name, known).rstrip() or "docs/configuration.md lists all options"
    raise InputError(f"hwnas.search has no option {name!r}", hint=hint)


def _value(name: str, value: Any) -> Any:
    """A switch such as `no_train` is turned when it is true."""
    one = _by_name()[name]
    turned = one.kind == "switch" and one.default is True and isinstance(value, bool)
    return not value if turned else value
