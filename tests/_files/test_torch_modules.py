"""to_torch gives transform and inverse_transform as torch modules, for gradients and programs."""

import numpy as np
import pytest
import torch
from every_kind import KINDS, make, rows_for
from sklearn.exceptions import NotFittedError

from sk_hvae import HierarchicalVAETransformer

pytestmark = [
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
    pytest.mark.usefixtures("coarse_plane"),
]


@pytest.mark.parametrize("name", KINDS)
def test_modules_do_what_the_methods_do(name):
    X = rows_for(KINDS[name])
    model = make(**KINDS[name]).fit(X)
    Z = model.transform(X)
    found = model.to_torch()(torch.from_numpy(X))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, Z, rtol=1e-5, atol=1e-5)
    decoded = model.to_torch("decoder")(torch.from_numpy(Z))
    expected = model.inverse_transform(Z)
    np.testing.assert_allclose(decoded, expected, rtol=1e-5, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("output_layers", ["top", 1, [1, 2]], ids=str)
@pytest.mark.parametrize("name", ["default", "multi-rate", "clusterer"])
def test_output_layers_are_honoured(name, output_layers):
    X = rows_for({})
    model = make(**KINDS[name]).fit(X).set_params(output_layers=output_layers)
    Z = model.transform(X)
    np.testing.assert_allclose(model.to_torch()(torch.from_numpy(X)), Z, rtol=1e-5, atol=1e-5)
    decoded = model.to_torch("decoder")(torch.from_numpy(Z))
    np.testing.assert_allclose(decoded, model.inverse_transform(Z), rtol=1e-5, atol=1e-4)


def test_a_multi_rate_model_is_taken_at_its_current_rates():
    X = rows_for({})
    model = make(**KINDS["multi-rate"]).fit(X).set_params(layer_rates=(3, 0.6))
    found = model.to_torch()(torch.from_numpy(X))
    np.testing.assert_allclose(found, model.at((3, 0.6)).transform(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int8, np.bool_])
def test_rows_may_have_any_dtype_of_fit(small, iris, dtype):
    X = iris.astype(dtype)
    model = small().fit(X)
    found = model.to_torch()(torch.from_numpy(X))
    np.testing.assert_allclose(found, model.transform(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["default", "one layer", "multi-rate", "clusterer", "conv"])
def test_gradients_are_those_of_finite_differences(name):
    X = np.random.default_rng(1).normal(size=(40, 48))
    model = make(**KINDS[name]).fit(X)
    x = torch.from_numpy(X[:2]).requires_grad_()
    weights = np.random.default_rng(2).normal(size=model.transform(X[:1]).shape[1])
    (model.to_torch()(x).double() @ torch.from_numpy(weights)).sum().backward()
    step, columns = 1e-2, [0, 7, 20, 47]
    moved = X[:1] + step * np.eye(48)[columns], X[:1] - step * np.eye(48)[columns]
    up, down = (model.transform(rows).astype(float) @ weights for rows in moved)
    expected = (up - down) / (2 * step)
    np.testing.assert_allclose(x.grad[0, columns], expected, rtol=0.05, atol=5e-3)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("name", ["default", "by column", "missing, by column", "clusterer"])
def test_programs_run_for_any_number_of_rows(name, part):
    X = rows_for(KINDS[name])
    model = make(**KINDS[name]).fit(X)
    rows, expected = X, model.transform(X)
    if part == "decoder":
        rows, expected = expected, model.inverse_transform(expected)
    module, n_rows = model.to_torch(part), torch.export.Dim("n_rows", min=1)
    example = torch.from_numpy(rows[:3])
    program = torch.export.export(module, (example,), dynamic_shapes=({0: n_rows},)).module()
    for n in (1, 2, 40):
        found = program(torch.from_numpy(rows[:n]))
        np.testing.assert_allclose(found, expected[:n], rtol=1e-5, atol=1e-5)


def test_the_copy_is_frozen_and_independent(small, iris):
    model = small().fit(iris)
    before = model.transform(iris)
    module = model.to_torch()
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert all(p.requires_grad for p in model.module_.parameters())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(model.transform(iris), before)
    kept = model.to_torch()
    model.partial_fit(iris)
    np.testing.assert_allclose(kept(torch.from_numpy(iris)), before, rtol=1e-5, atol=1e-5)


def test_what_is_refused(small, iris):
    with pytest.raises(NotFittedError):
        HierarchicalVAETransformer().to_torch()
    with pytest.raises(ValueError, match=r"part must be one of .*'encoder', 'decoder'.*'both'"):
        small().fit(iris).to_torch("both")
