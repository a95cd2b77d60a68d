import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.nn import NegativeBinomial, Poisson

TINY = {"n_components": 3, "hidden_layer_sizes": 8, "max_epochs": 120, "random_state": 0}


@pytest.fixture(scope="module")
def visits():
    """Counts of two kinds of rows, watched for very different times."""
    rng = np.random.default_rng(0)
    years = np.exp(rng.normal(scale=0.7, size=200))
    rates = np.where(rng.random((200, 1)) < 0.5, [5.0, 30.0, 15.0], [30.0, 5.0, 15.0])
    table = pd.DataFrame(rng.poisson(rates * years[:, None]), columns=["gp", "clinic", "phone"])
    table.insert(1, "years", years)
    return table


def fit(X, likelihood):
    return HierarchicalVAETransformer((1, 2), likelihood=likelihood, **TINY).fit(X)


def largest_correlation(latents, exposure):
    varied = latents[:, latents.std(0) > 1e-6]
    return np.abs(np.corrcoef(varied.T, exposure)[-1, :-1]).max()


def test_latents_do_not_code_the_exposure(visits):
    plain = visits.drop(columns="years")
    log_years = np.log(visits["years"])
    without = largest_correlation(fit(plain, Poisson()).transform(plain), log_years)
    by_total = fit(plain, Poisson(exposure="total")).transform(plain)
    by_years = fit(visits, Poisson(exposure="years")).transform(visits)
    assert without > 0.6
    assert largest_correlation(by_total, log_years) < without / 2
    assert largest_correlation(by_years, log_years) < without / 2


def test_names_and_numbers_mean_the_same(visits):
    by_name = fit(visits, NegativeBinomial(exposure="years"))
    assert by_name.likelihood_.exposure == 1
    by_number = fit(visits, NegativeBinomial(exposure=1))
    np.testing.assert_array_equal(by_name.transform(visits), by_number.transform(visits))
    parts = [("gaussian", ["gp"]), (Poisson(exposure="years"), ["phone", "years", "clinic"])]
    assert fit(visits, parts).likelihood_.likelihoods[1].exposure == 1
    parts = [("gaussian", [0]), (Poisson(exposure=-3), [3, 1, 2])]
    assert fit(visits.to_numpy(), parts).likelihood_.likelihoods[1].exposure == 1


def test_rows_come_back_at_their_own_exposure_and_latents_at_the_mean(visits):
    # An array: what comes back from a frame of whole numbers is rounded to these.
    X, years = visits.to_numpy(), visits["years"].to_numpy()
    hvae = fit(X, Poisson(exposure=1))
    own, typical = hvae.reconstruct(X), hvae.inverse_transform(hvae.transform(X))
    np.testing.assert_allclose(own[:, 1], years, rtol=1e-5)
    np.testing.assert_allclose(typical[:, 1], years.mean(), rtol=1e-5)
    np.testing.assert_allclose(own, typical * (years / years.mean())[:, None], rtol=1e-4)
    np.testing.assert_allclose(hvae.sample(20)[:, 1], years.mean(), rtol=1e-5)


def test_sparse_and_dense_counts_agree(visits):
    X = visits.drop(columns="years").to_numpy(dtype=float)
    hvae = fit(X, Poisson(exposure="total"))
    np.testing.assert_array_equal(hvae.transform(sparse.csr_matrix(X)), hvae.transform(X))


def test_missing_counts_are_filled_in_at_the_exposure_of_the_row(visits):
    X = visits.to_numpy(dtype=float)
    many, few = X[:, 1].argmax(), X[:, 1].argmin()
    X[[many, few], 2] = np.nan
    hvae = HierarchicalVAETransformer(
        (1, 2), likelihood=Poisson(exposure=1), missing="mask", **TINY
    ).fit(X)
    filled = hvae.impute(X)
    assert filled[many, 2] > 5 * filled[few, 2]


def test_a_saved_model_knows_its_exposure(visits, tmp_path):
    pytest.importorskip("safetensors")
    hvae = fit(visits, Poisson(exposure="years"))
    hvae.save(tmp_path / "model.safetensors")
    loaded = HierarchicalVAETransformer.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.transform(visits), hvae.transform(visits))
    assert loaded.likelihood.exposure == "years"


@pytest.mark.parametrize("exposure", ["total", 1])
def test_onnx_gives_the_same_latents(visits, exposure, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    X = visits.to_numpy() if exposure == 1 else visits.drop(columns="years").to_numpy(dtype=float)
    hvae = fit(X, Poisson(exposure=exposure))
    hvae.export_onnx(tmp_path / "encoder.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    (latents, *_) = session.run(None, {"X": X})
    np.testing.assert_allclose(latents, hvae.transform(X), atol=1e-4)


def test_an_exposure_beside_its_counts_is_asked_for(visits):
    parts = [(Poisson(exposure="years"), ["gp", "clinic"]), ("gaussian", ["years", "phone"])]
    with pytest.raises(ValueError, match=r"'years' is not among the columns .* all columns, for"):
        fit(visits, parts)
    with pytest.raises(ValueError, match=r"names the columns \['year'\].*years"):
        fit(visits, Poisson(exposure="year"))


def test_an_exposure_of_zero_is_refused_by_name(visits):
    visits = visits.assign(years=visits["years"].where(visits.index != 3, 0.0))
    with pytest.raises(ValueError, match="'years' of X: the exposure of counts must be positive"):
        fit(visits, Poisson(exposure="years"))
