"""Links of the built site that lead nowhere: to a page, or to a place on a page, that is not there.

Sphinx checks what it resolves itself. What themes, autosummary and indices write goes unchecked: a
module, for example, may be linked from everywhere and have no anchor.
"""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the places on it to which a link can lead."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places.add(found.get("id"))
        if tag == "a" and found.get("href"):
            self.links.add(found["href"])


def broken_links(site, names):
    """List the broken links of pages.

    Parameters
    ----------
    site : str or Path
        Folder of the built site.
    names : iterable of str
        Its pages, as paths in the folder. Others may be left over from earlier builds.

    Returns
    -------
    list of (str, str)
        Page and link.
    """
    site = Path(site).resolve()
    pages = {site / name: Page((site / name).read_text(encoding="utf-8")) for name in names}
    return [
        (path.relative_to(site).as_posix(), link)
        for path, page in sorted(pages.items())
        for link in sorted(page.links)
        if not _leads_somewhere(path, link, pages)
    ]


def _leads_somewhere(path, link, pages):
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True  # elsewhere
    place = unquote(parts.fragment).partition(":~:")[0]  # what follows marks words on the page
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target in pages:
        return not place or place in pages[target].places
    return target.is_file() and target.suffix != ".html"
