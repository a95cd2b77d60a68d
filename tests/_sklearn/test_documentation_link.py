"""The HTML representation of estimators links to their pages of the reference."""

import re
from pathlib import Path

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_hvae import (
    HierarchicalVAETransformer,
    HVAEClusterer,
    MultiRateHVAETransformer,
    RateSearchCV,
)
from sk_hvae._sklearn import documentation

SITE = "https://docs.invalid/stable/"
REFERENCE = Path(__file__).parents[2] / "docs" / "api" / "index.rst"
ESTIMATORS = {
    "HierarchicalVAETransformer": HierarchicalVAETransformer(),
    "MultiRateHVAETransformer": MultiRateHVAETransformer(),
    "HVAEClusterer": HVAEClusterer(),
    "RateSearchCV": RateSearchCV(HierarchicalVAETransformer(), {"layer_rates": [1, 2]}),
}
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)


def links(estimator):
    """Addresses in the HTML, without the place on the page, and without scikit-learn's."""
    addresses = re.findall(r'href="([^"#]*)', estimator._repr_html_())
    return {address for address in addresses if "scikit-learn.org" not in address}


def page(name):
    """The address that Sphinx gives to a class that the reference lists under ``sk_hvae``."""
    (listed,) = re.findall(
        r"currentmodule:: (.+)\n(?:(?!.. currentmodule)[^\n]*\n)*?   " + name + r"\n",
        REFERENCE.read_text(),
    )
    return f"{SITE}api/generated/{listed}.{name}.html"


@every_estimator
def test_estimators_link_to_their_pages(name, monkeypatch):
    monkeypatch.setattr(documentation, "SITE", SITE)
    assert page(name) in links(ESTIMATORS[name])


def test_estimators_in_others_are_linked(monkeypatch):
    monkeypatch.setattr(documentation, "SITE", SITE)
    expected = {page("HierarchicalVAETransformer")}
    assert links(make_pipeline(StandardScaler(), HierarchicalVAETransformer())) == expected
    assert links(ESTIMATORS["RateSearchCV"]) == expected | {page("RateSearchCV")}


@every_estimator
def test_nothing_is_linked_while_the_pages_are_not_published(name):
    assert documentation.SITE is None
    assert links(ESTIMATORS[name]) == set()


def test_classes_of_users_have_no_page_here(monkeypatch):
    class Mine(HierarchicalVAETransformer):
        """One that users derive."""

    monkeypatch.setattr(documentation, "SITE", SITE)
    assert links(Mine()) == set()
