"""`hwnas` on the made-up machine as torchrun starts it:

    python -m torch.distributed.run --standalone --nproc-per-node 2 torchrun_fakes.py FOLDER NAME N search ...

Ranks note their process ids in FOLDER. The second rank is killed right before the first one puts the n-th file called
NAME in place.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from run_fakes import install, on_replace

from hwnas.cli import main


def kill_the_second(folder: Path) -> None:
    (folder / "killed").touch()
    os.kill(int((folder / "1").read_text()), signal.SIGKILL)


if __name__ == "__main__":
    folder, name, nth, *arguments = sys.argv[1:]
    (Path(folder) / os.environ["RANK"]).write_text(str(os.getpid()))
    install(setattr)
    act = on_replace(lambda: kill_the_second(Path(folder)), "before", name, int(nth))
    Path.replace = act  # type: ignore[method-assign]
    sys.argv = ["hwnas", *arguments]
    main()
