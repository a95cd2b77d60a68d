"""Number and sizes of clusters, as a table that people read."""

from sk_hvae._fit.clusters import Clusters
from sk_hvae._sklearn.notebooks import NumberText, as_html

# As many as a clusterer that chooses their number looks for; the others are counted.
_MOST_CLUSTERS = 20


def clusters_html(fitted):
    """Write the clusters of a fitted value as HTML; empty if it has none."""
    if not isinstance(fitted, Clusters):
        return ""
    sizes, n_rows = fitted.sizes, fitted.sizes.sum()
    table = {
        "cluster": [NumberText(number) for number in range(len(sizes))],
        "rows": [NumberText(size) for size in sizes],
        "share": [NumberText(f"{size / n_rows:.1%}") for size in sizes],
    }
    return as_html(
        f"{len(sizes)} clusters of {n_rows} rows",
        table,
        most_lines=_MOST_CLUSTERS,
        more="cluster_sizes_",
    )
