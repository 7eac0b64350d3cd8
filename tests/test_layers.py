"""Imports at the top of a file go down the layers of the project only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parent.parent / "flame_remote"

# From the bottom. A name is a module or a whole sub-package.
LAYERS: Final = [
    [
        "exceptions",
        "_spec",
        "_refs",
        "_ids",
        "_deadline",
        "_outcome",
        "_exit",
        "_proto",
        "_facts",
        "_foreign_names",
        "_sizes",
        "_environment",
    ],
    [
        "engine",
        "_wire",
        "_options",
        "_option_checks",
        "_retry",
        "_config",
        "_signature",
        "_current",
        "_proxy",
        "_given_refs",
        "_own_frames",
        "_actor_facts",
        "_actor_names",
        "_engine_scope",
        "_timeline",
        "_creation_sites",
        "_cache",
        "_cache_folder",
        "_cache_key",
        "_future",
        "_weak",
        "_gpus",
    ],
    ["_scheduling", "_execute", "core"],
    ["_inline", "_local", "_flame"],
    ["_boot"],
    ["runner"],
    ["_api", "_as_completed", "_session", "_registry", "_knowing", "_scope", "_replay", "state"],
    [
        "_remote",
        "_decorator",
        "_stream",
        "_near_end",
        "_streamed_calls",
        "_map",
        "_mapped_calls",
        "_actor",
        "_handle",
        "_named_actors",
        "_handle_terms",
        "_replicas",
        "_far_ends",
        "_pending_calls",
        "_typed_actor",
        "_actor_pool",
        "_queue",
        "_permits",
        "_sync",
        "_executor",
        "_call_future",
        "_initializer",
        "_progress",
        "_shared_arguments",
        "_jobs",
        "_pool_results",
        "_cached_calls",
    ],
    ["__init__", "testing", "_server", "_dashboard", "joblib", "multiprocessing", "compat"],
    ["_cli", "__main__"],
]
LAYER_OF: Final = {name: number for number, names in enumerate(LAYERS) for name in names}
ENGINES: Final = {"_inline", "_local", "_flame"}  # strangers to each other
FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

FILES: Final = sorted(file for file in PACKAGE.rglob("*.py") if "_pb2" not in file.name)


def part_of(file: Path) -> str:
    """Return the module or sub-package of the package that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_at_the_top(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run when the file is imported, those in `if` and `try` too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif not (is_for_type_checkers(child) or isinstance(child, FUNCTIONS)):
            yield from imports_at_the_top(child)


def parts_imported_by(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and part for each import of the package at the top of a file."""
    for node in imports_at_the_top(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("flame_remote."):
                    yield node.lineno, alias.name.split(".")[1]
        elif node.level:
            yield node.lineno, "." * node.level + (node.module or "")
        elif node.module == "flame_remote":
            for alias in node.names:
                yield node.lineno, alias.name if alias.name in LAYER_OF else "__init__"
        elif node.module is not None and node.module.startswith("flame_remote."):
            yield node.lineno, node.module.split(".")[1]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_at_the_top_go_down(file: Path) -> None:
    part = part_of(file)
    assert part in LAYER_OF, f"add {part} to the table"
    wrong = []
    for line, imported in parts_imported_by(file):
        if imported.startswith(".") or imported == part:
            continue
        if LAYER_OF[imported] > LAYER_OF[part]:
            wrong.append(f"line {line}: {imported} is above {part}")
        elif {imported, part} <= ENGINES:
            wrong.append(f"line {line}: {imported} and {part} are both engines")
    assert wrong == []


def test_imports_inside_a_sub_package_are_relative_and_others_absolute() -> None:
    wrong = []
    for file in FILES:
        depth = len(file.relative_to(PACKAGE).parts) - 1
        for line, imported in parts_imported_by(file):
            leaves = len(imported) - len(imported.lstrip(".")) > depth
            if leaves or (depth and imported == part_of(file)):
                wrong.append(f"{file.relative_to(PACKAGE)}:{line}")
    assert wrong == []


def test_parts_of_one_layer_import_each_other_in_one_direction() -> None:
    needs: dict[str, set[str]] = {}
    for file in FILES:
        parts = {imported for _, imported in parts_imported_by(file) if imported in LAYER_OF}
        needs.setdefault(part_of(file), set()).update(parts - {part_of(file)})
    done: list[str] = []
    while len(done) < len(needs):
        ready = [p for p in needs if p not in done and needs[p] <= {*done}]
        assert ready, f"these import each other in a circle: {sorted(needs.keys() - done)}"
        done += ready


def test_the_reader_sees_every_import_that_runs(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(
        "import flame_remote._api\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from flame_remote._cli import x\n"
        "try:\n    from flame_remote import _boot, get\nexcept ImportError:\n    pass\n"
        "class C:\n    from flame_remote.runner.service import Service\n"
        "def f():\n    import flame_remote._local\n"
    )
    assert [part for _, part in parts_imported_by(file)] == ["_api", "_boot", "__init__", "runner"]
