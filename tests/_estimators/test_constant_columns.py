"""Constant columns are given back exactly, and are part of nothing else."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from skorch.callbacks import Callback

from sk_hvae import HierarchicalVAETransformer, HVAEClusterer, MultiRateHVAETransformer
from sk_hvae.nn import (
    Architecture,
    DataSummary,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    Likelihood,
    NegativeBinomial,
    build_hierarchy,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
]

TINY = {
    "n_components": 3,
    "hidden_layer_sizes": (8,),
    "max_epochs": 3,
    "batch_size": 64,
    "random_state": 0,
}


class StopAtOnce(Callback):
    """End training after the first epoch, as skorch's callbacks do."""

    def on_epoch_end(self, net, **kwargs):
        raise KeyboardInterrupt


class Laplace(Likelihood):
    """A likelihood of the user's own, as the documentation shows it."""

    def learn(self, summary):
        self.register_buffer("location", summary.mean.float())
        self.register_buffer("unit", summary.std.clamp(min=1e-6).float())
        self.log_scale = torch.nn.Parameter(torch.zeros(()))

    def link(self, x):
        return (x.float() - self.location) / self.unit

    @torch.no_grad()
    def fit_scale(self, x, parameters):
        self.log_scale.copy_((self.link(x) - parameters).abs().nanmean().log())

    def log_prob(self, x, parameters):
        error = (self.link(x) - parameters).abs() * (-self.log_scale).exp()
        return -error - self.log_scale - math.log(2) - self.unit.log()

    def mean(self, parameters):
        return parameters * self.unit + self.location

    def sample(self, parameters, noise):
        return self.mean(parameters + self.log_scale.exp() * noise(parameters))


def counts(seed=0):
    return np.random.default_rng(seed).poisson(3.0, (150, 6)).astype(float)


def binary():
    return (counts() > 3).astype(float)


def levels():
    return np.clip(counts(), 0, 15)


# Likelihood, data, and two constants that it can produce; columns 2 and 5 hold them.
KINDS = {
    "gaussian": ("gaussian", counts, (2024.0, 0.1)),
    "per feature": (Gaussian(sigma="per_feature"), counts, (2024.0, -1e-3)),
    "optimal": (Gaussian(sigma="optimal"), counts, (2024.0, 1e8)),
    "fixed, shared": (Gaussian(sigma=0.5, scaling="shared"), counts, (2024.0, -7.0)),
    "bernoulli": ("bernoulli", binary, (1.0, 0.0)),
    "intensity": ("bernoulli", binary, (0.1, 1.0)),
    "poisson": ("poisson", counts, (0.0, 7.0)),
    "negative binomial": (NegativeBinomial(), counts, (0.0, 1000.0)),
    "shared dispersion": (NegativeBinomial(dispersion="shared"), counts, (0.0, 1000.0)),
    "categorical": ("categorical", levels, (0.0, 3.0)),
    "levels": (DiscretizedLogistic(16), levels, (15.0, 6.0)),
    "mixture": (DiscretizedLogisticMixture(2, 16), levels, (0.0, 4.0)),
    "mixed": (
        [("gaussian", [0, 2]), ("poisson", [1, 5]), ("categorical", [3, 4])],
        levels,
        (2024.5, 3.0),
    ),
    "own": (Laplace(), counts, (2024.0, 0.5)),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
SHAPED = {"mixture": {"image_shape": (3, 1, 2), "network": "mlp"}}


def data_for(kind):
    likelihood, make, constants = KINDS[kind]
    X = make()
    X[:, [2, 5]] = constants
    return {"likelihood": likelihood, **SHAPED.get(kind, {})}, X, np.array(constants)


def assert_exact(decoded, constants):
    assert decoded.shape[1] == 6
    assert (decoded[:, [2, 5]] == constants).all()


@EVERY_KIND
@pytest.mark.parametrize("more", [{}, {"inference": "ladder", "top_layer": "categorical"}], ids=str)
def test_the_constant_comes_out_exactly(kind, more):
    params, X, constants = data_for(kind)
    model = HierarchicalVAETransformer((1, 1), **TINY, **params, **more).fit(X)
    for decoded in (
        model.sample(50),
        model.sample(50, mean=True),
        model.reconstruct(X),
        model.reconstruct(X, layer="top", resample=True),
        model.inverse_transform(model.transform(X)),
    ):
        assert_exact(decoded, constants)
    assert (model.sample(50)[:, [0, 1, 3, 4]].std(0) > 0).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mixture"])
def test_multi_rate_models_give_it_too(kind, coarse_plane):
    params, X, constants = data_for(kind)
    multi = MultiRateHVAETransformer((0.5, 4), layer_rates=(1, 1), **TINY, **params).fit(X)
    assert_exact(multi.sample(20), constants)
    assert_exact(multi.at((0.5, 2)).reconstruct(X), constants)
    fewer = X.copy()
    fewer[:, 2] = 0.0
    np.testing.assert_array_equal(multi.score_samples(fewer), multi.score_samples(X))


@EVERY_KIND
def test_clusterers_give_it_too(kind):
    params, X, constants = data_for(kind)
    clusterer = HVAEClusterer(2, n_init=1, **TINY, **params).fit(X)
    assert_exact(clusterer.cluster_centers_, constants)
    assert_exact(clusterer.sample(20, cluster=0), constants)


# A category that is not known is refused in any column.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "categorical"])
def test_other_values_in_new_rows_change_nothing(kind):
    params, X, _ = data_for(kind)
    model = HierarchicalVAETransformer((1, 1), **TINY, **params).fit(X)
    other = X.copy()
    other[:, 2], other[::2, 5] = 1.0, 1.0
    for method in ("transform", "score_samples", "rates", "distortion", "reconstruct"):
        np.testing.assert_array_equal(getattr(model, method)(other), getattr(model, method)(X))


@EVERY_KIND
def test_the_distortion_is_that_of_the_other_columns(kind):
    params, X, _ = data_for(kind)
    module = HierarchicalVAETransformer((1, 1), **TINY, **params).fit(X).module_
    x, z_1 = torch.tensor(X), torch.randn(150, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        parameters = module.decoder(z_1)
        cells = module.likelihood.log_prob(x, parameters)[:, [0, 1, 3, 4]]
        torch.testing.assert_close(module.distortion(x, parameters), -cells.sum(1))


@EVERY_KIND
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_missing_cells(kind, share):
    params, X, constants = data_for(kind)
    holes = X.copy()
    holes[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    holes[:, 2] = X[:, 2]
    model = HierarchicalVAETransformer((1, 1), missing="mask", **TINY, **params).fit(holes)
    assert_exact(model.reconstruct(holes), constants)
    new = holes.copy()
    new[: round(150 * share), [2, 5]] = np.nan
    assert_exact(model.reconstruct(new), constants)
    assert np.isfinite(model.score_samples(new)).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mixture"])
@pytest.mark.parametrize("estimator", [HierarchicalVAETransformer, MultiRateHVAETransformer])
def test_nothing_but_constants(kind, estimator, coarse_plane):
    params, X, _ = data_for(kind)
    X[:] = X[0]
    rates = {"layer_rates": (1, 1)}
    if estimator is MultiRateHVAETransformer:
        rates["rate_range"] = (0.5, 2)
    model = estimator(**rates, **TINY, **params).fit(X)
    for decoded in (model.sample(10), model.reconstruct(X)):
        np.testing.assert_array_equal(decoded, X[: len(decoded)].astype(decoded.dtype))
    assert (model.distortion(X) == 0).all()
    assert np.isfinite(model.transform(X)).all()


def test_a_clusterer_of_nothing_but_constants():
    clusterer = HVAEClusterer(2, n_init=1, **TINY).fit(np.full((60, 3), 7.5))
    assert (clusterer.cluster_centers_ == 7.5).all()


@pytest.mark.parametrize("sigma", ["learned", "optimal", "per_feature"])
def test_sigma_is_fitted_to_the_other_columns(sigma):
    torch.manual_seed(0)
    x = torch.randn(200, 3, dtype=torch.float64)
    summary = DataSummary.of([torch.cat((x, torch.full((200, 5), 2024.0)), 1)])
    with_constants, without = (
        build_hierarchy(Architecture((2,), (4,)), Gaussian(sigma).adapt(of))
        for of in (summary, DataSummary.of([x]))
    )
    parameters = 0.5 * torch.randn(200, 8)
    with_constants.fit_scale(torch.cat((x, torch.randn(200, 5)), 1), parameters)
    without.fit_scale(x, parameters[:, :3])
    found, expected = with_constants.likelihood.log_sigma, without.likelihood.log_sigma
    torch.testing.assert_close(found[:3] if sigma == "per_feature" else found, expected)


def test_the_score_does_not_depend_on_them(iris):
    # Without networks the models with and without are the same linear ones.
    plain = {**TINY, "hidden_layer_sizes": (), "max_epochs": 60}
    constant = np.c_[iris[:, :2], np.full(150, 2024.0), iris[:, 2:], np.zeros((150, 8))]
    model = HierarchicalVAETransformer((1, 2), **plain).fit(iris)
    more = HierarchicalVAETransformer((1, 2), **plain).fit(constant)
    assert more.score(constant) == pytest.approx(model.score(iris), abs=0.4)
    sigmas = [m.likelihood_.log_sigma.exp().item() for m in (model, more)]
    assert sigmas[0] == pytest.approx(sigmas[1], rel=0.1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, np.float16])
def test_new_rows_of_any_dtype(dtype):
    X = counts()
    X[:, [2, 5]] = 2024.0, 1e5
    model = HierarchicalVAETransformer((1, 1), **TINY).fit(X)
    new = X.copy()
    new[:, [2, 5]] = 1.0
    expected = model.transform(X)
    np.testing.assert_allclose(model.transform(new.astype(dtype)), expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(model.score(new.astype(dtype)))


def test_any_number_may_stand_in_a_constant_column(small, iris):
    model = small().fit(np.c_[iris, np.zeros(150)])
    wild = np.c_[iris, np.full(150, 1e300)]
    np.testing.assert_array_equal(
        model.transform(wild), model.transform(np.c_[iris, np.zeros(150)])
    )


@EVERY_KIND
def test_copies_files_and_graphs(kind, tmp_path):
    params, X, constants = data_for(kind)
    model = HierarchicalVAETransformer((1, 1), **TINY, **params).fit(X)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]  # noqa: S301
    if kind != "own":
        model.save(tmp_path / "model")
        twins.append(HierarchicalVAETransformer.load(tmp_path / "model"))
    for twin in twins:
        assert_exact(twin.sample(10), constants)
        np.testing.assert_array_equal(twin.score_samples(X), model.score_samples(X))
    assert not [name for name in model.module_.state_dict() if "constant" in name]
    if kind == "mixed":
        model.export_onnx(tmp_path / "encoder")
        other = X.copy()
        other[:, 2] = 1.0
        (z,) = InferenceSession(tmp_path / "encoder").run(None, {"X": other})
        np.testing.assert_allclose(z, model.transform(X), rtol=1e-4, atol=1e-5)
        model.export_onnx(tmp_path / "decoder", part="decoder")
        (decoded,) = InferenceSession(tmp_path / "decoder").run(None, {"Z": z})
        assert_exact(decoded, constants)


@pytest.mark.parametrize("n_constant", [0, 1, 40])
def test_they_are_no_part_of_the_budget(iris, n_constant):
    X = np.c_[iris, np.full((150, n_constant), 2024.0)]
    clusterer = HVAEClusterer(2, n_init=1, **TINY).fit(X)
    assert clusterer.history_["target_rates"][-1, 0] == pytest.approx(2 * 4)
    # 2.5 bits for each unit, of which there are no more than columns that vary.
    many = {**TINY, "n_components": 16, "max_epochs": 900, "callbacks": [StopAtOnce()]}
    model = HierarchicalVAETransformer((8,), **many).fit(X[:, 2:])
    assert model.history_["target_rates"][0, 0] < 8.1
