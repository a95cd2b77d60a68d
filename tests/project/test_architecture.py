"""Imports go down the floors of the house only, and what is foreign comes in by one door.

Classes are abstract or final, and nobody reaches into what is private to another object.
"""

import ast
import importlib
import inspect
from functools import cached_property
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
    {"_input", "_codec"},
    {"_fit"},
    {"_files", "_explorer"},
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
    loop = ("assemble", "callbacks", "loop", "shared_net")
    assert importers_of("skorch") == [f"_fit/{name}.py" for name in loop]


def test_privates_of_scikit_learn_come_in_by_one_door():
    def private(name):
        return name.startswith("sklearn.") and any(p.startswith("_") for p in name.split("."))

    assert [str(f) for f in FILES if any(map(private, imports(f)))] == ["_sklearn/privates.py"]


# Abstract or final: a method is written in one place, and read there.

FOLDERS_OF_FINAL_METHODS = ("_codec", "_data", "_estimators", "_files", "_fit")
# Written anew for each class, by hand or by dataclasses and Python.
OF_EACH_CLASS = {
    *("__init__", "__new__", "__post_init__", "__eq__", "__repr__", "__hash__"),
    *("__annotate__", "__annotate_func__", "__delattr__", "__setattr__"),
}
# What other libraries want to be overridden.
HOOKS = {
    "sklearn": {
        "__getstate__",
        "__setstate__",
        "__sklearn_tags__",
        "_doc_link_template",
        "_html_repr",
        "_validate_params",
    },
    "skorch": {
        "_default_callbacks",
        "fit_loop",
        "initialize_criterion",
        "initialize_history",
        "notify",
        "on_epoch_begin",
        "on_epoch_end",
        "on_train_end",
        "partial_fit",
        "run_single_epoch",
        "train_step",
        "train_step_single",
        "validation_step",
    },
    # torch itself puts a ``step`` into each class of optimisers.
    "torch": {
        "__getitem__",
        "__torch_function__",
        "add_param_group",
        "forward",
        "step",
        "zero_grad",
    },
}


def methods(cls):
    """Methods and properties that a class itself defines, by name."""
    kinds = (classmethod, staticmethod, property, cached_property)
    return {
        name: value
        for name, value in vars(cls).items()
        if (inspect.isfunction(value) or isinstance(value, kinds)) and name not in OF_EACH_CLASS
    }


def overridden(cls):
    """Yield what a class, or its choice of bases, overrides: name, base and overriding class."""
    for number, base in enumerate(cls.__mro__):
        for name in methods(base):
            for heir in cls.__mro__[:number]:
                is_new = heir is cls or not issubclass(heir, base)
                if is_new and heir.__module__.startswith("sk_hvae.") and name in methods(heir):
                    yield name, base, heir


def classes():
    """Classes of the package that are to be abstract or final."""
    for file in FILES:
        if folder(file) in FOLDERS_OF_FINAL_METHODS:
            name = ".".join(("sk_hvae", *file.with_suffix("").parts))
            for cls in vars(importlib.import_module(name)).values():
                if inspect.isclass(cls) and cls.__module__ == name:
                    yield cls


every_class = pytest.mark.parametrize("cls", [*classes()], ids=lambda cls: cls.__qualname__)


@every_class
def test_no_class_overrides_a_concrete_method_of_ours(cls):
    found = [
        f"{heir.__name__}.{name} overrides {base.__name__}.{name}"
        for name, base, heir in overridden(cls)
        if base.__module__.startswith("sk_hvae.")
        and not getattr(methods(base)[name], "__isabstractmethod__", False)
    ]
    assert not found, "make these abstract in the base, or final: " + "; ".join(sorted(found))


@every_class
def test_of_other_libraries_only_hooks_are_overridden(cls):
    found = []
    for name, base, heir in overridden(cls):
        library = base.__module__.split(".")[0]
        if library in HOOKS and name not in HOOKS[library]:
            found.append(f"{heir.__name__}.{name} overrides that of {library}'s {base.__name__}")
    assert not found, "; ".join(sorted(found))


# What is private to an object is for its own class only.

OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
# Of Python and scikit-learn, which have no public names for these; where they may be used.
FOREIGN_PRIVATES = {
    ("exceptions", "_getframe"),
    ("_estimators", "_parameter_constraints"),
    ("_sklearn", "_fit"),
    ("_sklearn", "_init_callback_context"),
    ("_sklearn", "_validate_params"),
}


def is_private(name):
    return name.startswith("_") and not name.endswith("__") and name not in OF_NAMED_TUPLES


def is_own(node, own_classes):
    """Tell whether an expression is the object, its class or a class of the file, or super()."""
    if isinstance(node, ast.Name):
        return node.id in {"self", "cls", *own_classes}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        is_type = node.func.id == "type" and len(node.args) == 1 and is_own(node.args[0], ())
        return node.func.id == "super" or is_type
    return False


def uses_of_privates(file):
    """Yield line, expression and name where a file reads or writes privates of another object."""
    tree = ast.parse((PACKAGE / file).read_text())
    own_classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        holder, name = None, ""
        if isinstance(node, ast.Attribute):
            holder, name = node.value, node.attr
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            # getattr(other, "_name") and the like.
            function, second = node.func, node.args[1]
            asks = isinstance(function, ast.Name) and function.id.endswith("attr")
            if asks and isinstance(second, ast.Constant):
                holder, name = node.args[0], str(second.value)
        if is_private(name) and not is_own(holder, own_classes):
            yield node.lineno, ast.unparse(holder), name


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_uses_no_privates_of_other_objects(file):
    found = [
        f"line {line}: {holder}.{name}"
        for line, holder, name in uses_of_privates(file)
        if (folder(file), name) not in FOREIGN_PRIVATES
    ]
    assert not found, f"{file} uses what is private to others, in " + "; ".join(found)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_imports_no_private_names_of_ours(file):
    private = [
        name
        for name in imports(file)
        if name.startswith("sk_hvae.") and is_private(name.rsplit(".", 1)[1])
    ]
    modules = {".".join(("sk_hvae", *f.with_suffix("").parts)) for f in FILES}
    found = [name for name in private if name not in modules]
    assert not found, f"{file} imports {', '.join(found)}: make them public in their file"


def test_the_list_of_foreign_privates_is_no_longer_than_it_has_to_be():
    used = {(folder(file), name) for file in FILES for _, _, name in uses_of_privates(file)}
    assert used >= FOREIGN_PRIVATES, f"not used: {FOREIGN_PRIVATES - used}"
