"""Devices of torch: which there are, which to take, and moving models there."""

import torch

from sk_hvae.exceptions import DeviceWarning, warn_caller

# Narrower networks do not gain: converting their numbers costs what the products save. gpu.py and
# training_speed.py in examples/benchmarks compare the two precisions.
_BFLOAT16_WIDTH = 256


def resolve_device(device, accelerator=None):
    """Return the torch device that a user asks for.

    "auto" is CUDA where there is a GPU, else MPS, else the CPU. Where several processes train
    together, their Accelerator knows which device belongs to this one.
    """
    if device == "auto" and accelerator is not None:
        given = accelerator.device
        return torch.device("cpu") if given.type == "cpu" else given
    if device != "auto":
        try:
            resolved = torch.device(device)
        except RuntimeError as error:
            raise ValueError(
                "device must be 'auto' or a torch device such as 'cpu', 'cuda', 'cuda:1' or "
                f"'mps'; got {device!r}."
            ) from error
        if not _is_available(resolved):
            raise ValueError(
                f"device={device!r} is not available here; use device='auto' for the best there is."
            )
        return resolved
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def usable_device(device):
    """Return a device if it is available here, and otherwise the CPU, with a warning."""
    device = torch.device(device)
    if _is_available(device):
        return device
    warn_caller(
        f"this estimator was fitted on {str(device)!r}, which is not available here; using 'cpu'.",
        DeviceWarning,
    )
    return torch.device("cpu")


def place(module, device):
    """Move a module to a device.

    MPS has no float64, so that all of the module becomes float32 there. Convolutions get the
    memory format "channels last", which is the faster one on CPUs and GPUs.
    """
    device = torch.device(device)
    module = module.float() if device.type == "mps" else module
    return module.to(device, memory_format=torch.channels_last)


def module_device(module):
    """Return the device of a module's parameters."""
    return next(module.parameters()).device


def _is_available(device):
    if device.type == "cuda":
        return torch.cuda.device_count() > (device.index or 0)
    return device.type == "cpu" or (device.type == "mps" and torch.backends.mps.is_available())


def resolve_autocast(precision, device, widths):
    """Return the dtype for matrix products in training, or None for float32.

    "auto" takes bfloat16 if the hardware multiplies it faster than float32 and all hidden layers,
    of the given ``widths``, are wide enough to gain from it.
    """
    if precision == "float32":
        return None
    if precision == "bfloat16":
        return torch.bfloat16
    wide = min(widths, default=0) >= _BFLOAT16_WIDTH
    return torch.bfloat16 if wide and _has_bfloat16(device) else None


def _has_bfloat16(device):
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        features = torch.cpu.get_capabilities()
        return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
    return False
