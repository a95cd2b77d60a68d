"""Whatever the shape, dtype, scale and parameters: a finite model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.nn import Gaussian

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.OutlierWarning"),
]

few = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def parameters(draw):
    n_layers = draw(st.integers(1, 3))

    def per_layer(numbers):
        return draw(st.tuples(*[numbers] * n_layers))

    values = per_layer(st.floats(0.05, 50))
    return {
        **draw(
            st.sampled_from(
                [{"layer_rates": values}, {"layer_rates": None, "betas": values}],
            )
        ),
        "n_components": draw(st.one_of(st.integers(1, 4), st.just(per_layer(st.integers(1, 4))))),
        "hidden_layer_sizes": draw(st.sampled_from([(), 3, (8,), (4, 4)])),
        "inference": draw(st.sampled_from(["top_down", "ladder"])),
        "batch_size": draw(st.integers(1, 40)),
        "early_stopping": draw(st.booleans()),
        "max_epochs": draw(st.integers(1, 3)),
        "random_state": draw(st.integers(0, 2**32 - 1)),
    }


def matrices(numbers, dtype):
    shapes = st.tuples(st.integers(2, 30), st.integers(1, 8))
    return hnp.arrays(dtype, shapes, elements=numbers)


scaled = st.builds(
    lambda X, scale, shift: X * scale + shift,
    matrices(st.floats(-1, 1), np.float64),
    st.sampled_from([1e-20, 1e-3, 1.0, 1e3, 1e20]),
    st.sampled_from([0.0, 1.0, -1e6]),
)
data = st.one_of(
    scaled,
    matrices(st.floats(-1e4, 1e4, width=16), np.float16),
    matrices(st.floats(-(2.0**99), 2.0**99, width=32), np.float32),
    matrices(st.integers(0, 255), np.uint8),
    matrices(st.integers(-(2**40), 2**40), np.int64),
    matrices(st.booleans(), np.bool_),
)
likelihoods = st.sampled_from(
    ["gaussian", Gaussian(sigma="per_feature", scaling="columns"), Gaussian(scaling="shared")]
)


def check(X, params):
    model = HierarchicalVAETransformer(**params)
    if params["early_stopping"] and len(X) == 2:
        with pytest.raises(ValueError, match="lower validation_fraction"):
            model.fit(X)
        return
    Z = model.fit_transform(X)
    n_layers = model.n_layers_
    assert Z.shape == (len(X), sum(model.n_components_))
    assert Z.dtype == np.float32
    assert np.isfinite(Z).all()
    assert model.rates_.shape == model.betas_.shape == (n_layers,)
    assert np.isfinite(model.rates_).all()
    assert (model.rates_ >= 0).all()
    assert (model.betas_ > 0).all()
    assert np.isfinite(model.betas_).all()
    assert np.isfinite(model.distortion_)
    assert np.isfinite(model.lower_bound_)
    assert all(np.isfinite(values).all() for values in model.history_.values())
    assert 1 <= model.n_iter_ <= params["max_epochs"]
    for decoded in (model.reconstruct(X), model.sample(3)):
        assert decoded.shape[1] == X.shape[1]
        assert np.isfinite(decoded).all()
    rates = model.rates(X)
    assert rates.shape == (len(X), n_layers)
    assert (rates >= 0).all()
    alone = np.concatenate([model.transform(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_allclose(alone, Z, rtol=1e-4, atol=1e-5 * max(1, np.abs(Z).max()))
    np.testing.assert_array_equal(model.transform(X), Z)


@few
@given(data, likelihoods, parameters())
def test_gaussian_fits_end_finite(X, likelihood, params):
    check(X, {**params, "likelihood": likelihood})


@few
@given(
    st.one_of(matrices(st.floats(0, 1), np.float64), matrices(st.booleans(), np.bool_)),
    parameters(),
)
def test_bernoulli_fits_end_finite(X, params):
    check(X, {**params, "likelihood": "bernoulli"})
    params |= {"early_stopping": False}
    samples = HierarchicalVAETransformer(**params, likelihood="bernoulli").fit(X).sample(20)
    # Numbers whose squares are too small for 64 bits do not differ to the model.
    is_constant = np.ptp(1.0 * X, axis=0) ** 2 == 0
    assert set(np.unique(samples[:, ~is_constant])) <= {0.0, 1.0}
    expected = np.broadcast_to(X[0, is_constant], samples[:, is_constant].shape)
    np.testing.assert_allclose(samples[:, is_constant], expected, atol=1e-150)


@few
@given(matrices(st.floats(-1, 1), np.float64), parameters(), st.randoms(use_true_random=False))
def test_partial_fits_end_finite(X, params, rng):
    model = HierarchicalVAETransformer(**params).partial_fit(X)
    for _ in range(3):
        model.partial_fit(X[rng.randrange(len(X)) :])
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.rates_).all()
    assert np.isfinite(model.lower_bound_)
    assert model.n_iter_ == 4
