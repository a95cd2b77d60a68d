"""Pictures of fitted models; they need matplotlib, which is imported when one is drawn."""

from sk_hvae.plotting._rate_map import RateMapDisplay

__all__ = ["RateMapDisplay"]
