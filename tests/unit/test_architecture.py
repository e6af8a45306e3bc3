"""Rooms know only the rooms before them, as docs/architecture.md has it in words; errors say how to mend them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import polyml

ROOT = Path(polyml.__file__).parent
ORDER = [
    "errors", "settings", "versions", "progress", "interrupts", "workers", "cluster", "chem", "features", "data",
    "models.nn", "training", "models", "transfer", "row_faults", "domain", "bundle_format", "bundle", "prediction",
    "report", "audit", "tracking", "evaluation", "tuning", "explore", "design", "screening", "recipe_yaml", "sections",
    "config", "pipeline", "benchmark", "cli", "__main__",
]  # fmt: skip
# Small things that know nothing of their room and may be taken from before it.
EXCEPTIONS = {"models.limits", "models.targets", "evaluation.metrics"}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.stem != "__init__")


def room(module: str) -> str:
    return "models.nn" if module.startswith("models.nn") else module.partition(".")[0]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_only_from_rooms_before_its_own(path: Path) -> None:
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for name in imports(path):
        module = name.removeprefix("polyml.")
        if name.startswith("polyml.") and module not in EXCEPTIONS:
            assert ORDER.index(room(module)) <= ORDER.index(own), f"{own} imports {name}"
        # Each takes a second and more to import: who only predicts needs neither.
        for only, library in (("tracking", "mlflow"), ("training", "lightning")):
            assert own == only or name.partition(".")[0] != library, f"{own} imports {library}"


def test_every_room_has_a_place() -> None:
    found = {room(".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in MODULES}
    assert found == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_error_of_a_user_says_how_to_mend_it(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UserError":
            assert any(part.arg == "fix" for part in node.keywords), f"{path.name}, line {node.lineno}: no fix"
