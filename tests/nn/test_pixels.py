"""Pixels are told from tables by how neighbours go together, whatever the units."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sk_hvae.nn import DataSummary, Gaussian
from sk_hvae.nn.likelihoods.pixels import EvenSample, look_like_pixels


def rng():
    return np.random.default_rng(0)


def photographs(n_rows=300, height=12, width=10):
    """Smooth fields of one brightness each."""
    fields = gaussian_filter(rng().normal(size=(n_rows, height, width)), (0, 1.5, 1.5))
    return (fields + 0.5 * rng().normal(size=(n_rows, 1, 1))).reshape(n_rows, -1)


def in_colour(last):
    """The same in three shades, with the channels last or first."""
    grey = photographs().reshape(300, 12, 10, 1)
    image = grey * [1.0, 0.8, 1.2] + 0.2 * rng().normal(size=(300, 12, 10, 3))
    return (image if last else image.transpose(0, 3, 1, 2)).reshape(300, -1)


def walks(n_series, n_steps=1000):
    """Autoregressive series, (n_series, n_steps)."""
    steps, series = rng().normal(size=(n_series, n_steps)), np.zeros((n_series, n_steps))
    for t in range(1, n_steps):
        series[:, t] = 0.95 * series[:, t - 1] + steps[:, t]
    return series


def lags(series, n_lags, by_lag=False):
    """Lagged columns, series by series, or lag by lag."""
    windows = np.lib.stride_tricks.sliding_window_view(series, n_lags, axis=1)
    axes = (1, 2, 0) if by_lag else (1, 0, 2)
    return windows.transpose(axes).reshape(windows.shape[1], -1)


def one_hot(n_groups=8, n_categories=8):
    codes = (rng().integers(0, 8, (1000, 1)) + rng().integers(0, 3, (1000, n_groups))) % 8
    return np.eye(n_categories)[codes].reshape(1000, -1)


def questionnaire():
    """Eight scales of eight items."""
    return np.repeat(rng().normal(size=(500, 8)), 8, 1) + rng().normal(size=(500, 64))


def spectra():
    position, centres = np.linspace(0, 1, 128), rng().random((400, 6, 1))
    return np.exp(-(((position - centres) / 0.03) ** 2)).sum(1)


PIXELS = {
    "digits": lambda: load_digits().data,
    "few digits": lambda: load_digits().data[:60],
    "ink or none": lambda: load_digits().data > 0,
    "digits on their side": lambda: load_digits().images.transpose(0, 2, 1).reshape(-1, 64),
    "photographs": photographs,
    "negatives": lambda: 255 - photographs(),
    "channels first": lambda: in_colour(last=False),
    "channels last": lambda: in_colour(last=True),
}
TABLES = {
    "iris": lambda: load_iris().data,
    "wine": lambda: load_wine().data,
    "breast cancer": lambda: load_breast_cancer().data,
    "squares of breast cancer": lambda: np.hstack([load_breast_cancer().data[:, :16]] * 4),
    "one factor": lambda: rng().normal(size=(500, 1)) + 0.5 * rng().normal(size=(500, 64)),
    "five factors": lambda: rng().normal(size=(500, 5)) @ rng().normal(size=(5, 96)),
    "independent": lambda: rng().random((500, 100)),
    "one-hot": one_hot,
    "questionnaire": questionnaire,
    "lags of one series": lambda: lags(walks(1), 64),
    "lags of eight series": lambda: lags(walks(8), 8),
    "eight series lag by lag": lambda: lags(walks(8), 8, by_lag=True),
    "lags of series that go together": lambda: lags(2 * walks(1) + walks(9), 8),
    "spectra": spectra,
    "digits and their number": lambda: np.c_[load_digits().data, load_digits().target],
    "one column": lambda: rng().normal(size=(50, 1)),
}
CASES = [(name, True) for name in PIXELS] + [(name, False) for name in TABLES]


@pytest.mark.parametrize(("name", "are_pixels"), CASES)
def test_pixels_are_told_from_tables(name, are_pixels):
    X = {**PIXELS, **TABLES}[name]().astype(float)
    n_columns = X.shape[1]
    units = 10.0 ** rng().uniform(-6, 6, n_columns)
    versions = {
        "as they are": X,
        "with constants": X + rng().uniform(-100, 100, n_columns),
        "in [0, 1]": MinMaxScaler().fit_transform(X),
        "standardised": StandardScaler().fit_transform(X),
        "in other units": X * units,
    }
    found = {name: look_like_pixels(torch.tensor(version)) for name, version in versions.items()}
    # Columns in units of their own are a table, whatever they were before.
    assert found == {**dict.fromkeys(versions, are_pixels), "in other units": False}


@pytest.mark.parametrize(("name", "are_pixels"), [("digits", True), ("one factor", False)])
def test_missing_cells_do_not_matter(name, are_pixels):
    X = {**PIXELS, **TABLES}[name]().astype(float)
    X[rng().random(X.shape) < 0.4] = np.nan
    assert DataSummary.of([torch.tensor(X)]).has_shared_scale is are_pixels


def test_images_that_are_known_as_such_need_not_look_so():
    x = torch.randn(50, 4)
    assert DataSummary.of([x], are_pixels=True).has_shared_scale
    assert not DataSummary.of([x]).has_shared_scale
    assert not DataSummary.of([torch.ones(50, 4)], are_pixels=True).has_shared_scale


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_any_dtype(dtype):
    assert DataSummary.of([torch.tensor(load_digits().data).to(dtype)]).has_shared_scale


def test_a_likelihood_keeps_no_rows():
    summary = DataSummary.of([torch.tensor(load_digits().data)])
    assert summary.rows is not None
    assert Gaussian().adapt(summary).summary.rows is None


class TestEvenSample:
    @pytest.mark.parametrize("sizes", [[5000], [1] * 40 + [4960], [700] * 7 + [100]])
    def test_the_rows_do_not_depend_on_the_parts(self, sizes):
        rows, sample = torch.arange(5000)[:, None], EvenSample()
        for part in rows.split(sizes):
            sample.add(part)
        assert sample.rows[:, 0].tolist() == list(range(0, 5000, 8))

    def test_few_rows_are_all_taken(self):
        sample = EvenSample()
        for part in torch.arange(30.0)[:, None].split(7):
            sample.add(part)
        assert sample.rows[:, 0].tolist() == list(range(30))

    def test_wide_rows_are_few(self):
        sample = EvenSample()
        sample.add(torch.zeros(100, 2**18, dtype=torch.uint8))
        assert len(sample.rows) == 13


@pytest.mark.parametrize(("n_variables", "n_times"), [(8, 12), (10, 24)])
def test_variables_over_time_are_no_pixels(n_variables, n_times):
    """They fall off in two directions, as pixels do, but differ in units."""

    def autoregression(n, r):
        return np.linalg.cholesky(r ** np.abs(np.subtract.outer(np.arange(n), np.arange(n))))

    random = np.random.default_rng(0)
    noise = random.normal(size=(400, n_variables, n_times))
    panel = autoregression(n_variables, 0.7) @ noise @ autoregression(n_times, 0.8).T
    units = 1000 * 0.3 ** np.arange(n_variables)[:, None]
    X = torch.tensor((panel * units + 5 * units).reshape(400, -1))
    assert not look_like_pixels(X)
