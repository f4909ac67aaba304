"""A process that computes tasks, one after the other: what `hwnas.executors.local_executor` starts.

Its arguments are the function, as `module:name`, and the folder of what all tasks share. It reads a task a line, and
answers a line; see `hwnas.executors.task`.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from pathlib import Path

from hwnas.executors.task import Common, answer, function_at


def main(name: str, folder: Path) -> None:
    """Compute until there is nothing to read; whoever asks ends this process by going away."""
    asked: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            asked.put(line)
        os._exit(0)  # in the midst of a task, whose result nobody waits for

    threading.Thread(target=listen, daemon=True).start()
    function, common = function_at(name), Common.read(folder)
    while True:
        said = answer(function, common, asked.get())
        sys.stdout.write(said + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
