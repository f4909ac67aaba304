from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from run_fakes import a_config, draw_images, install, write_table

import hwnas
from hwnas.run.pipeline import run_search

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 images; nobody writes to it."""
    return draw_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="session")
def packed_run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run to make packages of; nobody writes to it."""
    root = tmp_path_factory.mktemp("package")
    with pytest.MonkeyPatch.context() as patch:
        install(patch.setattr)
        run_search(a_config(images, epochs=4), root / "run", tables=write_table(root / "tables"))
    return root / "run"


@pytest.fixture(scope="session")
def packed_here(packed_run: Path) -> Path:
    """A copy of it that holds its package; nobody writes to it."""
    own = Path(shutil.copytree(packed_run, packed_run.parent / "own"))
    hwnas.export(own, formats=["onnx", "tflite"], precisions=["fp32", "int8"], max_drop=100.0, package=True)
    return own


@pytest.fixture(scope="session")
def packed(packed_here: Path) -> Path:
    """The package, from which the run is not at hand; nobody writes to it."""
    return Path(shutil.copytree(packed_here / "app", packed_here.parent / "elsewhere" / "app"))


@pytest.fixture
def own_package(packed: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(packed, tmp_path / "app"))
