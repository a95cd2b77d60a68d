"""One HTML file of what is on the page, its style and its program.

The page is plain SVG, CSS and JavaScript. Vega-Altair, Bokeh and Plotly were compared first. They
would draw the map, which is the least part of the page. That the keyboard and screen readers reach
each place of it, and that pictures of rows follow the place, would still have to be written beside
them, and they would add 0.8 MB to over 3 MB to a page that has 0.2 MB.
"""

import html
import json
import math
from importlib.resources import files
from string import Template

# More does not pass by mail, and takes long to open on a phone.
_MOST_BYTES = 5_000_000
_PROGRAM = ("elements.js", "plane.js", "place.js", "explorer.js")
# In pixels: with less, the map and what belongs to a place would not be visible together.
_HEIGHT_IN_NOTEBOOKS = 820


def write_page(title, about, content):
    """Write the page.

    Parameters
    ----------
    title : str
        Heading.
    about : str
        What was measured, in a sentence or two.
    content : dict
        What the program shows: dicts, lists, text and numbers, see ``_rates/explorer_content.py``.

    Returns
    -------
    str
        HTML, with nothing that would be loaded from anywhere.

    Raises
    ------
    ValueError
        If the page would have more than 5 MB.
    """
    page = Template(_read("page.html")).substitute(
        title=html.escape(title),
        about=html.escape(about),
        style=_read("explorer.css"),
        content=_as_json(content),
        program="\n".join(map(_read, _PROGRAM)),
    )
    n_bytes = len(page.encode())
    if n_bytes > _MOST_BYTES:
        raise ValueError(
            f"the page would have {n_bytes / 1e6:.1f} MB, and the limit is "
            f"{_MOST_BYTES / 1e6:.0f} MB. Pass fewer points (layer_rates), or smaller n_rows and "
            "n_samples."
        )
    return page


def as_frame(page):
    """Return a page as a frame inside of another page, such as a notebook."""
    return (
        f'<iframe srcdoc="{html.escape(page)}" title="Rate explorer" sandbox="allow-scripts" '
        f'style="width: 100%; height: {_HEIGHT_IN_NOTEBOOKS}px; border: 1px solid #8888">'
        "</iframe>"
    )


def _read(name):
    return files("sk_hvae._explorer").joinpath("web", name).read_text(encoding="utf-8")


def _as_json(content):
    """Write JSON that HTML leaves as it is: no tag can begin or end in it."""
    text = json.dumps(_finite(content), separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _finite(value):
    """Return content with None in place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_finite(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
