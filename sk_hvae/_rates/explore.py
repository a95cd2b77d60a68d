"""What ``explore`` of a multi-rate model does: it measures and decodes on a grid of rates.

All is computed beforehand, so that the page needs no network that decodes, and can be sent to
others. A decoder in the page would need a runtime of several megabytes.
"""

import base64
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target

from sk_hvae._data.rows import ResidentRows
from sk_hvae._estimators.model import as_in_fit, check_new_rows
from sk_hvae._estimators.multirate import MultiRateHVAETransformer
from sk_hvae._estimators.parameters import check_count, draw_seed
from sk_hvae._explorer.explorer import RateExplorer, explorer_of
from sk_hvae._explorer.pictures import strip
from sk_hvae._fit.progress import counting_bar
from sk_hvae._input.cells import is_missing
from sk_hvae._input.frames import read_frame
from sk_hvae._input.plain_numbers import plain
from sk_hvae._rates.explorer_content import map_page, metric_content
from sk_hvae._rates.map import rate_map
from sk_hvae._rates.recommendation import recommend_rates
from sk_hvae._sklearn.fitted_state import fitted_of
from sk_hvae.exceptions import RateTargetWarning, muted
from sk_hvae.metrics import accuracy_bound
from sk_hvae.metrics._bounds import class_frequencies
from sk_hvae.plotting._colours import groups_of, quantities_of, texts_of
from sk_hvae.plotting._figures import column_names, image_shape_of

_METRICS = ("psnr", "distortion")
# Of the classifiers that `rate_map` knows, the quickest to cross-validate at every place.
_ACCURACY = "accuracy:knn"
_CV = 3  # as in `rate_map`
# Points of the map of latents. More hide each other in a picture of this size, and each takes two
# bytes at every place.
_MOST_MAPPED = 600
# Columns of a table that the page shows: more are not read, and would make the page large.
_MOST_COLUMNS = 30
_DIGITS = 4  # of a real number
_LONGEST = 30  # characters of a cell; longer ones, such as free text, make the table too wide
# Of values on either side, in percent, those that share the colour at the end of the scale.
_OUTER = 2


@explorer_of.register
def _(
    multi: MultiRateHVAETransformer,
    X,
    y,
    *,
    layer_rates,
    metrics,
    n_rows,
    n_samples,
    image_shape,
    random_state,
    n_jobs,
):
    fitted_of(multi)
    check_count("n_rows", n_rows)
    check_count("n_samples", n_samples)
    image_shape = image_shape_of(multi, image_shape)
    seed = draw_seed(multi.random_state if random_state is None else random_state)
    rows = check_new_rows(multi, X)
    if y is not None:
        y = column_or_1d(np.asarray(y))
        check_consistent_length(X, y)
    has_classes = y is not None and _are_classes(y)
    if metrics is None:
        metrics = (_ACCURACY, *_METRICS) if has_classes else _METRICS
    options = {"layer_rates": layer_rates, "metrics": metrics, "cv": _CV, "n_jobs": n_jobs}
    surface = rate_map(multi, X, y, **options, verbose=multi.verbose)
    shown, mapped = _evenly(len(rows), n_rows), _evenly(len(rows), _MOST_MAPPED)
    some = _taken(rows, shown)
    places = _decoded(multi, surface, some, _taken(rows, mapped), n_samples, seed, image_shape)
    reference = surface.rates.sum(axis=1).argmax()
    content = {
        "numbers": shown.tolist(),
        "labels": None if y is None else texts_of(y[shown]).tolist(),
        **(
            _tables(multi, some, places)
            if image_shape is None
            else _images(some, places, image_shape)
        ),
        "latents": _maps([place.latents for place in places], reference),
        "colours": None if y is None else _colours(y, mapped),
    }
    about = f"{len(rows)} rows of {rows.shape[1]} columns, measured at {len(places)} places."
    described = [_metric(surface, name) for name in surface.metrics]
    bounds = _bounds(surface, y) if has_classes else None
    return RateExplorer(map_page(surface, about, described, bounds, content), surface)


def _are_classes(y):
    """Tell whether labels are classes, each of enough rows for cross-validation."""
    if any(map(is_missing, y.tolist())):
        return False
    _, counts = np.unique(y, return_counts=True)
    has_enough = len(counts) > 1 and counts.min() >= _CV
    return has_enough and type_of_target(y) in ("binary", "multiclass")


def _evenly(n, n_taken):
    """Return numbers from 0 to n - 1, evenly spaced: sorted tables are shown from end to end."""
    return np.unique(np.linspace(0, n - 1, min(n, n_taken)).round().astype(int))


def _taken(rows, numbers):
    return ResidentRows(rows.take(torch.from_numpy(numbers)))


def _bounds(surface, y):
    """Bound the accuracy of classifiers of samples of each layer, (n_points, n_layers)."""
    cumulative = surface.rates[:, ::-1].cumsum(axis=1)[:, ::-1]
    return accuracy_bound(cumulative, class_frequencies(y))


def _metric(surface, name):
    """Return what the page shows of a metric: its values and a recommendation."""
    if not np.isfinite(surface.values(name)).any():
        return metric_content(surface, name)
    advice = recommend_rates(surface, name)
    chosen = np.flatnonzero((surface.layer_rates == advice.layer_rates).all(axis=1))[0]
    return metric_content(surface, name, int(chosen), advice.reason)


class _Place(NamedTuple):
    """What a model makes of rows at one place of the plane.

    Attributes
    ----------
    layers : list of ndarray of shape (n_rows, n_features)
        The rows, decoded from every layer.
    samples : ndarray of shape (n_samples, n_features)
        Samples.
    latents : ndarray of shape (n_mapped, n_units)
        Latents of the rows of the map.
    """

    layers: list[NDArray[Any]]
    samples: NDArray[Any]
    latents: NDArray[Any]


def _decoded(multi, surface, rows, mapped, n_samples, seed, image_shape):
    """Decode rows, and samples, at every place of a map; returns a `_Place` for each."""
    plane, points, places = fitted_of(multi), surface.layer_rates, []
    # One module for all places: to make one takes as long as a pass over a small table.
    with muted(RateTargetWarning):
        module = multi.at(points[0]).module_
    numbers = range(1, multi.n_layers_ + 1)
    with counting_bar("decode", len(points), "places", bool(multi.verbose)) as on_place:
        for point in points:
            model = plane.at(tuple(point), module)
            layers = [model.reconstruct(rows, number) for number in numbers]
            # The same noise at all places, so that samples differ by nothing but the rates.
            # Pictures show means, because single pixels would be drawn apart from each other.
            samples = model.sample(n_samples, model.noise(seed), mean=image_shape is not None)
            places.append(_Place(layers, samples, model.encode(mapped, numbers)))
            on_place()
    return places


def _images(rows, places, image_shape):
    """Return pictures of rows that are images, and of samples, at every place."""
    *channels, height, width = image_shape
    originals = rows.every(1).double().numpy()
    low, high = np.nanmin(originals), np.nanmax(originals)

    def picture(pixels):
        return strip(pixels.reshape(-1, *(channels or [1]), height, width), low, high)

    return {
        "kind": "images",
        "originals": picture(originals),
        "places": [
            {"layers": list(map(picture, place.layers)), "samples": picture(place.samples)}
            for place in places
        ],
    }


def _tables(multi, rows, places):
    """Return cells of rows, and of samples, at every place, as text."""
    names = column_names(getattr(multi, "feature_names_in_", None), rows.shape[1])

    def cells(numbers):
        return _texts(as_in_fit(multi, numbers))

    return {
        "kind": "table",
        "columns": names[:_MOST_COLUMNS],
        "n_more": max(len(names) - _MOST_COLUMNS, 0),
        "originals": cells(rows.every(1).double().numpy()),
        "places": [
            {"layers": list(map(cells, place.layers)), "samples": cells(place.samples)}
            for place in places
        ],
    }


def _texts(table):
    """Write the first columns of a frame or array as text; a list for each row."""
    frame = read_frame(table)
    columns = list(np.asarray(table).T) if frame is None else frame.columns
    texts = [
        list(map(_text, column.to_list() if frame else column.tolist()))
        for column in columns[:_MOST_COLUMNS]
    ]
    return [list(row) for row in zip(*texts, strict=True)]


def _text(cell):
    if is_missing(cell):
        return "missing"
    if isinstance(cell, float):
        return plain(cell, _DIGITS)
    text = str(cell).removesuffix(" 00:00:00")  # a day
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _maps(latents, reference):
    """Return a map of the latents at every place, by their first two principal components.

    Components have no sign, and may turn. Each map is therefore turned or mirrored until it is most
    similar to that of the place with the number ``reference``, so that points move as little as
    they can from place to place. No distance changes by this.
    """
    maps, shares = zip(*map(_two_components, latents), strict=True)
    turned = [points @ orthogonal_procrustes(points, maps[reference])[0] for points in maps]
    return {"points": list(map(_as_bytes, turned)), "shares": list(shares)}


def _two_components(latents):
    """Return the first two principal scores (n, 2), and their share of the variance."""
    centred = latents.astype(float) - latents.mean(axis=0, dtype=float)
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    scores = np.pad((left * scales)[:, :2], ((0, 0), (0, max(2 - len(scales), 0))))
    return scores, float(np.square(scales[:2]).sum() / (np.square(scales).sum() or 1.0))


def _as_bytes(points):
    """Write points (n, 2) as text: from -1 to 1 of the largest coordinate in 256 steps."""
    shares = points / (np.abs(points).max() or 1.0)
    return base64.b64encode(((shares + 1) * 127.5).round().astype(np.uint8).tobytes()).decode()


def _colours(y, mapped):
    """Return what gives the points of the maps their colours: groups, or numbers."""
    numbers = quantities_of(y)
    if numbers is None:
        names, member, rest = groups_of(y)
        return {"names": names, "rest": rest, "groups": member[mapped].tolist()}
    low, high = np.nanpercentile(
        np.where(np.isfinite(numbers), numbers, np.nan), [_OUTER, 100 - _OUTER]
    )
    shares = ((numbers[mapped] - low) / ((high - low) or 1.0)).clip(0, 1)
    return {"low": float(low), "high": float(high), "shares": shares.tolist()}
