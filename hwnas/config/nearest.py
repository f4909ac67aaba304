"""The option that a wrong name most likely means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from hwnas.config.option import Declared
from hwnas.config.text import REFERENCE, shown
from hwnas.errors import InputError

_SHORTEST_WORD = 3


def unknown_option(section: str, name: str, options: Iterable[Declared]) -> InputError:
    """The error of an option that there is not; its hint names the nearest one of `options`."""
    found = nearest(section, name, options)
    hint = f"{f'did you mean {found}? ' if found else ''}{REFERENCE} lists all options"
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

    Names of the section come first, those of which the name is a word before those that are spelled alike; then the
    words of their help ("learning rate"), then all other sections.
    """
    options = [one for one in options if one.option.settable]
    own = [one for one in options if one.section == section]
    everywhere = {text: one.place for one in reversed(options) for text in (one.name, one.place)}
    if name in everywhere:
        return everywhere[name]
    if sibling := _with_word(name, own):
        return sibling
    words = {one.place: (one.name, *(flag.lstrip("-").replace("-", "_") for flag in one.flags)) for one in own}
    places = {word: place for place, called in words.items() for word in called}
    if found := get_close_matches(name, places, 1):
        return places[found[0]]
    said = name.replace("_", " ").replace("-", " ").lower()
    for group in (own, options):
        phrases = {text: one.place for one in reversed(group) for text in _phrases(one.option.help, said.count(" "))}
        if found := get_close_matches(said, phrases, 1, cutoff=0.8):
            return phrases[found[0]]
    if found := get_close_matches(name, everywhere, 1):
        return everywhere[found[0]]
    return _with_word(name, options)


def _with_word(name: str, options: Iterable[Declared]) -> str:
    """The first option that begins with a name, or else that has it as a word: `crop` is in `crop_scale`."""
    options = [one for one in options if len(name) >= _SHORTEST_WORD and name in one.name]
    begin = [one.place for one in options if one.name.startswith(name)]
    return next(iter(begin + [one.place for one in options if name in one.name.split("_")]), "")


def _phrases(help_: str, spaces: int) -> list[str]:
    """The phrases of as many words with which a help begins."""
    words = re.findall(r"[\w-]+", help_.lower())[: spaces + 1]
    return [" ".join(words)] if len(words) > spaces else []
