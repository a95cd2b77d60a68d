"""What the rows are like: looked at before a model learns of them, and warned of if it is odd."""

import numpy as np
import torch

from sk_hvae._estimators.parameters import warn_of_channels_last
from sk_hvae._fit.progress import shown_rows
from sk_hvae._input.many_codes import warn_of_many_codes
from sk_hvae._input.outliers import describe_wild_cells, find_wild_cells
from sk_hvae._input.scales import warn_of_scales
from sk_hvae.exceptions import OutlierWarning, warn_caller
from sk_hvae.nn.likelihoods import DataSummary
from sk_hvae.nn.likelihoods import resolve as new_likelihood
from sk_hvae.nn.likelihoods.codes import CodeCounts, merge_codes
from sk_hvae.nn.likelihoods.refusal import told_by_name


def inspect_first_rows(plan):
    """Let a new model's likelihood learn what the rows are like; returns the completed `Plan`.

    Raises
    ------
    ValueError
        If the rows cannot come from the likelihood; names the columns.

    Warns
    -----
    ImageShapeWarning, CategoryWarning, OutlierWarning
        If the rows, or the shape of images, are not as they should be.
    """
    names = plan.feature_names
    warn_of_channels_last(plan.architecture.image_shape)
    whole = _summarise(plan)
    with told_by_name(names):
        of_all = plan.likelihood.adapt(whole)
        summary, likelihood = whole, of_all
        if plan.held_out is not None:
            summary = _of_training(plan, whole)
            likelihood = new_likelihood(plan.likelihood).adapt(summary)
    plan.rows.check(told_by_name(names)(likelihood.check))
    warn_of_many_codes(whole, len(plan.rows), names)
    has_wild_cells = _warn_of_wild_cells(plan, of_all)
    return plan._replace(summary=summary, likelihood=likelihood, has_wild_cells=has_wild_cells)


def inspect_further_rows(plan, fitted):
    """Compare rows with those that a fitted model knows; returns the completed `Plan`.

    Raises
    ------
    ValueError
        If the model cannot be trained further as the parameters ask, or on such rows.

    Warns
    -----
    ScaleWarning
        If the rows are on other scales.
    """
    _refuse_changes(plan, fitted)
    known, names = fitted.likelihood.summary, plan.feature_names
    constant = (known.std == 0).tolist()
    distributed = plan.likelihood.distributed_columns(len(constant))
    found = DataSummary.of(
        plan.training.chunks(),
        known=known,
        coded=(),
        distributed=[column for column in distributed if constant[column]],
    )
    is_off_scale = warn_of_scales(fitted.likelihood, found, names)
    plan.rows.check(told_by_name(names)(fitted.likelihood.check))
    return plan._replace(
        summary=known.updated(found, len(plan.training)),
        known=known,
        is_off_scale=is_off_scale,
        data_dtype=np.promote_types(plan.data_dtype, fitted.data_dtype).name,
    )


def _summarise(plan):
    """Summarise all rows."""
    image_shape = plan.architecture.image_shape
    n_channels, is_image = (image_shape[0], True) if image_shape else (1, False)
    n_features = plan.rows.shape[1]
    with shown_rows("read", plan.rows, plan.shows_progress) as rows:
        return DataSummary.of(
            rows.chunks(),
            n_channels,
            is_image,
            coded=plan.likelihood.coded_columns(n_features),
            distributed=plan.likelihood.distributed_columns(n_features),
        )


def _of_training(plan, whole):
    """Summarise the rows to train on, given the summary of all.

    What values a column may have, on which grid, and whether the columns are pixels, are no
    estimates: these are taken from all rows, held-out ones included.
    """
    distributed = plan.likelihood.distributed_columns(plan.rows.shape[1])
    summary = DataSummary.of(plan.training.chunks(), known=whole, coded=(), distributed=distributed)
    summary = summary._replace(
        minimum=whole.minimum, maximum=whole.maximum, codes=_counted_in_training(plan, whole.codes)
    )
    if summary.marginals is None:
        return summary
    marginals = summary.marginals._replace(steps=whole.marginals.steps)
    return summary._replace(marginals=marginals)


def _counted_in_training(plan, codes):
    """Return codes with their counts among the rows to train on, or 1 where they are not there."""
    counts = CodeCounts(plan.likelihood.coded_columns(plan.rows.shape[1]))
    for chunk in plan.training.chunks():
        counts.add(chunk.cpu().double())
    uncounted = torch.cat((codes[:, :2], torch.zeros_like(codes[:, 2:])), 1)
    counted = merge_codes(torch.cat((uncounted, counts.table())))
    return torch.cat((counted[:, :2], counted[:, 2:].clamp(min=1)), 1)


def _warn_of_wild_cells(plan, likelihood):
    """Warn of cells that set the scale of their column; tells whether there are any."""
    cells = find_wild_cells(plan.rows, likelihood)
    if cells:
        names = plan.feature_names
        message = describe_wild_cells(
            cells, lambda n: f"column {n}" if names is None else f"{names[n]!r}"
        )
        warn_caller(message, OutlierWarning)
    return bool(cells)


def _refuse_changes(plan, fitted):
    """Raise ValueError unless a fitted model can be trained further as is now asked for."""
    new = {**plan.architecture._asdict(), "likelihood": repr(plan.likelihood)}
    old = {**fitted.architecture._asdict(), "likelihood": repr(fitted.likelihood)}
    changed = [f"{k}={new[k]!r} (fitted: {old[k]!r})" for k in new if new[k] != old[k]]
    if changed:
        raise ValueError(
            f"the fitted model cannot be trained further with {', '.join(changed)}. Keep "
            "what it was fitted with, or fit anew with warm_start=False."
        )
