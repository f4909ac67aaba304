"""The option that a wrong name most likely means."""

from __future__ import annotations

import re
from difflib import get_close_matches

from hwnas.config.configuration import Configuration


def nearest(section: str, name: str) -> str:
    """The place of the option that is nearest to a name in a section, such as `search.lr`; empty where none is near.

    Names of the section come first, then the words of their help ("learning rate"), then all other sections.
    """
    options = [one for one in Configuration.options() if one.option.settable]
    own = [one for one in options if one.section == section]
    named = [*([one.name for one in own]), *(flag[2:].replace("-", "_") for one in own for flag in one.flags)]
    places = dict(zip(named, [*own, *(one for one in own for _ in one.flags)], strict=True))
    if found := get_close_matches(name, places, 1):
        return places[found[0]].place
    said = name.replace("_", " ").replace("-", " ").lower()
    for group in (own, options):
        words = {phrase: one.place for one in reversed(group) for phrase in _phrases(one.option.help, said.count(" "))}
        if found := get_close_matches(said, words, 1, cutoff=0.8):
            return words[found[0]]
    everywhere = {text: one.place for one in reversed(options) for text in (one.name, one.place)}
    found = get_close_matches(name, everywhere, 1) or get_close_matches(f"{section}.{name}", everywhere, 1, cutoff=0.8)
    return everywhere[found[0]] if found else ""


def nearest_section(name: str) -> str:
    """The section that is nearest to a name, or the option of that name; empty where none is near."""
    if found := get_close_matches(name, Configuration.sections(), 1):
        return f"[{found[0]}]"
    return nearest("", name)


def _phrases(help_: str, spaces: int) -> list[str]:
    """The phrases of as many words with which a help begins."""
    words = re.findall(r"[\w-]+", help_.lower())[: spaces + 1]
    return [" ".join(words)] if len(words) > spaces else []
