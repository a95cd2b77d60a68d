"""Which rates to take: grids of them, searches, maps of the rate plane, and recommendations.

`grid` writes candidates. `search` scores them by cross-validation, and `shared_fits` has them share
one multi-rate model per split where `search_costs` predicts that this is less work. `map` measures
the metrics of `map_metrics` over the rate plane, and `recommendation` reads such a map.
"""
