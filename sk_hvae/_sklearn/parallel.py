"""Functions that run side by side, under scikit-learn's configuration, and tell when they end."""

from sklearn.utils.parallel import Parallel


def run_parallel(tasks, on_result, **options):
    """Run delayed functions as `sklearn.utils.parallel.Parallel` does.

    Parameters
    ----------
    tasks : iterable
        What `sklearn.utils.parallel.delayed` makes.
    on_result : callable
        Called with each result, in the order of the tasks, as soon as it is there.
    **options : dict of str to object
        Of `joblib.Parallel`.

    Returns
    -------
    list
        Results in the order of the tasks.
    """
    try:
        parallel = Parallel(return_as="generator", **options)
    except ValueError:  # joblib's backend "multiprocessing" hands over all results at once.
        parallel = Parallel(**options)
    results = []
    for result in parallel(tasks):
        results.append(result)
        on_result(result)
    return results
