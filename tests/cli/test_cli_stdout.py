"""Stdout holds results alone, whatever native code prints."""

from __future__ import annotations

import subprocess
import sys


def test_what_native_code_prints_goes_to_stderr() -> None:
    code = (
        "import os\n"
        "from hwnas.cli import console\n"
        "print('before')\n"
        "console.keep_stdout_for_results()\n"
        "os.write(1, b'noise\\n')\n"
        "console.print_json({'é': 1})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'before\n{\n  "\\u00e9": 1\n}\n'
    assert done.stderr == "noise\n"
