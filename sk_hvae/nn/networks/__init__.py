"""Networks between data and latents."""

from sk_hvae.nn.networks.skip import Activations

__all__ = ["Activations"]
