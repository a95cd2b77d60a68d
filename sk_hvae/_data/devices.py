"""Devices of torch: which there are, which to take, and moving models there."""

import torch

from sk_hvae.exceptions import DeviceWarning, warn_caller

_BFLOAT16_WIDTH = 256


def resolve_device(device, accelerator=None):
    """Return the torch device: "auto" takes CUDA, then MPS, then the CPU.

    Where an Accelerator joins this process to others, it says which device is this one's.
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
    """Return a device that is there: the CPU, with a warning, for an accelerator that is not."""
    device = torch.device(device)
    if _is_available(device):
        return device
    warn_caller(
        f"this estimator was fitted on {str(device)!r}, which is not available here; using 'cpu'.",
        DeviceWarning,
    )
    return torch.device("cpu")


def place(module, device):
    """Move a module to a device, in float32 where that is MPS, which has no float64.

    Convolutions are laid out channels last, which is the faster format on CPUs and GPUs.
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

    "auto" takes bfloat16 where the hardware multiplies it faster than float32, unless the
    networks are too narrow to gain from it.
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
