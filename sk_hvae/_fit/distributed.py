"""Whether several processes train one model together, by accelerate."""

import sys

import torch


def joined_accelerator():
    """Return an Accelerator if this process trains together with others, else None.

    That is the case after an ``accelerate.Accelerator`` has been made in a script that was
    launched in several processes. Workers of joblib and dask do not train together.
    """
    state = sys.modules.get("accelerate.state")
    if state is None or not state.is_initialized():
        return None
    accelerator = sys.modules["accelerate"].Accelerator()
    return accelerator if accelerator.num_processes > 1 else None


def broadcast_from_first(value, accelerator):
    """Return the first process's number in all processes."""
    if accelerator is None:
        return value
    number = torch.tensor([value], device=accelerator.device)
    return int(sys.modules["accelerate.utils"].broadcast(number))
