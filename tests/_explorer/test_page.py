"""The page is one file that loads nothing, and in which no text becomes markup."""

import re

import pytest
from explorer_pages import Reader

from sk_hvae import RateExplorer
from sk_hvae._explorer.page import write_page

HOSTILE = '</script><b title="x">& bold</b><!--'


def test_content_comes_back_and_numbers_keep_all_digits():
    content = {"x": [0.1 + 0.2, 1e-300, None], "text": HOSTILE, "empty": []}
    assert Reader(write_page("t", "a", content)).content() == content


def test_what_json_has_no_numbers_for_is_null():
    content = {"x": [[float("nan"), 1.0], [float("inf"), -float("inf")]]}
    assert Reader(write_page("t", "a", content)).content() == {"x": [[None, 1], [None, None]]}


def test_no_text_becomes_markup():
    plain, hostile = (
        Reader(write_page(text, text, {text: [text]})).tags for text in ("text", HOSTILE)
    )
    assert plain == hostile


def test_nothing_is_loaded():
    page = write_page("t", "a", {})
    addresses = set(re.findall(r"\w+://[^\"' ]*", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a kind of elements
    tags = Reader(page).tags
    assert not {"link", "iframe", "object"} & {tag for tag, _ in tags}
    assert not any({"src", "href"} & attrs.keys() for _, attrs in tags)
    policy = next(attrs["content"] for _, attrs in tags if "http-equiv" in attrs)
    assert "default-src 'none'" in policy


def test_a_page_that_is_too_large():
    with pytest.raises(ValueError, match=r"6\.0 MB, and the limit is 5 MB. Pass fewer points"):
        write_page("t", "a", {"x": "y" * 6_000_000})


def test_files_and_frames(tmp_path):
    page = write_page("t", "a", {"text": HOSTILE + "é"})
    explorer = RateExplorer(page, None)
    explorer.to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes().decode() == page
    ((tag, attrs),) = Reader(explorer._repr_html_()).tags
    assert (tag, attrs["srcdoc"]) == ("iframe", page)
    assert len(repr(explorer)) < 100
