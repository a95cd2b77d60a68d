"""The best candidates of a search, as a table that people read."""

import numpy as np

from sk_hvae._sklearn.notebooks import NumberText, as_html

# What a reader compares. The others are counted, and in ``cv_results_``.
_MOST_CANDIDATES = 5


def candidates_html(search):
    """Write the candidates of a fitted search as HTML, the best first.

    Parameters
    ----------
    search : GridSearchCV
        Fitted. With several scores, candidates are in the order of that by which ``refit`` chooses,
        or of the first one.
    """
    results = search.cv_results_
    scores = list(search.scorer_) if search.multimetric_ else ["score"]
    first = search.refit if search.refit in scores else scores[0]
    order = np.argsort(results[f"rank_test_{first}"], kind="stable")
    names = dict.fromkeys(name for params in results["params"] for name in params)
    table = {name: [repr(results["params"][n].get(name, "")) for n in order] for name in names} | {
        f"mean {score}": _means(results, score, order) for score in scores
    }
    return as_html(
        f"{len(order)} candidates, scored on {search.n_splits_} splits",
        table,
        most_lines=_MOST_CANDIDATES,
        more="cv_results_",
    )


def _means(results, score, order):
    """Write means over the splits, with the standard deviations between them."""
    pairs = zip(
        results[f"mean_test_{score}"][order], results[f"std_test_{score}"][order], strict=True
    )
    return [NumberText(f"{mean:.4g} ± {std:.2g}") for mean, std in pairs]
