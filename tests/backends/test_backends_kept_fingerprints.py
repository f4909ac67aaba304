"""Fingerprints on disk: computed once, never by another writer, and never a reason to fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hwnas.arch import OpSpec, op
from hwnas.arch.op import _kinds
from hwnas.arch.primitives import Builder, Value
from hwnas.backends import kept_fingerprints
from hwnas.backends.kept_fingerprints import KeptFingerprints

SPECS = [OpSpec("conv", 8, cout, size, size) for cout in range(8, 80, 8) for size in range(4, 12)]


class Counted:
    """A fingerprint that is made of the key, and who asked for it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, spec: OpSpec) -> str:
        self.asked.append(spec.key)
        return f"{abs(hash(spec)):016x}"[:16]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache" / "fingerprints"
    another_process()


def another_process() -> None:
    """Forget what this one has read."""
    kept_fingerprints._known.cache_clear()
    kept_fingerprints._version.cache_clear()


def test_what_was_computed_is_kept_for_the_next_process(cache: Path) -> None:
    first, second = Counted(), Counted()
    expected = {spec.key: f"{abs(hash(spec)):016x}"[:16] for spec in SPECS}
    assert KeptFingerprints(first, "onnx")(SPECS) == expected
    assert first.asked == list(expected)
    another_process()
    assert KeptFingerprints(second, "onnx")(SPECS[::-1]) == expected
    assert len(second.asked) == 4, "a few are checked"
    other = Counted()
    KeptFingerprints(other, "litert")(SPECS)
    assert len(other.asked) == len(SPECS)
    assert sorted(path.name.partition("-")[0] for path in cache.iterdir()) == ["litert", "onnx"]


def test_more_is_added_and_what_is_there_stays(cache: Path) -> None:
    half = len(SPECS) // 2
    KeptFingerprints(Counted(), "onnx")(SPECS[:half])
    late = Counted()
    kept_fingerprints._known(next(cache.iterdir()))  # read before another process adds the rest
    another_process()
    KeptFingerprints(Counted(), "onnx")(SPECS[half:])
    another_process()
    KeptFingerprints(late, "onnx")(SPECS)
    assert len(late.asked) == 4


@pytest.mark.parametrize("forgery", ["of another version", "with its checksum"])
def test_foreign_fingerprints_are_not_believed(forgery: str, cache: Path) -> None:
    expected = KeptFingerprints(Counted(), "onnx")(SPECS)
    (path,) = cache.iterdir()
    if forgery == "of another version":
        other = path.with_name("onnx-0123456789abcdef.txt")
        kept_fingerprints._write(other, dict.fromkeys(expected, "f" * 16))
        other.rename(path)
    else:
        kept_fingerprints._write(path, dict.fromkeys(expected, "f" * 16))
    another_process()
    assert KeptFingerprints(Counted(), "onnx")(SPECS) == expected
    another_process()
    last = Counted()
    assert KeptFingerprints(last, "onnx")(SPECS) == expected
    assert len(last.asked) == 4, "what took their place is kept"


def test_few_are_not_worth_a_file(cache: Path) -> None:
    KeptFingerprints(Counted(), "onnx")(SPECS[:8])
    assert not cache.exists()


@pytest.mark.parametrize("change", ["source", "package"])
def test_another_writer_keeps_its_own(
    change: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = Counted(), Counted()
    source = tmp_path / "source"
    source.mkdir()
    (source / "writer.py").write_text("A = 1\n")
    monkeypatch.setattr(kept_fingerprints, "_SOURCES", (source,))
    KeptFingerprints(before, "onnx")(SPECS)
    if change == "source":
        (source / "writer.py").write_text("A = 2\n")
    else:
        monkeypatch.setattr(kept_fingerprints.importlib.metadata, "version", lambda name: "0.0.1")
    another_process()
    KeptFingerprints(after, "onnx")(SPECS)
    assert len(before.asked) == len(after.asked) == len(SPECS)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content.replace(b"conv", b"pool", 1),
        lambda content: content[:80] + b"\xff" + content[81:],
        lambda content: b"no such thing\n",
    ],
    ids=["empty", "cut", "edited", "not UTF-8", "other"],
)
def test_a_damaged_file_is_computed_anew(damage: object, cache: Path) -> None:
    assert callable(damage)
    expected = KeptFingerprints(Counted(), "onnx")(SPECS)
    (path,) = cache.iterdir()
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    another_process()
    again = Counted()
    assert KeptFingerprints(again, "onnx")(SPECS) == expected
    assert len(again.asked) == len(SPECS)
    assert path.read_bytes() == sound


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file, where a folder should be")
    counted = Counted()
    assert len(KeptFingerprints(counted, "onnx")(SPECS)) == len(counted.asked) == len(SPECS)


def test_ops_of_plug_ins_are_computed_every_time(cache: Path) -> None:
    @op("pluggedin", "kernel")
    def pluggedin(b: Builder, spec: OpSpec, x: Value) -> Value:
        return b.conv(x, "conv", spec.cout, kernel=spec.kernel)

    try:
        own = [OpSpec("pluggedin", 8, cout, 4, 4) for cout in range(8, 400, 8)]
        for _ in range(2):
            counted = Counted()
            KeptFingerprints(counted, "onnx")([*own, *SPECS])
            another_process()
        assert counted.asked[4:] == [spec.key for spec in own], "but for a few that are checked"
    finally:
        del _kinds["pluggedin"]
