"""`hwnas doctor`."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from hwnas.cli import console, options


@console.verb
def doctor(json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """Tell versions, runtimes and devices, and what stands in the way."""
    from hwnas.backends import npm
    from hwnas.devices.device import list_devices
    from hwnas.devices.host import host_facts
    from hwnas.devices.link import condition_of

    facts: dict[str, Any] = host_facts()
    facts["packages"] |= npm.packages()
    facts["devices"] = {device.id: str(condition_of(device).folder) for device in list_devices()}
    facts["problems"] = _problems()
    if json_:
        console.print_json(facts)
        return
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts.items():
        if name == "problems":
            continue
        for index, line in enumerate(_lines(value)):
            table.add_row(Text(name, "bold") if index == 0 else "", line)
    screen = console.out()
    screen.print(table)
    for problem in facts["problems"]:
        console.write(screen, f"[yellow]problem:[/] {escape(problem)}")
    if not facts["problems"]:
        screen.print("no problems found")
    screen.print("\nNext: hwnas search --budget-ms 50% --dry-run")


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name} {entry}" for name, entry in value.items()] or ["none"]
    return ["unknown" if value is None else str(value)]


def _problems() -> list[str]:
    from hwnas.devices.runner import package_version

    found = []
    owners = importlib.metadata.packages_distributions().get("hwnas", [])
    if len(set(owners)) > 1:
        found.append(f"several packages install a module called hwnas: {', '.join(sorted(set(owners)))}")
    if package_version("torchvision") is not None and "+cpu" in (package_version("torch") or ""):
        found.append("torchvision beside a CPU build of torch fails to import; hwnas does not need it")
    return found
