"""Files with loss take the bits that the rates state, and decode to what the latents know."""

import io

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae._fit import progress
from sk_hvae.exceptions import CodecError

SMALL = {"n_components": 4, "hidden_layer_sizes": (16,), "max_epochs": 10, "random_state": 0}
# The fits are short.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::sk_hvae.exceptions.{name}")
    for name in ("RateTargetWarning", "ClusterWarning")
]


@pytest.fixture(scope="module")
def digits():
    return load_digits().data


@pytest.fixture(scope="module")
def model(digits):
    return HierarchicalVAETransformer((2, 8), **SMALL).fit(digits[:1200])


def test_files_take_the_bits_that_the_rates_state(model, digits):
    data = model.compress(digits, mode="lossy")
    assert 8 * len(data) / len(digits) == pytest.approx(model.rates_.sum(), rel=0.02)
    bits = model.code_length(digits, mode="lossy")
    assert 0 < 8 * len(data) - bits.sum() < 8 * 80
    few = 8 * len(model.compress(digits[:500], mode="lossy")) / 500
    assert few == pytest.approx(model.rates_.sum(), rel=0.05)


def test_rows_come_back_nearly_as_reconstructed(model, digits):
    X = digits[1200:]
    found = model.decompress(model.compress(X, mode="lossy"))
    assert found.dtype == model.reconstruct(X).dtype

    def error(again):
        return np.square(again - X).mean()

    lossless_means, of_mean = error(model.reconstruct(X)), error(digits[:1200].mean(0))
    assert lossless_means < error(found) < lossless_means + 0.5 * (of_mean - lossless_means)


def test_steps_trade_bits_for_errors(model, digits):
    X, points = digits[1200:], []
    for step in (0.05, 1, 3, 9, 1e6):
        again = model.decompress(model.compress(X, mode="lossy", step=step))
        bits = model.code_length(X, mode="lossy", step=step).mean()
        points.append((bits, np.square(again - X).mean()))
    bits, errors = np.array(points).T
    assert (np.diff(bits) < 0).all()
    assert (np.diff(errors) > 0).all()
    assert bits[-1] < 0.01
    fine = model.decompress(model.compress(X, mode="lossy", step=0.01))
    np.testing.assert_allclose(fine, model.reconstruct(X), atol=0.15)


def test_a_bit_buys_more_than_in_principal_components(digits):
    train, X = digits[:1200], digits[1200:]
    model = HierarchicalVAETransformer((2, 8), max_epochs=60, random_state=0).fit(train)
    error = np.square(model.decompress(model.compress(X, mode="lossy")) - X).mean()
    pca = PCA(8).fit(train)
    rounded = np.rint(pca.transform(X) / 16)
    # The entropy of the rounded scores of the very rows: less than any code for them can take.
    bits = 0.0
    for column in rounded.T:
        shares = np.unique(column, return_counts=True)[1] / len(X)
        bits -= shares @ np.log2(shares)
    assert bits > 11
    assert error < np.square(pca.inverse_transform(rounded * 16) - X).mean()


KINDS = {
    "states on top": {"top_layer": "categorical"},
    "states only": {"layer_rates": 2.0, "top_layer": "categorical"},
    "one layer": {"layer_rates": 4.0},
    "three layers, ladder": {"layer_rates": (1, 2, 3), "inference": "ladder"},
    "convolutions": {"network": "fully-conv", "image_shape": (1, 8, 8)},
    "counts": {"likelihood": "negative_binomial"},
}


@pytest.mark.parametrize("name", KINDS)
def test_all_models_can_lose(name, digits):
    X = digits[:300]
    fast = {**SMALL, "max_epochs": 2}
    model = HierarchicalVAETransformer(**{**fast, **KINDS[name]}).fit(X)
    data = model.compress(X, mode="lossy", step=2)
    found = model.decompress(data)
    assert found.shape == X.shape
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(model.decompress(data, rows=slice(40, 50)), found[40:50])


def test_frames_come_back_filled_in(tmp_path):
    rng = np.random.default_rng(0)
    size = rng.normal(size=400)
    frame = pd.DataFrame(
        {
            "size": size.round(2),
            "kind": np.where(size > 0, "big", "small"),
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta((9 * size).round(), unit="D"),
        }
    )
    frame.loc[::9, "kind"] = None
    model = HierarchicalVAETransformer(6, **{**SMALL, "max_epochs": 60}).fit(frame)
    data = model.compress(frame, mode="lossy")
    found = model.decompress(data)
    assert found.dtypes.equals(frame.dtypes)
    assert not found.isna().to_numpy().any()
    known = frame["kind"].notna()
    assert (found["kind"] == frame["kind"])[known].mean() > 0.9
    assert found["size"].corr(frame["size"]) > 0.9
    unseen = frame[:5].assign(kind="huge")
    assert len(model.decompress(model.compress(unseen, mode="lossy"))) == 5
    model.save(tmp_path / "model")
    again = HierarchicalVAETransformer.load(tmp_path / "model")
    assert again.compress(frame, mode="lossy") == data
    pd.testing.assert_frame_equal(again.decompress(data), found)


def test_clusterers_and_models_at_rates_can_lose(digits):
    X = digits[:300]
    clusterer = HVAEClusterer(3, **SMALL).fit(X)
    assert clusterer.decompress(clusterer.compress(X, mode="lossy")).shape == X.shape
    multi = MultiRateHVAETransformer(**{**SMALL, "max_epochs": 2}).fit(X)
    one, other = multi.at((2, 4)), multi.at((2, 5))
    data = one.compress(X, mode="lossy")
    assert one.decompress(data).shape == X.shape
    with pytest.raises(CodecError, match="another model"):
        other.decompress(data)


def test_damage_is_told(model, digits):
    data = model.compress(digits[:40], mode="lossy")
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        with pytest.raises(CodecError):
            model.decompress(damaged)
        with pytest.raises(CodecError):
            model.decompress(data[: rng.integers(len(data))])


def test_a_row_is_coded_by_itself(model, digits):
    whole = model.code_length(digits, mode="lossy", step=3)
    # Signals are those of the rows at hand, so that rows are repeated for others of the same.
    np.testing.assert_allclose(
        model.code_length(np.tile(digits, (2, 1)), mode="lossy", step=3)[: len(digits)], whole
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mode": "best"}, "mode must be 'lossless' or 'lossy'; got 'best'"),
        ({"step": 2}, "step is for mode='lossy' only"),
        ({"mode": "lossy", "resolution": 0.1}, "resolution is for mode='lossless' only"),
        ({"mode": "lossy", "step": 0}, "step must be None, or a number from 1e-06 to 1e"),
        ({"mode": "lossy", "step": "wide"}, "got 'wide'"),
        ({"mode": "lossy", "step": float("nan")}, "got nan"),
    ],
)
def test_wrong_parameters_are_told(params, message, model, digits):
    for method in (model.compress, model.code_length):
        with pytest.raises(ValueError, match=message):
            method(digits[:5], **params)


def test_the_refusal_of_real_numbers_names_the_lossy_mode(model, digits):
    noisy = digits + np.random.default_rng(0).normal(size=digits.shape)
    real = HierarchicalVAETransformer(4, **{**SMALL, "max_epochs": 1}).fit(noisy)
    with pytest.raises(ValueError, match=r"resolution=0\.001, or use mode='lossy'"):
        real.compress(noisy)
    assert len(real.compress(noisy, mode="lossy")) < len(noisy)


def test_progress_is_shown(model, digits, capsys, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    model.set_params(verbose=1)
    out = io.BytesIO()
    model.compress(digits, mode="lossy", out=out)
    out.seek(0)
    model.decompress(out, rows=slice(5))
    model.set_params(verbose=0)
    shown = capsys.readouterr().err
    assert "compress 1797/1797 rows" in shown
    assert "decompress 5/5 rows" in shown
