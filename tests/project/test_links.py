"""The check of the site's links finds those that lead nowhere, and no others."""

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "docs" / "links.py"


@pytest.fixture(scope="module")
def broken_links():
    spec = importlib.util.spec_from_file_location("links", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.broken_links


@pytest.fixture
def site(tmp_path):
    (tmp_path / "guide").mkdir()
    (tmp_path / "table.csv").write_text("1")
    (tmp_path / "old.html").write_text('<a href="nowhere.html">left over from another build</a>')
    (tmp_path / "guide" / "page.html").write_text('<h1 id="z_1"></h1><i id="caf&eacute;"></i>')
    return tmp_path


def _links_of(site, *links):
    text = "".join(f'<a href="{link}">there</a>' for link in links)
    (site / "index.html").write_text(f'<h1 id="top">{text}</h1>')
    return ["index.html", "guide/page.html"]


def test_links_that_lead_somewhere(broken_links, site):
    links = (
        "#",
        "#top",
        "guide/page.html",
        "guide/page.html#z_1",
        "guide/../guide/page.html#caf%C3%A9",
        "guide/page.html#:~:text=caf",
        "guide/page.html#z_1:~:text=caf",
        "table.csv",
        "https://example.org/page.html#z_1",
        "mailto:somebody@example.org",
    )
    assert broken_links(site, _links_of(site, *links)) == []


@pytest.mark.parametrize(
    "link", ["#z_1", "guide/page.html#z_2", "page.html", "guide", "old.html", "table.tsv"]
)
def test_links_that_lead_nowhere(broken_links, site, link):
    assert broken_links(site, _links_of(site, "#top", link)) == [("index.html", link)]


def test_links_start_from_their_own_page(broken_links, site):
    names = _links_of(site)
    (site / "guide" / "page.html").write_text(
        '<a href="../index.html#top"></a><a href="index.html">'
    )
    assert broken_links(site, names) == [("guide/page.html", "index.html")]
