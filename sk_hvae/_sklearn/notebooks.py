"""What notebooks show of an estimator, by scikit-learn's name for this."""

import html
from abc import ABC, abstractmethod
from typing import final

from sklearn.utils import estimator_html_repr

# Text of a cell, such as the name of a column, which may be anything. Longer ones would make a
# table too wide to read.
_LONGEST_TEXT = 60


class NumberText(str):
    """A number as text, which stands to the right in a table."""

    __slots__ = ()


class NotebookMixin(ABC):
    """Show more of an estimator than scikit-learn's diagram."""

    @abstractmethod
    def _html_below_diagram(self) -> str:
        """Return HTML; empty if there is nothing to add."""

    @final
    def _html_repr(self):
        diagram, below = estimator_html_repr(self), self._html_below_diagram()
        # scikit-learn 1.7 leaves an element of a search open, whose black text would be ours too.
        return f"<div>{diagram}</div>{below}" if below else diagram


def as_html(summary, table, *, most_lines, more, foot=(), is_open=True):
    """Write a table as HTML with a line above it, by which it opens and closes.

    It has no colours of its own, so that it suits light and dark notebooks, and scrolls where it is
    too large.

    Parameters
    ----------
    summary : str
        What the table is about.
    table : dict of str to list
        Columns by name, of text or of `NumberText`.
    most_lines : int
        Lines that are shown.
    more : str
        Where to find the others, as code.
    foot : sequence of str or NumberText, default=()
        Cells of the last line, which is always shown.
    is_open : bool, default=True
        Whether it is open at first.

    Returns
    -------
    str
        In which no text can be markup.
    """
    lines = list(zip(*table.values(), strict=True))
    body = "".join(map(_line, lines[:most_lines]))
    n_more = len(lines) - most_lines
    end = f"<tfoot>{_line(foot)}</tfoot>" if foot else ""
    left_out = f"<p>and {n_more} more, see <code>{html.escape(more)}</code></p>"
    return (
        f"<details{' open' * is_open}><summary>{html.escape(summary)}</summary>"
        '<div style="max-height: 30em; overflow: auto">'
        f'<table style="border-spacing: 0.8em 0.1em">'
        f"<thead>{_line(table, 'th')}</thead><tbody>{body}</tbody>{end}</table>"
        f"</div>{left_out if n_more > 0 else ''}</details>"
    )


def _line(cells, tag="td"):
    return f"<tr>{''.join(_cell(cell, tag) for cell in cells)}</tr>"


def _cell(value, tag):
    text = str(value)
    short = text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
    side = "right" if isinstance(value, NumberText) else "left"
    return f'<{tag} style="text-align: {side}">{html.escape(short)}</{tag}>'
