"""Private constants of a module are used in it. vulture finds other dead names, but skips these."""

import ast
from pathlib import Path

import pytest

import sk_hvae

PACKAGE = Path(sk_hvae.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def assigned(tree):
    """Private names to which a module assigns, outside of functions and classes."""
    names = set()
    for statement in tree.body:
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        for target in filter(None, targets):
            names |= {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def read(tree):
    """Names that are read anywhere in a module."""
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def unused(source):
    tree = ast.parse(source)
    return assigned(tree) - read(tree)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_private_constants_are_used(file):
    assert unused(file.read_text()) == set()


def test_unused_constants_are_found():
    source = "_A, _B = 1, 2\n_C: int = 3\n_D = _A\nE = 5\ndef f():\n    return _D\n"
    assert unused(source) == {"_B", "_C"}
