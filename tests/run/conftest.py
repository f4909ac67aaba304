from __future__ import annotations

from pathlib import Path

import pytest
import torch
from run_fakes import draw_images

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 images; nobody writes to it."""
    return draw_images(tmp_path_factory.mktemp("data") / "images")
