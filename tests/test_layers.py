"""Imports between the packages go one way, no two files import each other, and files keep small and apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import hwnas

ROOT = Path(hwnas.__file__).parent
BASE = {
    "errors",
    "files",
    "locks",
    "whole_folder",
    "plugins",
    "progress",
    "events",
    "resources",
    "runtimes",
    "display",
    "schema",
    "image_size",
    "asked_paths",
    "torchrun",
    "near_names",
}
TRAINING = BASE | {"data", "train", "metrics", "metric_names"}
MEASURING = BASE | {"arch", "backends", "devices", "latency"}
ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "near_names": set(),
    "progress": set(),
    "events": {"progress"},
    "trackers": {"errors", "events"},
    "files": {"errors"},
    "locks": {"errors", "files"},
    "whole_folder": {"errors", "files", "locks"},
    "resources": {"errors"},
    "torchrun": {"errors"},
    "plugins": {"errors"},
    "display": set(),
    "metrics": set(),
    "metric_names": set(),
    "runtimes": {"errors", "near_names"},
    "schema": {"errors", "files", "near_names"},
    "image_size": {"errors"},
    "asked_paths": {"errors", "files", "runtimes"},
    "config": {"errors", "files", "near_names", "metric_names", "runtimes", "schema", "image_size"},
    "executors": {"errors", "files", "schema"},
    "arch": {"errors", "image_size", "near_names"},
    "backends": {"arch", "asked_paths", "errors", "files", "locks", "runtimes", "schema"},
    "devices": BASE | {"backends"},
    "latency": MEASURING - {"latency"},
    "data": {"asked_paths", "display", "errors", "files", "progress", "image_size", "torchrun"},
    "train": {"data", "errors", "files", "metrics", "progress", "schema", "image_size", "torchrun"},
    "nas": MEASURING | TRAINING | {"executors"},
    "parents": MEASURING | TRAINING | {"nas"},
    "meta": MEASURING | TRAINING | {"nas"},
    "exporting": MEASURING | TRAINING | {"nas", "__init__"},
    "report": MEASURING | TRAINING | {"config", "nas", "exporting", "__init__"},
    "run": MEASURING
    | TRAINING
    | {"config", "executors", "nas", "parents", "meta", "exporting", "report", "trackers", "__init__"},
    "kept_runs": MEASURING | BASE | {"config", "metric_names", "report", "run"},
    "api": MEASURING | TRAINING | {"config", "executors", "nas", "meta", "exporting", "report", "run", "kept_runs"},
    "cli": MEASURING
    | TRAINING
    | {"config", "executors", "nas", "parents", "meta", "exporting", "report", "run", "kept_runs", "api", "__init__"},
    "__main__": {"cli"},
}
STRATEGIES = {f"hwnas.nas.{name}" for name in ("strategies", "supernet", "choice_set", "bilevel", "virtual")}
# and errors, near_names, plugins
WITHOUT_TORCH = (
    "errors",
    "files",
    "locks",
    "whole_folder",
    "plugins",
    "progress",
    "events",
    "display",
    "resources",
    "runtimes",
    "schema",
    "image_size",
    "metrics",
    "metric_names",
    "asked_paths",
    "torchrun",
    "near_names",
    "config",
    "executors",
    "arch",
    "devices",
    "latency",
    "kept_runs",
)
SLOW_TO_LOAD = {"matplotlib", "scipy.optimize", "scipy.stats"}


def layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Import | ast.ImportFrom)]


def imports_of_loading(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Those that run when the file is loaded: not those in functions, nor those for the type checker."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (one for other in child.orelse for one in imports_of_loading(other))
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports_of_loading(child)


def imported(nodes: Iterable[ast.Import | ast.ImportFrom]) -> Iterator[str]:
    """Full names of the modules; `from hwnas import x` counts as `hwnas.x`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert node.level == 0, f"line {node.lineno} has a relative import"
            assert node.module is not None
            yield from (f"hwnas.{alias.name}" for alias in node.names) if node.module == "hwnas" else (node.module,)


def file_of(module: str) -> Path | None:
    """The file of the package that a module is."""
    path = ROOT.parent / module.replace(".", "/")
    return next((found for found in (path.with_suffix(".py"), path / "__init__.py") if found.is_file()), None)


def files_loaded_by(path: Path) -> set[Path]:
    """Files of the package that a file imports when it is loaded."""
    found = set()
    for node in imports_of_loading(parsed(path)):
        base = node.module if isinstance(node, ast.ImportFrom) else None
        for alias in node.names:
            module = file_of(f"{base}.{alias.name}" if base else alias.name) or (file_of(base) if base else None)
            found |= {module} if module else set()
    return found


def all_loaded_by(path: Path) -> set[Path]:
    """Files of the package that loading one of them loads, itself and the packages that they are in included."""
    found, left = set(), [path]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            packages = [ROOT / folder / "__init__.py" for folder in one.relative_to(ROOT).parents]
            left += [*files_loaded_by(one), *packages]
    return found


FILES = sorted(ROOT.rglob("*.py"))


def test_imports_go_one_way() -> None:
    for path in FILES:
        own = layer(path)
        nodes = imports_of_loading(parsed(path)) if own == "__init__" else imports(path)  # the front door is lazy
        for name in imported(nodes):
            if name.startswith("hwnas."):
                target = name.split(".")[1].replace("__version__", "__init__")
                assert target == own or target in ALLOWED[own], f"{path} imports {name}"


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = {
        str(path.relative_to(ROOT)): [str(one.relative_to(ROOT)) for one in files_loaded_by(path)] for path in FILES
    }
    assert sum(map(len, graph.values())) > 2 * len(graph)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("files import each other: " + " -> ".join(reversed(error.args[1])))


def test_light_packages_do_not_import_torch() -> None:
    heavy = {"torch", "hwnas.backends.torch", "hwnas.backends.parity"}
    for path in FILES:
        if layer(path) in WITHOUT_TORCH:
            names = list(imported(imports(path)))
            assert not [name for name in names if name.split(".")[0] == "torch" or name in heavy], path


def test_strategies_see_numbers_only() -> None:
    paths = sorted((ROOT / "nas" / "strategies").glob("*.py"))
    assert len(paths) > 1
    for path in paths:
        for name in imported(imports(path)):
            if name.startswith("hwnas."):
                assert name in ("hwnas.errors", "hwnas.near_names", "hwnas.plugins") or any(
                    name.startswith(allowed) for allowed in STRATEGIES
                ), f"{path} imports {name}"


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


@pytest.mark.parametrize(
    ("name", "unneeded"),
    [
        ("api/tables.py", SLOW_TO_LOAD | {"torch", "onnxruntime"}),
        ("api/verification.py", SLOW_TO_LOAD | {"torch", "onnxruntime"}),
        ("api/runs.py", SLOW_TO_LOAD | {"torch", "onnxruntime"}),
        ("api/suggesting.py", SLOW_TO_LOAD | {"torch", "onnxruntime"}),
        ("api/searches.py", SLOW_TO_LOAD),
    ],
)
def test_a_command_loads_no_library_before_it_needs_it(name: str, unneeded: set[str]) -> None:
    for path in all_loaded_by(ROOT / name):
        for library in imported(imports_of_loading(parsed(path))):
            assert not any(f"{library}.".startswith(f"{one}.") for one in unneeded), f"{path} imports {library}"


def test_no_two_files_share_a_name() -> None:
    names = [path.name for path in FILES if path.name != "__init__.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_no_file_imports_more_than_twenty_others() -> None:
    """The walk from images to verdict is a list of small stages."""
    found = {str(path.relative_to(ROOT)): len(files_loaded_by(path)) for path in FILES}
    assert {name: count for name, count in found.items() if count > 20} == {}


def test_paths_of_users_are_resolved_without_an_exception() -> None:
    """`Path.resolve` raises RuntimeError where links form a circle; `files.real_path` does not."""
    for path in FILES:
        calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        raising = [ast.unparse(call) for call in calls if ast.unparse(call.func).endswith(".resolve")]
        assert [one for one in raising if one != "Path(__file__).resolve()"] == [], path
