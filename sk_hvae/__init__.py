"""Hierarchical variational autoencoders for scikit-learn users: ask for bits, get bits."""

import sk_hvae._rates.explore  # noqa: F401  It registers what ``explore`` of an estimator does.
from sk_hvae._data.threads import set_num_threads
from sk_hvae._estimators.clusterer import HVAEClusterer
from sk_hvae._estimators.multirate import MultiRateHVAETransformer
from sk_hvae._estimators.transformer import HierarchicalVAETransformer
from sk_hvae._explorer.explorer import RateExplorer
from sk_hvae._rates.grid import RateDistribution, rate_grid
from sk_hvae._rates.map import RateMap, rate_map
from sk_hvae._rates.recommendation import RateRecommendation, recommend_rates
from sk_hvae._rates.search import RateSearchCV

__version__ = "0.1.0"

__all__ = [
    "HVAEClusterer",
    "HierarchicalVAETransformer",
    "MultiRateHVAETransformer",
    "RateDistribution",
    "RateExplorer",
    "RateMap",
    "RateRecommendation",
    "RateSearchCV",
    "__version__",
    "rate_grid",
    "rate_map",
    "recommend_rates",
    "set_num_threads",
]
