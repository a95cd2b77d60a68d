"""Layers of latents: Gaussian units and categorical states."""

from sk_hvae.nn.latents.gaussian import GaussianLatent

__all__ = ["GaussianLatent"]
