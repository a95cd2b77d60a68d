"""The examples in the documentation run."""

import doctest
from pathlib import Path

import pytest

PAGES = sorted(Path(__file__).parents[1].joinpath("docs").rglob("*.rst"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_a_page_run(page):
    result = doctest.testfile(str(page), module_relative=False)
    assert result.failed == 0


def test_the_guide_for_contributors_has_examples():
    text = next(page for page in PAGES if page.stem == "contributing").read_text()
    assert len(doctest.DocTestParser().get_examples(text)) >= 10
