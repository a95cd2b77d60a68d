"""Rows that tell how many of them are done."""

from sk_hvae._data.rows import Rows


class ReportedRows(Rows):
    """Rows that call a function when the next chunk is asked for.

    Parameters
    ----------
    rows : Rows
        All there are.
    on_rows : callable
        Called with the number of rows of the chunk before, which are done.
    """

    def __init__(self, rows, on_rows):
        super().__init__(rows.shape, rows.device, rows.dtype)
        self.are_fixed = rows.are_fixed
        self._rows = rows
        self._on_rows = on_rows

    def on(self, device):
        return ReportedRows(self._rows.on(device), self._on_rows)

    def check(self, function):
        self._rows.check(function)

    def chunks(self):
        for chunk in self._rows.chunks():
            yield chunk
            self._on_rows(len(chunk))

    def every(self, step):
        return self._rows.every(step)

    def take(self, index):
        return self._rows.take(index)

    def batches(self, parts):
        return self._rows.batches(parts)
