"""The guide for contributors shows the folders, files and names that there are."""

import io
import re
import tokenize
from pathlib import Path

import pytest
from test_architecture import FILES, FLOORS, PACKAGE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing.rst").read_text()
QUOTED = re.findall(r"``([^`]+)``", PAGE)


def drawn_floors():
    """Folders of the drawing, from the ground up."""
    drawing = (ROOT / "docs" / "images" / "floors.svg").read_text()
    floors = {}
    for y, name in re.findall(r'class="name" x="\d+" y="(\d+)">([^<]+)<', drawing):
        floors.setdefault(int(y), set()).add(name.removesuffix(".py"))
    return [floors[y] for y in sorted(floors, reverse=True)]


def names_in_the_code():
    """Names that the package's code has, outside of its strings and comments."""
    for file in FILES:
        for token in tokenize.generate_tokens(io.StringIO((PACKAGE / file).read_text()).readline):
            if token.type == tokenize.NAME:
                yield token.string


def test_the_drawing_has_the_floors_that_imports_keep_to():
    assert drawn_floors() == [*FLOORS]


def test_the_table_has_all_folders():
    listed = re.findall(r"^``sk_hvae/(\S*)``  ", PAGE, flags=re.MULTILINE)
    folders = {f"{file.parent.as_posix()}/" for file in FILES if len(file.parts) > 1}
    files = {file.name for file in FILES if len(file.parts) == 1}
    assert sorted(listed) == sorted(folders | files)


@pytest.mark.parametrize("path", sorted({q for q in QUOTED if re.search(r"^[\w/]+(/|\.py)$", q)}))
def test_a_path_is_there(path):
    if path != "findings/":  # is not in a source distribution
        assert any((folder / path).exists() for folder in (PACKAGE, PACKAGE.parent, ROOT))


def test_names_are_those_of_the_code():
    named = {q for q in QUOTED if q.isidentifier() and re.search(r"[A-Z]\w*[a-z]|[a-z]_[a-z]", q)}
    assert len(named) > 20
    assert named - set(names_in_the_code()) == set()
