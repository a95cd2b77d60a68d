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

_MAGIC = b"sk_hvae checkpoint 3\n"
_FILE = "fit.checkpoint"
# Parameters that do not change what a fit comes to, so that it may go on with other ones.
_NOT_THE_FIT = ("callbacks", "checkpoint", "device", "output_layers", "verbose", "warm_start")
# Writing takes at most this share of the time, unless passes over the data are so long that more
# than this many seconds of work could be lost.
_SHARE_OF_TIME, _LONGEST = 0.05, 60.0


class Checkpointed:
    """Has attributes that a checkpoint keeps, with the methods of torch's modules for them.

    A subclass lists the names of these attributes in ``CHECKPOINTED``. They are numbers, lists of
    numbers, tensors or None.
    """

    CHECKPOINTED: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        """Return the attributes that a checkpoint keeps, without a copy."""
        return {name: getattr(self, name) for name in self.CHECKPOINTED}

    def load_state_dict(self, state):
        """Set the attributes; what replaces a tensor becomes one on the same device.

        What was a tensor on another device becomes a number or a list where it replaces one.
        """
        for name in self.CHECKPOINTED:
            value, old = state[name], getattr(self, name)
            if isinstance(old, torch.Tensor) and value is not None:
                value = torch.as_tensor(value, device=old.device)
            elif isinstance(value, torch.Tensor) and isinstance(old, int | float | list):
                value = value.tolist()
            setattr(self, name, value)


class Checkpoint:
    """The file in which one fit keeps its state.

    A new file is written beside the old one and then replaces it, so that there is always a whole
    one. It begins with a digest of its content, by which damage is found.

    Parameters
    ----------
    folder : str or path-like
        The folder of the file. It is made if it is not there.
    identity : dict of str to str
        Description of the fit, see `fit_identity`. Only a fit with the same description goes on
        from the file.
    writes : bool, default=True
        Whether this process writes the file. Of several that train together only one does, and
        all read it.

    Raises
    ------
    CheckpointError
        If the file in the folder is of another fit, damaged or foreign, or if the folder cannot
        be written to.
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
        """State of a training that was cut short, or None."""
        self.seed = None if kept is None else kept["seed"]
        """Seed of a fit that was cut short, or None."""

    def part(self, name):
        """Return the checkpoint of a part of the fit, which is trained before the rest."""
        return Checkpoint(self._folder / name, {**self._identity, "part": name}, self._writes)

    def begin(self, seed):
        """Write the seed of a fit, which also shows whether the folder can be written to."""
        self.seed = seed
        if self.training is None:
            self.write(None)

    def is_due(self, between_passes):
        """Tell whether to write now.

        Between two passes over the data it is time to write as soon as writing takes no more than
        5% of the time; within a pass, after a minute.
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
        """Delete the file, because the fit has come to its end."""
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
    """Describe a fit, so that a checkpoint of another fit can be told from its own.

    Parameters
    ----------
    estimator : estimator
        Its parameters belong to the description, except for those that do not change the result.
    rows : Rows
        The rows to which it is fitted.
    likelihood : Likelihood
        That of the estimator. Its columns are numbers, however the user gave them.
    goes_on : bool
        Whether the fit continues from a fitted model.

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
    """Describe a parameter without addresses in memory, which differ between processes."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_describe, value))})"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)


def _reason(error):
    """Say in words what is wrong by an OSError."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return "it is not a folder"
    return error.strerror or str(error)


def _stamp(path):
    """Return what changes when a file is replaced; None if there is no file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
