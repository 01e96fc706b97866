"""The design's rules that a reader of imports can check: arrows point down, and heavy libraries have one user each."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the bottom up: a package or module may import itself and those before it.
LAYERS = [
    "beacon_smollm2",
    "activation_beacon",
    "beacon_cli.version",
    "beacon_cli.events",
    "beacon_cli.errors",
    "beacon_cli.quantities",
    "beacon_cli.pace",
    "beacon_cli.settings",
    "beacon_cli.durable",
    "beacon_cli.documents",
    "beacon_cli.checkpoints",
    "beacon_cli.cache",
    "beacon_cli.condensing",
    "beacon_cli.answering",
    "beacon_cli.library",
    "beacon_cli.__init__",
    "beacon_cli.spreading",
    "beacon_cli.logs",
    "beacon_cli.diagnosis",
    "beacon_cli.serving",
    "beacon_cli.training",
    "beacon_cli.evaluation",
    "beacon_cli.console",
    "beacon_cli.commands",
    "beacon_cli.app",
    "beacon_cli.__main__",
]
# A library, and the only module that may import it. Within activation_beacon, torch and transformers are at home.
SOLE_USERS = {
    "rich": {f"beacon_cli.console.{name}" for name in ("console", "places", "progress", "tables", "text")},
    "starlette": {f"beacon_cli.serving.{name}" for name in ("http", "page", "server")},
    "prompt_toolkit": {"beacon_cli.console.prompting"},
    "fsspec": {"beacon_cli.documents.remote"},
    "ray": {"beacon_cli.spreading"},
    "gguf": {"beacon_cli.checkpoints.gguf.file"},
    "bitsandbytes": {"beacon_cli.checkpoints.convert.four_bit"},
    "models": set[str](),
}
OURS = ("beacon_cli", "activation_beacon", "beacon_smollm2")


def sources() -> Iterator[tuple[str, ast.Module]]:
    for base, package in (
        (ROOT, "beacon_cli"),
        (ROOT / "models", "activation_beacon"),
        (ROOT / "models", "beacon_smollm2"),
    ):
        for path in sorted((base / package).rglob("*.py")):
            yield ".".join(path.relative_to(base).with_suffix("").parts), ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module: str) -> int:
    for index, member in enumerate(LAYERS):
        if module == member or module.startswith(f"{member}."):
            return index
    return layer("beacon_cli.__init__" if module.startswith("beacon_cli.") else f"{module}.__init__")


def test_every_module_has_a_layer() -> None:
    for module, _ in sources():
        assert any(module == member or module.startswith(f"{member}.") for member in LAYERS), module


def test_imports_point_down() -> None:
    for module, tree in sources():
        for name in imports(tree):
            if name.split(".")[0] in OURS:
                assert layer(name) <= layer(module), f"{module} imports {name}, which is above it"


def test_the_method_knows_nothing_of_the_tool() -> None:
    for module, tree in sources():
        if module.startswith("activation_beacon"):
            assert not [name for name in imports(tree) if name.startswith(("beacon_cli", "beacon_smollm2", "typer"))], (
                module
            )


@pytest.mark.parametrize("library", SOLE_USERS)
def test_a_library_has_its_one_user(library: str) -> None:
    users = {module for module, tree in sources() if any(name.split(".")[0] == library for name in imports(tree))}
    assert users <= SOLE_USERS[library]


def test_no_file_imports_itself_by_way_of_others() -> None:
    known = {module.removesuffix(".__init__"): module for module, _ in sources()}
    arrows: dict[str, set[str]] = {}
    for module, tree in sources():
        named = {name if name in known else name.rpartition(".")[0] for name in imports(tree)}
        arrows[module.removesuffix(".__init__")] = {name for name in named if name in known}
    # A file without imports among those that are left can be in no circle; when none is left, there is none.
    while leaves := {module for module, named in arrows.items() if not named & arrows.keys() - {module}}:
        arrows = {module: named for module, named in arrows.items() if module not in leaves}
    assert not arrows, sorted(arrows)
