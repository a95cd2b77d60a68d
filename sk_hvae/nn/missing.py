"""Missing cells: filled in by factor analysis before encoding, and left out of the distortion."""

import torch
from torch import Tensor, nn

from sk_hvae.nn.even_rows import even_rows

# More factors follow more of the correlations between columns, at a cost for every row that grows
# with the cube of their number.
_MAX_FACTORS = 32
# Rows are taken in blocks, the covariances of whose factors are so many numbers: 16 MB, however
# many rows there are.
_BLOCK_ELEMENTS = 4_000_000
# With fewer rows a factor, and with less of a ridge on the loadings, factors learn small tables by
# heart; examples/benchmarks/imputation.py measures how well cells come back.
_ROWS_PER_FACTOR, _RIDGE = 8, 5.0
# Steps of expectation maximisation, and of the search for the subspace where it starts. The first
# steps bring most of the gain, and nothing depends on an exact maximum.
_N_ITERATIONS, _N_SUBSPACE_ITERATIONS = 40, 10
# Least variance of the noise, on the scale of the link: columns that determine each other then
# leave equations that float32 can solve.
_MIN_NOISE = 1e-3


class MissingCells(nn.Module):
    """What stands for missing cells, which are NaN in raw data.

    The encoder reads their expectation given the cells that are there, under a factor
    analysis of the training data on the scale of the likelihood's link (Rubin & Thayer,
    Psychometrika 1982): x = mean + W y + noise of one variance per column, with at most 32
    factors y, or one for every 8 rows. Beside the data it reads which cells are missing.

    Parameters
    ----------
    column_of_link : Tensor of shape (n_linked,)
        Column of the data that each column of the link belongs to.
    placeholders : Tensor of shape (n_features,)
        A value for each column that the likelihood can produce.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn.missing import MissingCells
    >>> x = torch.randn(200, 1) * torch.tensor([1.0, 1.0, -1.0])
    >>> cells = MissingCells(torch.arange(3), torch.zeros(3))
    >>> cells.fit(x, torch.Generator().manual_seed(0))
    >>> cells.mark(torch.tensor([[2.0, torch.nan, -2.0]])).round()
    tensor([[ 2.,  2., -2.,  0.,  1.,  0.]])
    """

    column_of_link: Tensor
    placeholders: Tensor
    mean: Tensor
    loadings: Tensor
    noise: Tensor

    def __init__(self, column_of_link, placeholders):
        super().__init__()
        n_linked = len(column_of_link)
        self.register_buffer("column_of_link", column_of_link.clone())
        self.register_buffer("placeholders", placeholders.double())
        self.register_buffer("mean", torch.zeros(n_linked))
        self.register_buffer("loadings", torch.zeros(n_linked, min(n_linked, _MAX_FACTORS)))
        self.register_buffer("noise", torch.ones(n_linked))

    @property
    def n_marks(self):
        """Number of columns that mark missing cells."""
        return len(self.placeholders)

    def complete(self, x):
        """Put placeholders for the missing cells of raw data (b, n_features)."""
        return torch.where(x.isnan(), self.placeholders.to(x.dtype), x)

    def mark(self, linked):
        """Fill in linked data (b, n_linked), and append 1 for each missing cell, else 0."""
        missing = linked.isnan()
        marks = linked.new_zeros(linked.shape[0], self.n_marks)
        marks[:, self.column_of_link] = missing.float()
        return torch.cat((self.fill(linked), marks), 1)

    def fill(self, linked):
        """Replace NaN in linked data (b, n_linked) by its expectation given the rest."""
        if torch.compiler.is_exporting():
            return self._fill_rows(linked)
        if linked.device.type != "cpu":  # where to count the rows with holes is to wait for them
            blocks = linked.split(self.n_fit_rows)
            return torch.cat([self._fill_rows(block) for block in blocks])
        rows = linked.isnan().any(1).nonzero()[:, 0]
        if not len(rows):
            return linked
        blocks = linked[even_rows(rows)].split(self.n_fit_rows)
        filled = torch.cat([self._fill_rows(block) for block in blocks])
        return linked.index_copy(0, rows, filled[: len(rows)])

    @property
    def n_fit_rows(self):
        """Number of rows whose covariances of the factors are 4 million numbers."""
        return max(_BLOCK_ELEMENTS // self.loadings.shape[1] ** 2, 1)

    def _fill_rows(self, linked):
        with torch.autocast(linked.device.type, enabled=False):
            missing = linked.isnan()
            filled, seen = linked.masked_fill(missing, 0.0), ~missing
            solve = _solver(self._precision(seen))
            factors = solve(self._pull(filled, seen))
            # What the factors leave open corrects them where the precision is near singular.
            rest = (filled - self.mean - factors @ self.loadings.T) * (seen / self.noise)
            factors = factors + solve(rest @ self.loadings - factors)
            return torch.where(missing, self.mean + factors @ self.loadings.T, linked)

    @torch.no_grad()
    def fit(self, linked, generator):
        """Fit the factor analysis by expectation maximisation.

        Parameters
        ----------
        linked : Tensor of shape (b, n_linked)
            NaN where missing; ``n_fit_rows`` are enough.
        generator : torch.Generator
            Seeds the search for the principal subspace to start from, on the CPU.
        """
        seen = (~linked.isnan()).float()
        count = seen.sum(0).clamp(min=1)
        filled = linked.nan_to_num(0.0)
        self.mean.copy_(filled.sum(0) / count)
        residual = (filled - self.mean) * seen
        self.noise.copy_((residual.square().sum(0) / count).clamp(min=_MIN_NOISE))
        n_factors = min(self.loadings.shape[1], max(1, len(linked) // _ROWS_PER_FACTOR))
        self.loadings.zero_()
        self.loadings[:, :n_factors] = _principal_loadings(residual, n_factors, generator)
        ridge = _RIDGE * torch.eye(self.loadings.shape[1], device=linked.device)
        # Rows in which the same cells are missing have the same covariance of the factors.
        found = seen.cpu().unique(dim=0, return_inverse=True, return_counts=True)
        patterns, pattern, n_rows = (each.to(linked.device) for each in found)
        n_seen = patterns * n_rows[:, None]
        for _ in range(_N_ITERATIONS):
            covariance = _inverse_of_positive(self._precision(patterns))
            pull = self._pull(filled, seen)
            factors = (covariance[pattern] @ pull[:, :, None])[:, :, 0]
            squares = (factors[:, :, None] * factors[:, None, :]).flatten(1)
            spread = (n_seen.T @ covariance.flatten(1)).unflatten(1, covariance.shape[1:])
            gram = (seen.T @ squares).view_as(spread) + spread
            cross = ((filled - self.mean) * seen).T @ factors
            self.loadings.copy_(torch.linalg.solve(gram + ridge, cross))
            residual = (filled - self.mean - factors @ self.loadings.T) * seen
            spread = torch.einsum("dk,dkl,dl->d", self.loadings, spread, self.loadings)
            noise = (residual.square().sum(0) + spread) / count
            self.noise.copy_(noise.clamp(min=_MIN_NOISE))
            self.mean.add_(residual.sum(0) / count)

    def _precision(self, seen):
        """Return the precision of the factors (b, k, k) given which cells are seen."""
        n_factors = self.loadings.shape[1]
        products = self.loadings[:, :, None] * self.loadings[:, None, :]
        precision = ((seen / self.noise) @ products.flatten(1)).unflatten(1, (n_factors, n_factors))
        return precision + torch.eye(n_factors, device=seen.device)

    def _pull(self, filled, seen):
        """Return the product of the factors' precision with their mean, (b, k)."""
        return ((filled - self.mean) * (seen / self.noise)) @ self.loadings


def _solver(matrices):
    """Return a function that solves positive definite systems (b, k, k) for vectors (b, k)."""
    if torch.compiler.is_exporting():
        inverse = _inverse(matrices)
        return lambda vectors: (inverse @ vectors[:, :, None])[:, :, 0]
    root = torch.linalg.cholesky_ex(matrices).L
    return lambda vectors: torch.cholesky_solve(vectors[:, :, None], root)[:, :, 0]


def _inverse_of_positive(matrices):
    """Invert positive definite matrices (b, k, k)."""
    return torch.cholesky_inverse(torch.linalg.cholesky_ex(matrices).L)


def _inverse(matrices):
    """Invert by Gauss-Jordan elimination: graphs know no solvers, and this needs no pivots."""
    identity = torch.eye(matrices.shape[1])
    rows = torch.cat((matrices, identity.expand_as(matrices)), 2)
    for i, unit in enumerate(identity[:, :, None]):
        pivot = rows[:, i : i + 1] / rows[:, i : i + 1, i : i + 1]
        rows = rows - (rows[:, :, i : i + 1] - unit) * pivot
    return rows[:, :, matrices.shape[1] :]


def _principal_loadings(centred, n_factors, generator):
    """Find the principal directions by subspace iteration, scaled by their std."""
    basis = torch.randn(centred.shape[1], n_factors, generator=generator).to(centred)
    for _ in range(_N_SUBSPACE_ITERATIONS):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    return basis * (centred @ basis).square().mean(0).sqrt()
