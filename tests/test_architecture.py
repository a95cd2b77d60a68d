"""Imports run one way, and stay in their rooms."""

import ast
from pathlib import Path

import pytest

import sk_hvae

PACKAGE = Path(sk_hvae.__file__).parent
FILES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))

# A module imports only from lower floors of the package; torch half, then helpers, then
# estimators. `exceptions` may be imported from everywhere.
FLOORS = {
    "exceptions": -1,
    "nn": 0,
    "_cells": -1,
    "_mapped": -1,
    "_rows": 0,
    "_state": 0,
    "_threads": 0,
    "_tables": 0,
    "_checked_rows": 1,
    "_checkpoint": 1,
    "_faults": 1,
    "_passes": 1,
    "_scales": 1,
    "_schedule": 1,
    "_callbacks": 1,
    "_calibration": 1,
    "_cluster_search": 2,
    "_cluster_tree": 1,
    "_clusterer": 7,
    "_data": 1,
    "_outliers": 1,
    "_off_target": 1,
    "_lost_clusters": 1,
    "_inner_fits": 0,
    "_repeats": 1,
    "_description": 2,
    "_documentation": 0,
    "_graph_clusters": 1,
    "_kept_rows": 2,
    "_history": 1,
    "_export": 4,
    "_gradients": 1,
    "_columns": 1,
    "_measurement": 2,
    "_modules": 3,
    "_persistence": 3,
    "_plane_control": 2,
    "_rate_control": 1,
    "_training": 2,
    "_typing": 1,
    "_validation": 1,
    "_batches": 1,
    "_starting": 3,
    "_base": 4,
    "_latents": 5,
    "_transformer": 6,
    "_multirate": 7,
    "_rate_grid": 2,
    "_rate_map": 8,
    "_shared_fits": 8,
    "_search": 9,
    "_search_costs": 3,
    "metrics": 6,
    "plotting": 7,
    "_map_metrics": 7,
    "_recommendation": 9,
    "__init__": 10,
}


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


def room(file):
    return file.parts[0] if len(file.parts) > 1 else file.stem


def imported_rooms(file):
    """Rooms of the package that a file imports from."""
    inner = {name.split(".")[1] for name in imports(file) if name.startswith("sk_hvae.")}
    return {name if name in FLOORS else "__init__" for name in inner}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_module_imports_from_lower_floors_only(file):
    own = room(file)
    assert own in FLOORS, f"give {file} a floor in this test"
    for other in imported_rooms(file) - {own}:
        assert FLOORS[other] < FLOORS[own], f"{file} imports {other}"


@pytest.mark.parametrize("file", [f for f in FILES if room(f) == "nn"], ids=str)
def test_the_torch_half_knows_torch_only(file):
    assert not roots(file) & {"sklearn", "skorch", "numpy", "scipy", "joblib", "pandas"}


def test_only_training_imports_skorch():
    assert [str(f) for f in FILES if "skorch" in roots(f)] == ["_training.py"]


def test_only_validation_imports_privates_of_scikit_learn():
    def private(name):
        return name.startswith("sklearn.") and any(p.startswith("_") for p in name.split("."))

    assert [str(f) for f in FILES if any(map(private, imports(f)))] == ["_validation.py"]
