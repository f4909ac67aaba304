"""The option that a wrong name most likely means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from hwnas.config.option import Declared
from hwnas.config.text import REFERENCE, shown
from hwnas.errors import InputError


def unknown_option(section: str, name: str, options: Iterable[Declared]) -> InputError:
    """The error of an option that there is not; its hint names the nearest one of `options`."""
    found = nearest(section, name, options)
    hint = f"did you mean {found}?" if found else f"{REFERENCE} lists all options"
    return InputError(f"[{section}] has no option {shown(name)}", hint=hint)


def unknown_section(name: str, options: Iterable[Declared]) -> InputError:
    """The error of a section that there is not; its hint names the nearest one, or the option of that name."""
    options = tuple(options)
    sections = list(dict.fromkeys(one.section for one in options))
    near = get_close_matches(name, sections, 1)
    found = f"[{near[0]}]" if near else nearest("", name, options)
    hint = f"did you mean {found}?" if found else f"the sections are {', '.join(sections)}"
    return InputError(f"a configuration has no section {shown(name)}", hint=hint)


def nearest(section: str, name: str, options: Iterable[Declared]) -> str:
    """The place of the option that is nearest to a name in a section, such as `search.lr`; empty where none is near.

    Names of the section come first, then the words of their help ("learning rate"), then all other sections.
    """
    options = [one for one in options if one.option.settable]
    own = [one for one in options if one.section == section]
    everywhere = {text: one.place for one in reversed(options) for text in (one.name, one.place)}
    if name in everywhere:
        return everywhere[name]
    words = {one.place: (one.name, *(flag.lstrip("-").replace("-", "_") for flag in one.flags)) for one in own}
    places = {word: place for place, called in words.items() for word in called}
    if found := get_close_matches(name, places, 1):
        return places[found[0]]
    said = name.replace("_", " ").replace("-", " ").lower()
    for group in (own, options):
        phrases = {text: one.place for one in reversed(group) for text in _phrases(one.option.help, said.count(" "))}
        if found := get_close_matches(said, phrases, 1, cutoff=0.8):
            return phrases[found[0]]
    found = get_close_matches(name, everywhere, 1) or get_close_matches(f"{section}.{name}", everywhere, 1, cutoff=0.8)
    return everywhere[found[0]] if found else ""


def _phrases(help_: str, spaces: int) -> list[str]:
    """The phrases of as many words with which a help begins."""
    words = re.findall(r"[\w-]+", help_.lower())[: spaces + 1]
    return [" ".join(words)] if len(words) > spaces else []
