"""Layers of latents: Gaussian units and categorical states."""
