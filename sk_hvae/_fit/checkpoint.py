"""The state of a fit in a folder, so that a fit that was killed can go on."""

import hashlib
import io
import pickle
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from sk_hvae._data.whole_file import whole_file
from sk_hvae.exceptions import CheckpointError

_MAGIC = b"sk_hvae checkpoint 1\n"
_FILE = "fit.checkpoint"
_NOT_THE_FIT = ("callbacks", "checkpoint", "device", "output_layers", "verbose", "warm_start")
_SHARE_OF_TIME, _LONGEST = 0.05, 60.0


class Checkpointed:
    """Give and take the attributes that move, as torch's modules and optimisers do.

    A subclass lists them in ``_CHECKPOINTED``; they are numbers, tensors, or None.
    """

    _CHECKPOINTED: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        """Return the attributes that move, not copied."""
        return {name: getattr(self, name) for name in self._CHECKPOINTED}

    def load_state_dict(self, state):
        """Take attributes from `state_dict`; tensors go where those are that they replace."""
        for name in self._CHECKPOINTED:
            value, old = state[name], getattr(self, name)
            is_tensor = isinstance(value, torch.Tensor) and isinstance(old, torch.Tensor)
            setattr(self, name, value.to(old.device) if is_tensor else value)


class Checkpoint:
    """The file in which one fit keeps its state.

    A file is written beside the old one, which it then replaces, so that there is always a
    whole one; a digest tells one that is not.

    Parameters
    ----------
    folder : str or path-like
        Made if it is not there.
    identity : dict of str to str
        What the fit is: only a fit with the same goes on from the file.
    writes : bool, default=True
        Whether this process writes, or only reads: one of several that train together writes.

    Raises
    ------
    CheckpointError
        If the file there is of another fit, damaged or foreign, or the folder cannot be written.
    """

    def __init__(self, folder, identity, writes=True):
        self._folder = Path(folder)
        self._identity = identity
        self._writes = writes
        self._cost = 0.0
        self._last = time.monotonic()
        self._stamp = None
        kept = self._read()
        self.training = None if kept is None else kept["training"]
        """State of the training that was cut short, or None."""
        self.seed = None if kept is None else kept["seed"]
        """Seed of the fit that was cut short, or None."""

    def begin(self, seed):
        """Keep the seed of a fit, which also tries whether the folder can be written."""
        self.seed = seed
        if self.training is None:
            self.write(None)

    def is_due(self, between_passes):
        """Tell whether to write now.

        Between passes over the data as soon as writing takes no more than 5% of the time, and
        in the middle of long ones after a minute.
        """
        elapsed = time.monotonic() - self._last
        return elapsed >= (self._cost / _SHARE_OF_TIME if between_passes else _LONGEST)

    def write(self, training):
        """Replace the file by one with this state of the training."""
        if not self._writes:
            return
        start = time.monotonic()
        buffer = io.BytesIO()
        torch.save({"identity": self._identity, "seed": self.seed, "training": training}, buffer)
        content = buffer.getbuffer()
        path = self._folder / _FILE
        if self._stamp is not None and _stamp(path) != self._stamp:
            raise CheckpointError(
                f"{path} was changed by someone else while this fit was writing to it. Give "
                "every fit a folder of its own; in a search, leave checkpoint=None."
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path, sync=True) as file:
                file.write(_MAGIC + hashlib.sha256(content).digest())
                file.write(content)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint={str(self._folder)!r} cannot be written: {_reason(error)}. Make "
                "room or pass another folder."
            ) from error
        self._stamp = _stamp(path)
        self._last = time.monotonic()
        self._cost = self._last - start

    def remove(self):
        """Delete the file: the fit has come to its end."""
        if self._writes:
            (self._folder / _FILE).unlink(missing_ok=True)

    def _read(self):
        """Return what the file holds, or None if there is none."""
        path = self._folder / _FILE
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {_reason(error)}.") from error
        if not content.startswith(_MAGIC):
            raise CheckpointError(
                f"{path} is not a checkpoint that this version of sk_hvae has written. Pass "
                "another folder, or delete the file."
            )
        digest, content = content[len(_MAGIC) :][:32], content[len(_MAGIC) + 32 :]
        if hashlib.sha256(content).digest() != digest:
            raise CheckpointError(
                f"{path} is damaged: part of it is missing or changed. Delete it to start anew."
            )
        try:
            kept = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            identity = kept["identity"]
        except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError) as error:
            raise CheckpointError(
                f"{path} is damaged or foreign: {error}. Delete it to start anew."
            ) from error
        names = sorted(identity.keys() | self._identity.keys())
        changed = [
            f"{name} was {identity.get(name)}, is {self._identity.get(name)}"
            for name in names
            if identity.get(name) != self._identity.get(name)
        ]
        if changed:
            raise CheckpointError(
                f"{path} is of another fit, which was cut short: {'; '.join(changed)}. Go on with "
                "that one, pass another folder, or delete the file."
            )
        return kept


def fit_identity(estimator, rows, likelihood, goes_on):
    """Describe a fit, so that another is told apart.

    Parameters
    ----------
    estimator : estimator
        Its parameters are part of the fit, but for those that do not change the result.
    rows : Rows
        What it is fitted to.
    likelihood : Likelihood
        The estimator's, whose columns are numbers, however they were given.
    goes_on : bool
        Whether it continues from a fitted model.

    Returns
    -------
    dict of str to str
    """
    params = {
        name: _describe(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in _NOT_THE_FIT and not isinstance(value, np.random.RandomState)
    }
    return {
        "class": type(estimator).__name__,
        **params,
        "likelihood": repr(likelihood),
        "X": f"of shape {rows.shape}, with digest {rows.digest()}",
        "start": "from a fitted model" if goes_on else "anew",
    }


def _describe(value):
    """Describe a parameter without addresses, which are others in another process."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_describe, value))})"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)


def _reason(error):
    """Return what an OSError means, in words."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return "it is not a folder"
    return error.strerror or str(error)


def _stamp(path):
    """Return what changes when a file is replaced, or None if it is not there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
