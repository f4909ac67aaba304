"""`env.json`: the machine that a run searched and trained on."""

from __future__ import annotations

from pathlib import Path

from hwnas.devices.host import host_facts
from hwnas.files import write_json
from hwnas.run.plan import Plan


def write_environment(plan: Plan, path: Path) -> None:
    """Write the facts about this machine, with the accelerator and the threads of the run."""
    own = {"accelerator": str(plan.accelerator), "threads": plan.config.compute.threads}
    write_json(path, host_facts() | own)
