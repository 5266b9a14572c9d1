# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests the architecture: modules import only from lower layers."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from benchmarks.service import PROJECT

# These are the layers, from top to bottom. Entries in one line do not import each other.
LAYERS = (
    {"wsgi", "app.__main__"},
    {"app.blueprints", "app.cli"},
    {"app.cluster"},
    {"app.runtime"},
    {"app.jobs"},
    {"app.tasks"},
    {"app.workers"},
    {"app.queueing"},
    {"app.adding"},
    {"app.lending"},
    {"app.models"},
    {"app.hub"},
    {"app.engines"},
    {"app.video"},
    {"app.decoding"},
    {"app.library"},
    {"app.pictures"},
    {"app.rendering"},
    {"app.remote", "app.server"},
    {"app.host"},
    {"app.errors"},
    {"config"},
)
# Rooms are all entries except the two entry points. Modules of one room may import each other, but
# not in a circle.
ROOMS = tuple(name for line in LAYERS for name in line if name not in ("wsgi", "app.__main__"))
#: modules in app/ itself, which belong to none of its packages
LOOSE = {"app", "app.__main__", "app.runtime", "app.errors"}
ENGINES = ("torch", "transformers", "open_clip", "openvino")


@cache
def modules() -> dict[str, ast.Module]:
    files = [PROJECT / "wsgi.py", *PROJECT.glob("app/**/*.py"), *PROJECT.glob("config/*.py")]
    return {name_of(file): ast.parse(file.read_text()) for file in files}


def name_of(file: Path) -> str:
    parts = file.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, known: set[str]) -> set[str]:
    """Return the names of our modules that a syntax tree imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= inner & known or {node.module}
    return names & known


def unit(module: str) -> str:
    """Return the entry of LAYERS that a module belongs to."""
    return next((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), module)


def layer(module: str) -> int:
    if module == "app":  # it is empty
        return len(LAYERS)
    found = [i for i, names in enumerate(LAYERS) if unit(module) in names]
    assert found, f"{module} has no place: add it to this test and to docs/architecture.md"
    return found[0]


def test_imports_go_down_only() -> None:
    trees = modules()
    wrong = [
        f"{module} imports {target}"
        for module, tree in trees.items()
        for target in imported(tree, set(trees))
        if unit(module) != unit(target) and layer(target) <= layer(module)
    ]
    assert not wrong


@pytest.mark.parametrize("package", ["benchmarks", "tests", "training"])
def test_the_service_does_not_need_what_surrounds_it(package: str) -> None:
    for module, tree in modules().items():
        for node in ast.walk(tree):
            source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert package not in {name.split(".")[0] for name in [*names, source]}, module


def test_there_is_no_circle() -> None:
    trees = modules()
    graph = {module: imported(tree, set(trees)) - {module} for module, tree in trees.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError if there is one


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_are_imported_inside_functions_of_models(engine: str) -> None:
    for module, tree in modules().items():
        at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in at_top:
            names = [alias.name for alias in node.names]
            source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert engine not in {name.split(".")[0] for name in [*names, source]}, module


def test_every_module_of_the_service_has_a_room() -> None:
    assert {name for name in modules() if name.startswith("app") and name.count(".") < 2} - {
        name for name in ROOMS if (PROJECT / name.replace(".", "/")).is_dir()
    } <= LOOSE


def test_only_blueprints_know_flask() -> None:
    for module, tree in modules().items():
        uses = any(
            isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flask"
            for node in ast.walk(tree)
        )
        assert not uses or module.startswith("app.blueprints."), module


def test_files_fit_in_the_head() -> None:
    long = {
        str(file.relative_to(PROJECT)): lines
        for folder in ("app", "config", "benchmarks", "tests", "training")
        for file in (PROJECT / folder).rglob("*.py")
        if (lines := len(file.read_text().splitlines())) > 400
    }
    assert not long
