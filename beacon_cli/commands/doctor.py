"""`beacon doctor`."""

from typing import Any

from beacon_cli.commands import options
from beacon_cli.console.console import Console
from beacon_cli.quantities import counted, format_size

_BYTES = ("total", "free", "size", "disk_free", "cuda_free", "cuda_total")


def doctor(as_json: options.Json = False) -> None:
    """Say what there is to work with, and what is wrong with it: versions, device, memory, cache, models."""
    # Imported here because it imports torch, which `--help` can do without.
    from beacon_cli.diagnosis import diagnose  # noqa: PLC0415  as above

    console, found = Console(as_json=as_json), diagnose()
    if as_json:
        console.print_json(found.facts | {"problems": found.problems})
        return
    for subject, facts in found.facts.items():
        console.print_line(f"{subject}: " + ", ".join(_shown(name, value) for name, value in facts.items()))
    for problem in found.problems:
        console.print_line(f"wrong: {' '.join(problem.split())}")
    console.print_line(counted(len(found.problems), "problem") if found.problems else "nothing is wrong")


def _shown(name: str, value: Any) -> str:
    if name == "models":
        return (
            "; ".join(f"{each['id']} ({each['state']}, {format_size(each['size'])})" for each in value) or "none here"
        )
    if isinstance(value, list):
        value = " ".join(value) or "none"
    shown = format_size(value) if name in _BYTES else "missing" if value is None else str(value)
    return f"{name.replace('_', ' ')} {' '.join(shown.split())}"
