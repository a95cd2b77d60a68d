"""Files that are there whole or not at all, whatever happens while they are written."""

import contextlib
import os


@contextlib.contextmanager
def whole_file(path, suffix=".unfinished", sync=False):
    """Open a file for writing; it takes its place in one step, once all of it is written.

    Until then it has another name beside its own. After an error that one is deleted, and a file
    that was there before is as it was.

    Parameters
    ----------
    path : str or path-like
        Where the file is to be.
    suffix : str, default=".unfinished"
        What is appended to the name of the unfinished file. The same one for every attempt lets
        the next attempt replace what a killed process left behind; where several processes may
        write one file at once, each needs a suffix of its own.
    sync : bool, default=False
        Whether to wait until the disk has the content, so that a file survives a loss of power.

    Yields
    ------
    file object
        Opened in binary mode.
    """
    path = os.fspath(path)
    unfinished = f"{path}{suffix}"
    try:
        with open(unfinished, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        raise
