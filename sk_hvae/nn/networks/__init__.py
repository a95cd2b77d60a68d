"""Networks between data and latents."""
