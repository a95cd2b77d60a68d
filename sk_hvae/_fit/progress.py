"""Bars that show how far a long call has come: on stderr as a line, in notebooks as a bar."""

from contextlib import contextmanager

from tqdm import TqdmWarning

from sk_hvae._data.reported import ReportedRows
from sk_hvae.exceptions import muted

# Seconds before such a call shows a bar: after each of many short ones, a line would remain.
PATIENCE = 1.0


class Progress:
    """How far a call has come, on a bar if there is one.

    Copies in other processes show nothing: what comes back from there tells how far the call is.

    Parameters
    ----------
    bar : tqdm, default=None
        None shows nothing.
    """

    def __init__(self, bar=None):
        self._bar = bar

    def __call__(self, n_more=1):
        """Tell that more is done; what is done a second time begins the bar anew."""
        if self._bar is not None:
            if self._bar.n == self._bar.total:
                self._bar.reset()
            self._bar.update(n_more)

    def reach(self, n_done):
        """Tell how much is done in all, of which some may have been told of already."""
        if self._bar is not None and n_done > self._bar.n:
            self._bar.update(n_done - self._bar.n)

    def __getstate__(self):
        return {"_bar": None}


def open_bar(n_done, total, bar_format, delay=0.0):
    """Return a bar of tqdm, which appears after some seconds; ``total`` is None if not known."""
    with muted(TqdmWarning):  # in notebooks without ipywidgets, where a line does as well
        from tqdm.auto import tqdm

    bar = tqdm(initial=n_done, total=total, bar_format=bar_format, dynamic_ncols=True, delay=delay)
    # Of bars within bars, such as those of many fits, only the outermost remains.
    bar.leave = bar.pos == 0
    return bar


@contextmanager
def counting_bar(name, total=None, unit="", is_shown=True, only_if_long=False):
    """Show how much a call has done; gives a `Progress`.

    Parameters
    ----------
    name : str
        What is done.
    total : int, default=None
        How much there is to do. None shows nothing but the time.
    unit : str, default=""
        What is counted.
    is_shown : bool, default=True
        Whether to show a bar at all.
    only_if_long : bool, default=False
        Whether the bar appears only after a second.
    """
    if not is_shown:
        yield Progress()
        return
    counted = f" {{n_fmt}}/{{total_fmt}} {unit} |{{bar}}| [{{elapsed}}<{{remaining}}]"
    told, delay = " [{elapsed}]" if total is None else counted, PATIENCE if only_if_long else 0.0
    bar = open_bar(0, total, name + told, delay)
    try:
        yield Progress(bar)
    finally:
        bar.close()


def rows_bar(name, n_rows, is_shown):
    """Show how many rows a call has done, if it takes long; gives a `Progress`."""
    return counting_bar(name, n_rows, "rows", is_shown, only_if_long=True)


@contextmanager
def shown_rows(name, rows, is_shown):
    """Show how many of some `Rows` are done, if that takes long; gives the rows to go through."""
    with rows_bar(name, len(rows), is_shown) as on_rows:
        yield ReportedRows(rows, on_rows)
