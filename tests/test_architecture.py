"""The design's rules that a reader of imports can check: arrows point down, and heavy libraries have one user each."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the bottom up; a module may import its own layer and those before it.
LAYERS = [
    {"activation_beacon", "beacon_pocket", "beacon_cli.__init__"},
    {"beacon_cli.errors", "beacon_cli.quantities", "beacon_cli.events"},
    {
        "beacon_cli.store",
        "beacon_cli.documents",
        "beacon_cli.tokenization",
        "beacon_cli.checkpoints",
        "beacon_cli.engine",
        "beacon_cli.settings",
    },
    {
        "beacon_cli.passages",
        "beacon_cli.prompts",
        "beacon_cli.condensing",
        "beacon_cli.upkeep",
        "beacon_cli.workflows",
        "beacon_cli.training",
        "beacon_cli.evaluation",
    },
    {"beacon_cli.console"},
    {"beacon_cli.commands"},
    {"beacon_cli.app", "beacon_cli.__main__"},
]
# A library, and the only module that may import it. Within activation_beacon, torch and transformers are at home.
SOLE_USERS = {"rich": {"beacon_cli.console"}, "bitsandbytes": {"beacon_cli.checkpoints.four_bit"}, "models": set[str]()}
OURS = ("beacon_cli", "activation_beacon", "beacon_pocket")


def sources() -> Iterator[tuple[str, ast.Module]]:
    for base, package in (
        (ROOT, "beacon_cli"),
        (ROOT / "models", "activation_beacon"),
        (ROOT / "models", "beacon_pocket"),
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
    for index, members in enumerate(LAYERS):
        if any(module == member or module.startswith(f"{member}.") for member in members):
            return index
    if module.rpartition(".")[0]:
        return layer(module.rpartition(".")[0] if module.rpartition(".")[0] != "beacon_cli" else "beacon_cli.__init__")
    raise AssertionError(f"{module} is in no layer")


def test_every_module_has_a_layer() -> None:
    known = set().union(*LAYERS)
    for module, _ in sources():
        assert any(module == member or module.startswith(f"{member}.") for member in known), module


def test_imports_point_down() -> None:
    for module, tree in sources():
        for name in imports(tree):
            if name.split(".")[0] in OURS:
                assert layer(name) <= layer(module), f"{module} imports {name}, which is above it"


def test_the_method_knows_nothing_of_the_tool() -> None:
    for module, tree in sources():
        if module.startswith("activation_beacon"):
            assert not [name for name in imports(tree) if name.startswith(("beacon_cli", "beacon_pocket", "typer"))], (
                module
            )


@pytest.mark.parametrize("library", SOLE_USERS)
def test_a_library_has_its_one_user(library: str) -> None:
    users = {module for module, tree in sources() if any(name.split(".")[0] == library for name in imports(tree))}
    assert users <= SOLE_USERS[library]
