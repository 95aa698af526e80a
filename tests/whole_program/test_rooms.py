# Copyright 2026 The SSD-ResNet34 Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which file may import which: only rooms above its own, so that none form a circle."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
# README's table of rooms, from the top; folders of tools/ count as tools.
ROOMS = (
    "console anchors resnet dataset devices dataset_parser ssd_architecture "
    "coco_metric ssd_model trainer evaluation ssd_main tools benchmarks"
).split()


def imported_modules(path):
    """Dotted names of all modules that a file imports, with those of `from` imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files_of_the_rooms():
    for room in ROOMS:
        folder = ROOT / room
        yield from (
            sorted(folder.rglob("*.py")) if folder.is_dir() else [ROOT / f"{room}.py"]
        )


def room_of(module):
    """The room of a dotted name; None for a module from elsewhere."""
    first = module.split(".")[0]
    if (ROOT / "tools" / first).is_dir() or (ROOT / "tools" / f"{first}.py").exists():
        return "tools"
    return first if first in ROOMS else None


def test_files_import_from_rooms_above_their_own_and_never_in_a_circle():
    graph = {}
    for path in files_of_the_rooms():
        own = path.relative_to(ROOT).parts[0].replace(".py", "")
        modules = set(imported_modules(path))
        for room in filter(None, map(room_of, modules)):
            assert ROOMS.index(room) <= ROOMS.index(own), f"{path} imports from {room}"
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        graph[name.replace("tools.", "")] = modules
    while True:
        leaves = {name for name, targets in graph.items() if not targets & set(graph)}
        if not leaves:
            break
        graph = {n: targets for n, targets in graph.items() if n not in leaves}
    assert not graph, f"these form a circle: {sorted(graph)}"


def test_every_folder_and_file_of_code_is_a_room():
    names = {path.stem for path in ROOT.glob("*.py")}
    names |= {path.parent.name for path in ROOT.glob("*/*.py")}
    assert names - {".venv", "tests"} == set(ROOMS)
