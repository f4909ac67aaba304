"""The wheel carries what it needs, and the command line is quick."""

from __future__ import annotations

import ast
import resource
import statistics
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import hwnas

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "onnx", "onnxruntime", "numpy", "scipy", "matplotlib")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built and unpacked in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def run_unpacked(unpacked: Path, cwd: Path, code: str) -> list[str]:
    program = f"import sys; sys.path.insert(0, {str(unpacked)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_file_of_the_package_is_in_the_wheel(unpacked: Path) -> None:
    files = [path.relative_to(ROOT) for path in (ROOT / "hwnas").rglob("*") if path.is_file()]
    wanted = {str(path) for path in files if "__pycache__" not in path.parts and not path.name.startswith(".")}
    found = {str(path.relative_to(unpacked)) for path in (unpacked / "hwnas").rglob("*") if path.is_file()}
    resources = {path for path in found if path.startswith("hwnas/_resources/")}
    assert found - resources == wanted
    assert {"hwnas/py.typed", "hwnas/report/report.html.j2"} <= found


@pytest.mark.parametrize("folder", ["devices", "latency_tables"])
def test_the_resources_are_in_the_wheel(unpacked: Path, folder: str) -> None:
    beside, packed = ROOT / folder, unpacked / "hwnas" / "_resources" / folder
    files = sorted(path.relative_to(beside) for path in beside.rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (packed / file).read_bytes() == (beside / file).read_bytes()


def test_the_wheel_says_what_it_is(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    metadata = (info / "METADATA").read_text(encoding="utf-8")
    assert f"Version: {hwnas.__version__}\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert (info / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert "hwnas = hwnas.cli:main" in (info / "entry_points.txt").read_text(encoding="utf-8")


def test_a_wheel_elsewhere_finds_its_resources(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import hwnas\n"
        "from hwnas.devices.device import load_device\n"
        "from hwnas.resources import resource_folder\n"
        "print(load_device('host').runtime, hwnas.__file__)\n"
        "print(resource_folder('devices'), resource_folder('latency_tables'))\n"
    )
    runtime, *places = run_unpacked(unpacked, tmp_path, code)
    assert runtime == "onnxruntime"
    assert len(places) == 3
    assert all(Path(place).is_relative_to(unpacked) for place in places)


def test_a_wheel_elsewhere_finds_its_report_template(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "from hwnas.report import page\n"
        "template = page.environment().get_template('report.html.j2')\n"
        "print(template.filename or page.__file__)\n"
    )
    (place,) = run_unpacked(unpacked, tmp_path, code)
    assert Path(place).is_relative_to(unpacked)


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == hwnas.__version__


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = [
        *project["dependencies"],
        *(one for extra in ("litert", "coreml", "heic", "parquet", "mlflow", "ray") for one in extras[extra]),
    ]
    declared = {requirement.split(">=")[0].partition("[")[0] for requirement in requirements}
    modules = {"pillow": "PIL", "protobuf": "google"}
    assert imported_modules() == {modules.get(name, name.replace("-", "_")) for name in declared}


def imported_modules() -> set[str]:
    found = set()
    for path in (ROOT / "hwnas").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"hwnas"}


@pytest.mark.parametrize("module", ["hwnas", "hwnas.cli"])
def test_heavy_imports_wait(module: str) -> None:
    code = f"import sys, {module}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("arguments", [["-c", "import hwnas"], ["-m", "hwnas", "--help"]], ids=" ".join)
def test_starting_is_quick(arguments: list[str]) -> None:
    bare_s, started_s = [], []
    for _ in range(3):
        bare_s.append(cpu_seconds(["-c", "pass"]))
        started_s.append(cpu_seconds(arguments))
    # A bare interpreter takes 0.014 s where this was written; on a slower or busier machine all takes longer.
    assert statistics.median(started_s) < max(0.3, 25 * statistics.median(bare_s))


def cpu_seconds(arguments: list[str]) -> float:
    """CPU time of a Python process: what neighbours take from it is not counted."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
