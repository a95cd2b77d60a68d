"""Pages of the rate explorer, read as text and opened in a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, _BROWSERS)), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")


class Reader(HTMLParser):
    """Tags of a page with their attributes, and the text of each script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data

    def content(self):
        """What is in the page's JSON."""
        number = next(n for n, (_, attrs) in enumerate(self.tags) if attrs.get("id") == "content")
        return json.loads(self.texts[number])


def browse(path, place=None, script="", size=(1280, 900)):
    """Open a page in chromium; returns its elements when all is done, without its scripts.

    Parameters
    ----------
    path : Path
        The file.
    place : int, default=None
        Place in the address.
    script : str, default=""
        JavaScript to run at the end, as what a reader does.
    size : tuple of int (width, height), default=(1280, 900)
        Of the window.
    """
    page = path.with_name(f"opened_{path.name}")
    page.write_text(path.read_text().replace("</body>", f"<script>{script}</script></body>"))
    address = page.as_uri() + ("" if place is None else f"#place={place}")
    options = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--enable-logging=stderr"),
        *("--virtual-time-budget=2000", f"--window-size={size[0]},{size[1]}"),
        f"--user-data-dir={path.with_suffix('.profile')}",
    )
    command = [BROWSER, *options, address]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)  # noqa: S603 (ours)
    assert ran.returncode == 0, ran.stderr
    assert "CONSOLE" not in ran.stderr, ran.stderr
    return re.sub("<script.*?</script>", "", ran.stdout, flags=re.DOTALL)


def part(page, name):
    """The markup of the element of a page that has an id, up to the next one that has."""
    start = page.index(f'id="{name}"')
    end = page.find(' id="', start + 1)
    return page[start : end if end > 0 else None]


def data(markup):
    """Numbers in markup, with all of their digits."""
    return np.array(re.findall(r'<data value="([^"]*)"', markup), float)
