"""Tasks for the contract of executors, which workers find by the name of this file."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hwnas.errors import DivergedError
from hwnas.executors.task import JSON, Common


def total(common: Common, task: JSON) -> JSON:
    """The sum of the shared numbers, and whatever the task asks for besides."""
    if "pid" in task:  # a named pipe, which whoever waits for it gets the process from
        Path(task["pid"]).write_text(str(os.getpid()))
    if "wait" in task:  # a named pipe that nobody may ever write to
        Path(task["wait"]).read_text()
    if "die once" in task:
        marker = Path(task["die once"])
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if "diverges" in task:
        raise DivergedError("the loss is not a number", hint="a smaller --lr")
    if "defect" in task:
        raise ZeroDivisionError("1 / 0")
    return {"sum": int(common.arrays["numbers"].sum()) + task["add"], "settings": common.settings, "third": 1 / 3}
