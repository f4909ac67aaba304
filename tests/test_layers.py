"""Imports between the packages go one way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hwnas

ROOT = Path(hwnas.__file__).parent
BASE = {"errors", "files", "locks", "plugins", "progress", "events", "resources", "runtimes", "notebook", "schema"}
TRAINING = BASE | {"data", "train"}
MEASURING = BASE | {"arch", "backends", "devices", "latency"}
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "progress": set(),
    "events": {"progress"},
    "files": {"errors"},
    "locks": {"errors", "files"},
    "resources": {"errors"},
    "plugins": {"errors"},
    "notebook": set(),
    "runtimes": {"errors"},
    "schema": {"errors", "files"},
    "config": {"errors", "files"},
    "arch": {"errors"},
    "backends": {"arch", "errors", "files", "locks", "runtimes", "schema"},
    "devices": BASE | {"backends"},
    "latency": MEASURING - {"latency"},
    "data": {"errors", "files", "progress"},
    "train": {"data", "errors", "files", "progress", "schema"},
    "nas": MEASURING | TRAINING,
    "meta": MEASURING | TRAINING | {"nas"},
    "export": MEASURING | TRAINING | {"nas", "__init__"},
    "report": MEASURING | TRAINING | {"nas", "export", "__init__"},
    "run": MEASURING | TRAINING | {"config", "nas", "meta", "export", "report", "__init__"},
    "api": MEASURING | TRAINING | {"config", "nas", "meta", "export", "report", "run"},
    "cli": MEASURING | TRAINING | {"config", "nas", "meta", "export", "report", "run", "api", "__init__"},
    "__main__": {"cli"},
}
STRATEGIES = {f"hwnas.nas.{name}" for name in ("strategies", "supernet", "choice_set", "bilevel", "virtual")}
# and errors, plugins
WITHOUT_TORCH = (
    "errors",
    "files",
    "locks",
    "plugins",
    "progress",
    "events",
    "notebook",
    "resources",
    "runtimes",
    "schema",
    "config",
    "arch",
    "devices",
    "latency",
)


def layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports; `from hwnas import x` counts as `hwnas.x`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module is not None
            yield from (f"hwnas.{alias.name}" for alias in node.names) if node.module == "hwnas" else (node.module,)


FILES = sorted(ROOT.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_go_one_way(path: Path) -> None:
    own = layer(path)
    for name in imported(path):
        if name.startswith("hwnas."):
            target = name.split(".")[1].replace("__version__", "__init__")
            assert target == own or target in ALLOWED[own], f"{path} imports {name}"


@pytest.mark.parametrize("path", [path for path in FILES if layer(path) in WITHOUT_TORCH], ids=str)
def test_light_packages_do_not_import_torch(path: Path) -> None:
    heavy = {"torch", "hwnas.backends.torch", "hwnas.backends.parity"}
    assert not [name for name in imported(path) if name.split(".")[0] == "torch" or name in heavy]


@pytest.mark.parametrize("path", sorted((ROOT / "nas" / "strategies").glob("*.py")), ids=lambda path: path.name)
def test_strategies_see_numbers_only(path: Path) -> None:
    for name in imported(path):
        if name.startswith("hwnas."):
            assert name in ("hwnas.errors", "hwnas.plugins") or any(
                name.startswith(allowed) for allowed in STRATEGIES
            ), name


def test_every_package_has_its_place_in_the_order() -> None:
    order = list(ALLOWED)
    assert {layer(path) for path in FILES} <= set(order)
    for name, targets in ALLOWED.items():
        later = set(order[order.index(name) :]) - {name}
        assert not targets & later, f"{name} may import from below"


def test_the_description_layer_needs_the_standard_library_only() -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import hwnas.arch\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hwnas"]


def test_configurations_are_light() -> None:
    """Beside pydantic, what writes TOML, and the cache folder of `hwnas.files`, nothing heavy comes with them."""
    heavy = {"torch", "onnx", "numpy", "scipy", "onnxruntime", "typer"}
    code = f"import sys, hwnas.config; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
