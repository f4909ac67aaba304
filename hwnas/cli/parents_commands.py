"""`hwnas parents list|show|import`: pre-trained networks to start from, and their weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwnas.asked_paths import check_there
from hwnas.cli import console, options
from hwnas.cli.list_commands import print_rows
from hwnas.files import user_path

if TYPE_CHECKING:
    from hwnas.parents import Parent, ParentWeights

parents = typer.Typer(
    help="Pre-trained networks to start from.", epilog="Next: hwnas parents list", no_args_is_help=True
)

_USED: dict[str, Any] = {"interpolation": "bilinear", "crop": 1.0}
"""How hwnas makes images fit, whatever the parent's training did (`hwnas.data.image`)."""

Name = Annotated[str, typer.Argument(help="Name of a parent (see `hwnas parents list`).")]
Width = Annotated[float, typer.Option(min=0.05, max=8.0, help="Channel multiplier of the network.")]


@parents.command("list")
@console.verb
def parents_list(json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """List the parents, and whether their weights are on this machine."""
    from hwnas.parents import PARENTS

    rows = [
        {"parent": one.name, "pixels": one.resolution, "licence": one.licence, "weights": _where(one)}
        for one in PARENTS.values()
    ]
    if json_:
        console.print_json({"parents": rows})
    else:
        missing = {str(row["weights"]) for row in rows} - {"here"}
        shown = [row | {"weights": "here" if row["weights"] == "here" else "missing"} for row in rows]
        print_rows([{name: str(value) for name, value in row.items()} for row in shown])
        if missing:
            console.out().print(
                "\nWhere weights are missing; a library keeps a checkpoint there once it has loaded it:"
            )
        for command in sorted(missing, key=lambda one: not one.startswith("pip")):
            console.out().print(f"  {command}")
        console.out().print("\nNext: hwnas parents show efficientnet-lite0")


@parents.command("show")
@console.verb
def parents_show(name: Name, width: Width = 1.0, json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """Show a parent: how large it is, how it reads images, and where its weights come from."""
    from hwnas.arch import costs
    from hwnas.parents import find_parent, weights_of

    parent = find_parent(name)
    spent = costs(parent.network(width=width).graph)
    seen = parent.preprocessing
    facts: dict[str, Any] = {
        "parent": parent.name,
        "pixels": parent.resolution,
        "macs": spent.macs,
        "params": spent.params,
        "classes": parent.classes,
        "mean": list(seen.mean),
        "std": list(seen.std),
        "interpolation": seen.interpolation,
        "crop": seen.crop,
        "used": _USED,
        "licence": parent.licence,
        "source": parent.source,
        "checkpoints": list(parent.libraries),
        "weights": _where(parent, width),
    }
    if facts["weights"] == "here":
        facts |= _origin(weights_of(parent, width))
    if json_:
        console.print_json(facts)
        return
    shown = facts | {"macs": f"{spent.macs / 1e6:.1f} M", "params": f"{spent.params / 1e6:.2f} M"}
    shown |= {key: " ".join(f"{value:.4g}" for value in facts[key]) for key in ("mean", "std")}
    shown["checkpoints"] = ", ".join(facts["checkpoints"])
    del shown["interpolation"], shown["crop"], shown["used"]
    shown["images"] = f"published with {_seen(seen.interpolation, seen.crop)}; hwnas uses {_seen(**_USED)}"
    print_rows([{"": key, "value": str(value)} for key, value in shown.items()], wide=True)
    if facts["weights"] != "here":
        console.out().print(f"\nNext: {facts['weights']}")
        return
    narrowed = "" if width == 1 else f" --width {float(width)!r}"
    console.out().print(f"\nNext: hwnas search --data FOLDER --budget-ms 50% --init {parent.name}{narrowed}")


@parents.command("import")
@console.verb
def parents_import(
    name: Name,
    checkpoint: Annotated[Path, typer.Argument(help="A .pth, .pt or .safetensors file; no code in it is run.")],
    width: Width = 1.0,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Keep the weights of a checkpoint as those of a parent, in place of those that are kept."""
    from rich.markup import escape

    path = user_path(checkpoint)
    check_there(path, hint=f"name a checkpoint that is there; hwnas parents show {name} tells which libraries have one")
    from hwnas.parents import find_parent, import_weights
    from hwnas.parents.parent_weights import kept_at

    found = import_weights(path, find_parent(name), width)
    place = kept_at(found.parent, width)
    if json_:
        console.print_json({"parent": name, "width": width, "path": str(place)} | _origin(found))
        return
    console.out().print(f"{name}: {len(found.tensors)} tensors, {found.classes} classes, SHA-256 {found.sha256}")
    console.out().print(f"kept in {escape(str(place))}")
    console.out().print(f"\nNext: hwnas parents show {name}")


def _seen(interpolation: str, crop: float) -> str:
    """How images are made to fit, in words."""
    return f"{interpolation} resizing of the centre square{'' if crop == 1 else f', {crop:.1%} of the shorter side'}"


def _origin(found: ParentWeights) -> dict[str, Any]:
    return {"classes": found.classes, "from": found.source, "sha256": found.sha256}


def _where(parent: Parent, width: float = 1.0) -> str:
    """`here`, or the next step to get the weights."""
    from hwnas.parents import how_to_get, is_here

    return "here" if is_here(parent, width) else how_to_get(parent, width)
