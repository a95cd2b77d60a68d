"""Check that every link within the built site leads to a page, and to a place, that there is.

``python docs/check_anchors.py docs/_build/html`` lists the links that lead nowhere, and then fails.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the places on it that a link can lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.add(found["href"])


def broken_links(site):
    """Return the links of a site that lead nowhere, as text: the page and the link."""
    site = Path(site).resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    return [
        f"{path.relative_to(site)}: {link}"
        for path, page in sorted(pages.items())
        for link in sorted(page.links)
        if not _leads_somewhere(path, link, pages)
    ]


def _leads_somewhere(path, link, pages):
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True  # on another site
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target not in pages:
        return target.is_file() and not parts.fragment
    # An empty fragment is the top of the page.
    return not parts.fragment or unquote(parts.fragment) in pages[target].places


if __name__ == "__main__":
    broken = broken_links(sys.argv[1])
    print(*broken, sep="\n", end="\n" if broken else "")  # noqa: T201 the result of this program
    sys.exit(bool(broken))
