"""Hierarchical variational autoencoders for scikit-learn users: ask for bits, get bits."""

from sk_hvae._clusterer import HVAEClusterer
from sk_hvae._multirate import MultiRateHVAETransformer
from sk_hvae._rate_grid import RateDistribution, rate_grid
from sk_hvae._rate_map import RateMap, rate_map
from sk_hvae._recommendation import RateRecommendation, recommend_rates
from sk_hvae._search import RateSearchCV
from sk_hvae._threads import set_num_threads
from sk_hvae._transformer import HierarchicalVAETransformer

__version__ = "0.1.0"

__all__ = [
    "HVAEClusterer",
    "HierarchicalVAETransformer",
    "MultiRateHVAETransformer",
    "RateDistribution",
    "RateMap",
    "RateRecommendation",
    "RateSearchCV",
    "__version__",
    "rate_grid",
    "rate_map",
    "recommend_rates",
    "set_num_threads",
]
