"""Imports go down the floors of the house only, and what is foreign comes in by one door."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sk_hvae

PACKAGE = Path(sk_hvae.__file__).parent
FILES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))

# From the ground up; see the drawing in docs/contributing.rst. A file imports from its own folder
# and from lower floors.
FLOORS = (
    {"exceptions", "_extras"},
    {"nn", "_sklearn"},
    {"_data", "_clustering"},
    {"_input"},
    {"_fit"},
    {"_files"},
    {"_estimators"},
    {"metrics"},
    {"plotting"},
    {"_rates"},
    {"__init__"},
)
FLOOR = {folder: number for number, floor in enumerate(FLOORS) for folder in floor}


def imports(file):
    """Dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(file):
    return {name.split(".")[0] for name in imports(file)}


def folder(file):
    return file.parts[0] if len(file.parts) > 1 else file.stem


def imported_folders(file):
    """Folders of the package that a file imports from."""
    inner = {name.split(".")[1] for name in imports(file) if name.startswith("sk_hvae.")}
    return {name if name in FLOOR else "__init__" for name in inner}


def importers_of(name):
    """Files that import a package."""
    return [str(file) for file in FILES if name in roots(file)]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_imports_from_lower_floors_only(file):
    own = folder(file)
    assert own in FLOOR, f"give {own} a floor in this test"
    for other in imported_folders(file) - {own}:
        assert FLOOR[other] < FLOOR[own], f"{file} imports {other}"


def test_files_do_not_import_each_other_in_circles():
    names = {".".join(("sk_hvae", *file.with_suffix("").parts)): file for file in FILES}
    uses = {
        name: {other for used in imports(file) for other in names if used.startswith(f"{other}.")}
        for name, file in names.items()
    }
    assert len([*TopologicalSorter(uses).static_order()]) == len(FILES)


@pytest.mark.parametrize("file", [f for f in FILES if folder(f) == "nn"], ids=str)
def test_the_torch_half_knows_torch_only(file):
    assert not roots(file) & {"sklearn", "skorch", "numpy", "scipy", "joblib", "pandas"}


def test_skorch_stays_in_the_loop():
    loop = ("assemble", "callbacks", "distributed", "loop")
    assert importers_of("skorch") == [f"_fit/{name}.py" for name in loop]


def test_privates_of_scikit_learn_come_in_by_one_door():
    def private(name):
        return name.startswith("sklearn.") and any(p.startswith("_") for p in name.split("."))

    assert [str(f) for f in FILES if any(map(private, imports(f)))] == ["_sklearn/privates.py"]
