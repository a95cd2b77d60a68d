"""What moves during training, as dicts that can be written to a file and read back."""

from typing import Any, ClassVar

import torch


class Stateful:
    """Give and take the attributes that move, as torch's modules and optimisers do.

    A subclass lists them in ``_MOVING``; they are numbers, tensors, or None.
    """

    _MOVING: ClassVar[tuple[str, ...]] = ()

    def state_dict(self) -> dict[str, Any]:
        """Return the attributes that move, not copied."""
        return {name: getattr(self, name) for name in self._MOVING}

    def load_state_dict(self, state):
        """Take attributes from `state_dict`; tensors go where those are that they replace."""
        for name in self._MOVING:
            value, old = state[name], getattr(self, name)
            is_tensor = isinstance(value, torch.Tensor) and isinstance(old, torch.Tensor)
            setattr(self, name, value.to(old.device) if is_tensor else value)
