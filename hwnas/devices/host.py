"""What machine this is: the CPU's name as a slug, and the facts that belong beside a measurement."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_PACKAGES = ("hwnas", "numpy", "onnx", "onnxruntime", "ai-edge-litert", "torch")
_NOISE = re.compile(r"\((?:r|tm)\)|@.*|\b(?:cpu|processor|\w+-core)\b", re.IGNORECASE)


def cpu_fields(cpuinfo: str) -> dict[str, str]:
    """Fields of the first processor, and of the board where it is listed (ARM), of the text of `/proc/cpuinfo`."""
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, colon, value = line.partition(":")
        if colon and value.strip():
            fields.setdefault(key.strip(), value.strip())
    return fields


def cpu_model() -> str:
    """Name of this machine's CPU, as its maker or its operating system writes it."""
    return _name(_this_cpu())


def cpu_slug(fields: dict[str, str]) -> str:
    """Folder name of a CPU, such as 'amd-epyc-7763' or, where the name has no number, 'amd-epyc-f25m1'.

    Args:
        fields: as `cpu_fields` gives them: 'model name', 'cpu family' and 'model' on x86; 'Model' or 'Hardware',
            'CPU implementer' and 'CPU part' on ARM.
    """
    slug = _slug(_NOISE.sub(" ", _name(fields)))
    if "CPU part" in fields:
        return f"{slug}-{fields.get('CPU implementer', '0x0')}-{fields['CPU part']}"
    if re.search(r"\d", slug) or "cpu family" not in fields:
        return slug
    return f"{slug}-f{fields['cpu family']}m{fields.get('model', '0')}"


def host_slug() -> str:
    """`cpu_slug` of this machine."""
    return cpu_slug(_this_cpu())


def package_version(name: str) -> str | None:
    """Installed version of a package, without importing it; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def host_facts() -> dict[str, Any]:
    """What belongs beside every measurement made here, ready for JSON.

    Keys: 'cpu', 'logical_cores', 'governor' (None where the system does not say), 'platform', 'python', and
    'packages' (name to version, installed ones only).
    """
    versions = {name: package_version(name) for name in _PACKAGES}
    return {
        "cpu": cpu_model(),
        "logical_cores": os.cpu_count(),
        "governor": _GOVERNOR.read_text().strip() if _GOVERNOR.is_file() else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name, version in versions.items() if version is not None},
    }


def _this_cpu() -> dict[str, str]:
    if CPUINFO.is_file():
        return cpu_fields(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        brand = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if brand:
            return {"model name": brand}
    return {"model name": platform.processor() or platform.machine()}


def _name(fields: dict[str, str]) -> str:
    return fields.get("model name") or fields.get("Model") or fields.get("Hardware") or platform.machine()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
