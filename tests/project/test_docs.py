"""The examples in the documentation run."""

import doctest
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

mpl.use("agg")

DOCS = Path(__file__).parents[2] / "docs"
GENERATED = {"_build", "_templates", "auto_examples", "generated"}
# Pages about libraries that hold back the versions of others, and so have an environment of their
# own in which they run.
APART = ".. run by .ci/distributions\n"
PAGES = sorted(
    page for page in DOCS.rglob("*.rst") if not GENERATED & set(page.relative_to(DOCS).parts)
)


@pytest.mark.slow
@pytest.mark.usefixtures("shared_fits")
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if APART not in page.read_text()],
    ids=lambda page: str(page.relative_to(DOCS)),
)
def test_examples_of_a_page_run(page):
    result = doctest.testfile(str(page), module_relative=False)
    plt.close("all")
    assert result.failed == 0


def test_no_page_is_left_out():
    assert len(PAGES) >= 16
    assert {page.stem for page in PAGES} >= {"quickstart", "choosing_rates", "contributing", "v0.1"}


def test_pages_that_run_elsewhere_are_few():
    assert {page.stem for page in PAGES if APART in page.read_text()} == {"anndata", "mlflow"}


def test_the_guide_for_contributors_has_examples():
    text = next(page for page in PAGES if page.stem == "contributing").read_text()
    assert len(doctest.DocTestParser().get_examples(text)) >= 10
