"""Errors of the machine in a fit, and of numbers, as messages that help."""

import math
from contextlib import contextmanager

import torch

from sk_hvae.exceptions import LostProcessError, TrainingMemoryError

# Parts of the messages of torch and of its backends for communication, in small letters. They have
# no exceptions of their own for these errors.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
_NO_PARTNER = (
    "connection closed by peer",
    "connection reset by peer",
    "connection refused",
    "broken pipe",
    "nccl",
    "gloo",
)


@contextmanager
def translate_errors(batch_size):
    """Turn errors of memory and of lost processes into those of this library; others pass.

    Parameters
    ----------
    batch_size : int
        That of the estimator, for the advice in the message.

    Raises
    ------
    TrainingMemoryError
        If memory ran out, on the host or on an accelerator.
    LostProcessError
        If one of the processes that train together is gone.
    """
    try:
        yield
    except MemoryError as error:
        raise _memory_error(error, batch_size) from error
    except RuntimeError as error:
        said = str(error).lower()
        if isinstance(error, torch.OutOfMemoryError) or any(part in said for part in _NO_MEMORY):
            raise _memory_error(error, batch_size) from error
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        if together and any(part in said for part in _NO_PARTNER):
            raise LostProcessError(
                f"one of the processes that train together is gone ({_first_line(error)}). Look "
                "at its own output for the reason, and launch all anew; with checkpoint= they go "
                "on where they were."
            ) from error
        raise


def _memory_error(error, batch_size):
    return TrainingMemoryError(
        f"memory ran out ({_first_line(error)}). Lower batch_size ({batch_size} now), "
        "hidden_layer_sizes or n_components; rows in a file (numpy.memmap) or in a torch Dataset "
        "are read part by part. If training had begun, the estimator holds the weights so far."
    )


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def divergence(epoch, distortion, rates):
    """Say what turned non-finite, and what to try."""
    broken = [f"rate of z_{i}" for i, rate in enumerate(rates, 1) if not math.isfinite(rate)]
    if not math.isfinite(distortion):
        broken.append("distortion")
    return (
        f"training diverged in epoch {epoch}: non-finite {', '.join(broken) or 'weights'}. The "
        "estimator keeps the last finite weights. Lower lr, or look for extreme values in X "
        "(a clipped or quantile-transformed X trains more easily)."
    )
