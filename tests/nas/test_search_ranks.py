"""Two processes with a batch between them against one process with all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import joint_steps
import pytest
import safetensors.torch
import torch
import torch.distributed as dist
from joint_steps import found

from hwnas.train.ranks import ALONE


def test_two_ranks_compute_what_one_process_does(tmp_path: Path) -> None:
    """Gradients, α, losses and statistics of norms, after steps on weights and on α, and after steps of a training."""
    program, out = Path(joint_steps.__file__), tmp_path / "second.safetensors"
    second = subprocess.Popen([sys.executable, str(program), str(tmp_path / "store"), str(out)])
    try:
        truth = found(ALONE)
        first = found(joint_steps.join(0, tmp_path / "store"))
        assert second.wait(60) == 0
    finally:
        second.kill()
        if dist.is_initialized():
            dist.destroy_process_group()
    others = safetensors.torch.load_file(out)
    assert truth.keys() == first.keys() == others.keys()
    assert sum("gradient" in name for name in truth) > 100
    for name, value in truth.items():
        off = 1e-9
        if name.endswith("losses"):  # which are told in float32
            off = 1e-6
        elif name.startswith("training") and name.endswith("running_var"):  # the last batch has its values twice
            off = 1e-2
        for one in (first[name], others[name]):
            assert one == pytest.approx(value, rel=off, abs=off), name
    for name in joint_steps.STRATEGIES[:-1]:
        assert torch.isfinite(truth[f"{name} α 0"]).any()
