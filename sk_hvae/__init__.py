"""Hierarchical variational autoencoders for scikit-learn users: ask for bits, get bits."""

from sk_hvae._multirate import MultiRateHVAETransformer
from sk_hvae._transformer import HierarchicalVAETransformer

__version__ = "0.1.0"

__all__ = ["HierarchicalVAETransformer", "MultiRateHVAETransformer", "__version__"]
