"""Damage of files and names that `fuzz_commands.py` does: bytes, structure, and what is not a file at all."""

from __future__ import annotations

import json
import os
import random
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 0.5, 1e300, -1e-300, 2**31, 2**63, 2**64, 10**400, [], [[]], {}, {"": {}}, [None]),
    *("", "x", "1", "NaN", "x" * 10_000, "\x00", "\x1b[31m", "../../etc/passwd", "[red]", "é€😀", "\u202e", "a\nb"),
)
NAMES = (
    *("[red]x[/]", "q[/b]", "[link=file:///x]", "\\[", "a b", "-x", "--help", "é€😀", "\u202eabc", "a\tb", "a\nb"),
    *("\x1b[31m", "\x07", "%s%n", "{0}", "$HOME", "~", ".", "..", "../x", "/", "", " ", "nul", "x" * 255, "x" * 300),
    *("y/" * 2000, "\udce9", "caf\udce9.png", "a\x7f", "'", '"', "`", ";ls", "*", "?", "#", "=", ",", "5ms", "host"),
    *("digits", "con.toml", "x.onnx", "x.tflite", "x.npz", "inf", "nan", "1e999", "0x10", "١٢"),
)
"""Names, paths and values that somebody may type; half a surrogate pair is a byte that is not UTF-8."""
NUMBERS = ("0", "-1", "1", "1e-320", "1e308", "nan", "inf", "-inf", "9" * 400, "0.1.2", "1_0", " 5 ", "5%", "101%", "")
_DEEP = "[" * 5000 + "]" * 5000
_JSON = (
    '"\\ud800"',
    "NaN",
    "Infinity",
    "-0",
    "1e999",
    "9" * 5000,
    '"\\u0000"',
    '{"a": 1, "a": 2}',
    _DEEP,
)
_TOML = ("nan", "inf", "1979-05-27", "0x" + "f" * 5000, '"\\u0000"', _DEEP, "{a.b.c = 1}", "9" * 5000)


def bytes_of(rng: random.Random, content: bytes) -> bytes:
    """The same with other bytes, another length, or another encoding."""
    at = rng.randrange(len(content) + 1)
    text = content.decode("utf-8", "replace")
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: content[:at],
        lambda: content[at:],
        lambda: content[:at] + rng.randbytes(rng.choice((1, 4, 64))) + content[at + 1 :],
        lambda: flipped(rng, content, rng.choice((1, 3, 20))),
        lambda: content[:at] + b"\x00" * rng.choice((1, 8, 4096)) + content[at:],
        lambda: b"\x00" * len(content),
        lambda: rng.randbytes(min(len(content), 4096)),
        lambda: b"\xef\xbb\xbf" + content,
        lambda: text.encode("utf-16"),
        lambda: content + content,
        lambda: content.replace(b"\n", b"\r\n"),
        lambda: content.replace(b"\n", b"\r"),
        lambda: b"\xff\xfe" + content[:at] + b"\xed\xa0\x80" + content[at:],
    )
    return rng.choice(makers)()


def flipped(rng: random.Random, content: bytes, count: int) -> bytes:
    changed = bytearray(content)
    for _ in range(count if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def structure_of(rng: random.Random, content: bytes, suffix: str) -> bytes:
    """JSON, TOML or CSV with one value replaced, left out or added; anything else by its bytes."""
    text = content.decode("utf-8", "replace")
    if suffix in (".csv", ".yaml"):
        return _table_of(rng, text).encode("utf-8", "surrogatepass")
    if suffix not in (".json", ".jsonl", ".toml"):
        return bytes_of(rng, content)
    lines = text.splitlines() if suffix == ".jsonl" else [text]
    index = rng.randrange(len(lines)) if lines else 0
    try:
        parsed = tomllib.loads(text) if suffix == ".toml" else json.loads(lines[index])
    except (ValueError, IndexError):
        return bytes_of(rng, content)
    mark = "a place that is nowhere else"
    raw = rng.random() < 0.4
    whole = {"all": parsed}
    holder, key = rng.choice(list(_places(whole)))
    if rng.random() < 0.15:
        del holder[key]
    elif rng.random() < 0.1 and isinstance(holder, dict):
        holder[rng.choice(NAMES)] = holder[key]
    else:
        holder[key] = mark if raw else rng.choice(ODD_VALUES)
    changed = whole.get("all", {})
    if suffix != ".toml":
        odd = rng.choice(_JSON)
        written = json.dumps(changed).replace(f'"{mark}"', odd)
        lines[index] = written
        return "\n".join(lines).encode("utf-8", "surrogatepass")
    try:
        written = tomli_w.dumps(changed)
    except (TypeError, AttributeError, ValueError):  # TOML has no null, and is a table
        written = f"{text}\nx = "
    return written.replace(f'"{mark}"', rng.choice(_TOML)).encode("utf-8", "surrogatepass")


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder and key below."""
    keys = content if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _places(content[key])


def _table_of(rng: random.Random, text: str) -> str:
    lines = text.splitlines() or [""]
    index = rng.randrange(len(lines))
    fields = lines[index].split(",")
    at = rng.randrange(len(fields))
    odd = [*NAMES, *NUMBERS, "\x00", "z" * 200_000, '"', "9" * 5000, "\ud800", "=1+1"]
    how = rng.randrange(5)
    if how == 0:
        fields[at] = rng.choice(odd)
    elif how == 1:
        fields.insert(at, rng.choice(odd))
    elif how == 2:
        del fields[at]
    elif how == 3:
        lines.insert(index, lines[index])
    else:
        rng.shuffle(lines)
        return "\n".join(lines)
    lines[index] = ",".join(fields)
    return "\n".join(lines)


def damage(rng: random.Random, path: Path, others: tuple[Path, ...] = ()) -> str:
    """Damage a file in place; in words what was done."""
    how = rng.choices(
        ("structure", "bytes", "other", "gone", "folder", "loop", "dangling", "huge"), (9, 8, 2, 2, 1, 1, 1, 1)
    )[0]
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 1 << 26:
        return f"{path.name}: damaged already"
    content = path.read_bytes()
    if how == "structure":
        path.write_bytes(structure_of(rng, content, path.suffix))
    elif how == "bytes":
        path.write_bytes(bytes_of(rng, content))
    elif how == "other" and others:
        path.write_bytes(rng.choice(others).read_bytes())
    else:
        with suppress(FileNotFoundError):
            path.unlink()
        if how == "folder":
            path.mkdir()
        elif how == "loop":
            path.symlink_to(path.name)
        elif how == "dangling":
            path.symlink_to("nowhere")
        elif how == "huge":
            with path.open("wb") as file:
                file.write(content)
                file.truncate(1 << 40)
    return f"{path.name}: {how}"


def remove(folder: Path) -> None:
    """A folder with whatever names and links are in it."""
    shutil.rmtree(os.fsencode(folder), ignore_errors=True)
