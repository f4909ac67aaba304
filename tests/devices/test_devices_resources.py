"""Where a checkout and an installed wheel keep the device descriptions."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwnas import resources
from hwnas.errors import InputError


def test_wheel_checkout_and_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "hwnas")
    beside, packed = tmp_path / "devices", tmp_path / "hwnas" / "_resources" / "devices"
    beside.mkdir()
    with pytest.raises(InputError, match="no folder 'devices'"):
        resources.resource_folder("devices")
    (tmp_path / "pyproject.toml").touch()
    assert resources.resource_folder("devices") == beside
    packed.mkdir(parents=True)
    assert resources.resource_folder("devices") == packed
