"""Bars that show how far a long call has come: on stderr as a line, in notebooks as a bar."""

from contextlib import contextmanager

from tqdm import TqdmWarning

from sk_hvae.exceptions import muted


def open_bar(n_done, total, bar_format):
    """Return a bar of tqdm; ``total`` is None if it is not known."""
    with muted(TqdmWarning):  # in notebooks without ipywidgets, where a line does as well
        from tqdm.auto import tqdm

    return tqdm(initial=n_done, total=total, bar_format=bar_format, dynamic_ncols=True)


@contextmanager
def rows_bar(name, n_rows, is_shown):
    """Show how many rows a call has done; gives a function that is told of more of them."""
    if not is_shown:
        yield lambda n_more: None  # noqa: ARG005
        return
    counted = f"{name} {{n_fmt}}/{{total_fmt}} rows |{{bar}}| [{{elapsed}}<{{remaining}}]"
    bar = open_bar(0, n_rows, counted)
    try:
        yield bar.update
    finally:
        bar.close()
