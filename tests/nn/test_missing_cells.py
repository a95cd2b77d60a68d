import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch.distributions import Normal

from sk_hvae.nn import (
    Architecture,
    Bernoulli,
    Categorical,
    DataSummary,
    DiscretizedLogistic,
    Gaussian,
    NegativeBinomial,
    PerColumn,
    Poisson,
    build_hierarchy,
)
from sk_hvae.nn import missing as missing_module
from sk_hvae.nn.missing import MissingCells

NAN = math.nan


def normal_noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def factor_problem(n_rows, n_features, n_factors, share, seed=0):
    """Standardised rows of a factor analysis, with a share of NaN; mean and covariance too."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(n_features, n_factors))
    noise = rng.uniform(0.15, 0.45, n_features)
    scale = np.sqrt((loadings**2).sum(1) + noise)
    loadings, noise = loadings / scale[:, None], noise / scale**2
    mean = rng.normal(size=n_features)
    rows = mean + rng.normal(size=(n_rows, n_factors)) @ loadings.T
    rows += rng.normal(size=rows.shape) * np.sqrt(noise)
    missing = rng.random(rows.shape) < share
    covariance = loadings @ loadings.T + np.diag(noise)
    return rows, np.where(missing, NAN, rows), mean, covariance


def random_cells(n_features=6, n_factors=2, seed=0):
    """Cells with a random factor analysis, not fitted to anything."""
    rng = torch.Generator().manual_seed(seed)
    cells = MissingCells(torch.arange(n_features), torch.zeros(n_features))
    cells.mean.copy_(torch.randn(n_features, generator=rng))
    cells.loadings[:, :n_factors] = torch.randn(n_features, n_factors, generator=rng)
    cells.noise.copy_(0.1 + torch.rand(n_features, generator=rng))
    return cells


def fitted_cells(rows, seed=0):
    rows = torch.as_tensor(rows, dtype=torch.float32)
    cells = MissingCells(torch.arange(rows.shape[1]), torch.zeros(rows.shape[1]))
    cells.fit(rows, generator(seed))
    return cells


def moments(cells):
    """Mean and covariance that a factor analysis implies, float64 arrays."""
    loadings, noise = cells.loadings.double().numpy(), cells.noise.double().numpy()
    return cells.mean.double().numpy(), loadings @ loadings.T + np.diag(noise)


def conditional_means(rows, mean, covariance):
    """Rows with NaN replaced by the mean of a Gaussian given the rest of the row."""
    filled = rows.copy()
    for row in filled:
        missing = np.isnan(row)
        seen = ~missing
        weights = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[np.ix_(seen, missing)])
        row[missing] = mean[missing] + (row[seen] - mean[seen]) @ weights
    return filled


def log_likelihood(rows, mean, covariance):
    """Log density of what is seen of the rows, summed."""
    total = 0.0
    for row in rows:
        seen = ~np.isnan(row)
        if seen.any():
            part = covariance[np.ix_(seen, seen)]
            total += multivariate_normal(mean[seen], part).logpdf(row[seen])
    return total


def masked_model(x, likelihood, sizes=(3, 2), seed=0, **settings):
    """A model of data with missing cells, all weights away from their start."""
    likelihood.adapt(DataSummary.of([x]))
    torch.manual_seed(seed)
    model = build_hierarchy(Architecture(sizes, (6,), missing=True, **settings), likelihood)
    model.missing.fit(likelihood.link(x), generator())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def with_holes(x, share=0.3, seed=0):
    x = x.clone()
    x[torch.rand(x.shape, generator=generator(seed)) < share] = NAN
    return x


class TestFill:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("n_factors", [1, 2, 6])
    def test_missing_cells_get_their_mean_given_the_others(self, seed, n_factors):
        cells = random_cells(6, n_factors, seed)
        rows = with_holes(torch.randn(40, 6, generator=generator(seed)), 0.5, seed)
        expected = conditional_means(rows.double().numpy(), *moments(cells))
        np.testing.assert_allclose(cells.fill(rows), expected, rtol=1e-3, atol=1e-3)

    def test_many_columns_with_little_noise_are_filled_accurately(self):
        holes = factor_problem(50, 300, 3, 0.2)[1]
        cells = fitted_cells(holes)
        cells.noise.fill_(1e-3)
        expected = conditional_means(holes.astype(np.float32).astype(float), *moments(cells))
        np.testing.assert_allclose(cells.fill(torch.tensor(holes).float()), expected, atol=2e-5)

    def test_columns_that_determine_each_other_are_filled_accurately(self):
        codes = np.random.default_rng(0).integers(0, 2, (400, 24))
        rows = torch.tensor(2.0 * np.hstack([codes, 1 - codes]) - 1).float()
        holes = with_holes(rows)
        cells = fitted_cells(holes)
        expected = conditional_means(holes.double().numpy(), *moments(cells))
        np.testing.assert_allclose(cells.fill(holes), expected, atol=1e-5)

    def test_a_row_of_nothing_gets_the_mean(self):
        cells = random_cells()
        torch.testing.assert_close(cells.fill(torch.full((1, 6), NAN))[0], cells.mean)

    def test_complete_rows_and_cells_that_are_there_stay_as_they_are(self):
        cells = random_cells()
        complete = torch.randn(20, 6)
        assert torch.equal(cells.fill(complete), complete)
        holes = with_holes(complete)
        seen = ~holes.isnan()
        assert torch.equal(cells.fill(holes)[seen], complete[seen])

    def test_rows_do_not_see_each_other(self):
        cells, rows = random_cells(), with_holes(torch.randn(20, 6))
        torch.testing.assert_close(cells.fill(rows[3:4]), cells.fill(rows)[3:4])

    def test_cells_that_were_not_fitted_are_filled_with_zeros(self):
        cells = MissingCells(torch.arange(3), torch.zeros(3))
        assert torch.equal(cells.fill(torch.tensor([[1.0, NAN, 2.0]])), torch.tensor([[1.0, 0, 2]]))


class TestFit:
    @pytest.mark.parametrize("share", [0.0, 0.3])
    def test_mean_and_covariance_of_a_low_rank_gaussian_are_found(self, share):
        _, holes, mean, covariance = factor_problem(4000, 8, 2, share)
        found_mean, found = moments(fitted_cells(holes))
        np.testing.assert_allclose(found_mean, mean, atol=0.08)
        np.testing.assert_allclose(found, covariance, atol=0.1)

    def test_cells_are_filled_almost_as_well_as_with_the_true_covariance(self):
        rows, holes, mean, covariance = factor_problem(2000, 12, 3, 0.3)
        missing = np.isnan(holes)
        filled = fitted_cells(holes).fill(torch.tensor(holes).float()).numpy()
        best = conditional_means(holes, mean, covariance)

        def error(guess):
            return np.sqrt(np.square(guess - rows)[missing].mean())

        assert error(filled) < 1.02 * error(best)
        assert error(filled) < 0.8 * error(np.broadcast_to(mean, rows.shape))

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
    def test_more_iterations_raise_the_likelihood_of_what_is_seen(self, share, monkeypatch):
        _, holes, _, _ = factor_problem(400, 6, 2, share)
        achieved = []
        for n_iterations in (0, 1, 2, 5, 10, 20):
            monkeypatch.setattr(missing_module, "_N_ITERATIONS", n_iterations)
            achieved.append(log_likelihood(holes, *moments(fitted_cells(holes))))
        # The ridge on the loadings, which is not in the likelihood, may take a little.
        assert (np.diff(achieved) > -0.1).all()
        assert achieved[-1] > achieved[0] + 20

    def test_the_likelihood_ends_near_that_of_the_true_distribution(self):
        _, holes, mean, covariance = factor_problem(1000, 8, 2, 0.3)
        achieved = log_likelihood(holes, *moments(fitted_cells(holes)))
        assert achieved > log_likelihood(holes, mean, covariance) - 2

    def test_it_is_deterministic(self):
        _, holes, _, _ = factor_problem(300, 8, 2, 0.3)
        first, second = fitted_cells(holes), fitted_cells(holes)
        for name, value in first.state_dict().items():
            assert torch.equal(value, second.state_dict()[name]), name

    def test_torch_s_global_generator_is_left_alone(self):
        before = torch.get_rng_state()
        fitted_cells(factor_problem(50, 4, 2, 0.3)[1])
        assert torch.equal(torch.get_rng_state(), before)

    def test_the_seed_hardly_matters(self):
        _, holes, _, _ = factor_problem(1000, 8, 2, 0.3)
        filled = [fitted_cells(holes, s).fill(torch.tensor(holes).float()) for s in (0, 1)]
        np.testing.assert_allclose(*filled, atol=0.02)

    def test_a_column_with_a_single_value_is_filled_with_about_it(self):
        _, holes, _, _ = factor_problem(200, 5, 2, 0.2)
        holes[:, 2] = NAN
        holes[7, 2] = 1.5
        filled = fitted_cells(holes).fill(torch.tensor(holes).float())
        assert filled.isfinite().all()
        assert filled[7, 2] == 1.5
        assert (filled[:, 2] - 1.5).abs().max() < 0.5

    def test_a_column_without_any_value_does_no_harm(self):
        _, holes, _, _ = factor_problem(200, 5, 2, 0.2)
        alone = fitted_cells(holes[:, :4]).fill(torch.tensor(holes[:, :4]).float())
        holes[:, 4] = NAN
        filled = fitted_cells(holes).fill(torch.tensor(holes).float())
        assert filled.isfinite().all()
        np.testing.assert_allclose(filled[:, :4], alone, atol=0.05)

    def test_constant_columns_are_filled_with_the_constant(self):
        _, holes, _, _ = factor_problem(200, 5, 2, 0.2)
        holes[:, 1] = np.where(np.isnan(holes[:, 1]), NAN, 0.7)
        filled = fitted_cells(holes).fill(torch.tensor(holes).float())
        np.testing.assert_allclose(filled[:, 1], 0.7, atol=1e-4)

    def test_rows_of_nothing_do_no_harm(self):
        _, holes, _, _ = factor_problem(300, 5, 2, 0.2)
        more = np.concatenate((holes, np.full((30, 5), NAN)))
        for with_empty, without in zip(
            moments(fitted_cells(more)), moments(fitted_cells(holes)), strict=True
        ):
            np.testing.assert_allclose(with_empty, without, atol=0.02)

    @pytest.mark.parametrize("shape", [(2, 3), (3, 40), (1, 2), (5, 1)])
    def test_few_rows_or_columns_are_enough(self, shape):
        rows = with_holes(torch.randn(shape, generator=generator(1)))
        cells = fitted_cells(rows)
        assert all(buffer.isfinite().all() for buffer in cells.buffers())
        assert cells.fill(rows).isfinite().all()
        assert cells.noise.min() > 0

    def test_columns_that_copy_each_other_fill_each_other(self):
        column = torch.randn(200, 1, generator=generator())
        rows = torch.cat((column, column, -column), 1)
        holes = rows.clone()
        holes[:20, 0] = holes[20:40, 1] = holes[40:60, 2] = NAN
        np.testing.assert_allclose(fitted_cells(holes).fill(holes), rows, atol=0.02)


class TestMark:
    def test_marks_follow_the_data(self):
        cells = random_cells()
        rows = with_holes(torch.randn(20, 6))
        marked = cells.mark(rows)
        assert marked.shape == (20, 12)
        assert torch.equal(marked[:, :6], cells.fill(rows))
        assert torch.equal(marked[:, 6:], rows.isnan().float())

    def test_complete_rows_get_zeros_and_nothing_else(self):
        rows = torch.randn(20, 6)
        expected = torch.cat((rows, torch.zeros(20, 6)), 1)
        assert torch.equal(random_cells().mark(rows), expected)

    def test_categories_share_the_mark_of_their_column(self):
        x = torch.tensor([[0.0, 1, 2], [1, 0, 1], [0, NAN, 0], [NAN, 1, NAN]])
        likelihood = Categorical().adapt(DataSummary.of([x]))
        cells = MissingCells(likelihood.column_of_link, likelihood.summary.minimum)
        cells.fit(likelihood.link(x), generator())
        marked = cells.mark(likelihood.link(x))
        assert cells.n_marks == 3
        assert marked.shape == (4, 2 + 2 + 3 + 3)
        assert torch.equal(marked[:, 7:], x.isnan().float())
        assert torch.equal(marked[:2, :7], likelihood.link(x)[:2])

    def test_marks_are_in_the_order_of_the_data_whatever_that_of_the_link(self):
        x = torch.tensor([[0.0, 0.5, 2, 3], [1, NAN, 1, 2], [NAN, 1.5, NAN, NAN], [2, 0.5, 1, 0]])
        parts = [("gaussian", [1]), ("categorical", [2, 0]), ("poisson", [3])]
        likelihood = PerColumn(parts).adapt(DataSummary.of([x]))
        cells = MissingCells(likelihood.column_of_link, likelihood.summary.minimum)
        marks = cells.mark(likelihood.link(x))[:, likelihood.n_linked :]
        assert torch.equal(marks, x.isnan().float())

    def test_placeholders_stand_for_missing_raw_values_in_their_dtype(self):
        cells = MissingCells(torch.arange(2), torch.tensor([3.0, -1.0]))
        for dtype in (torch.float64, torch.float32, torch.float16):
            x = torch.tensor([[NAN, 5.0], [2.0, NAN]], dtype=dtype)
            expected = torch.tensor([[3.0, 5.0], [2.0, -1.0]], dtype=dtype)
            assert torch.equal(cells.complete(x), expected)

    def test_whole_numbers_have_nothing_missing(self):
        cells = MissingCells(torch.arange(2), torch.zeros(2))
        x = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
        assert torch.equal(cells.complete(x), x)


def counts(n_rows=30):
    return torch.poisson(torch.full((n_rows, 4), 3.0), generator=generator())


def levels(n_rows=30):
    return torch.randint(16, (n_rows, 4), generator=generator()).float()


LIKELIHOODS = pytest.mark.parametrize(
    ("likelihood", "data"),
    [
        (lambda: Gaussian(0.5), lambda: torch.randn(30, 4, generator=generator())),
        (Gaussian, lambda: torch.randn(30, 4, generator=generator()).double()),
        (lambda: Gaussian(scaling="quantile"), counts),
        (Bernoulli, lambda: torch.randn(30, 4, generator=generator()).gt(0).float()),
        (Categorical, lambda: levels() % 3),
        (Poisson, counts),
        (NegativeBinomial, counts),
        (lambda: DiscretizedLogistic(16), levels),
    ],
    ids=[
        "fixed",
        "learned",
        "quantile",
        "bernoulli",
        "categorical",
        "poisson",
        "negative",
        "levels",
    ],
)


class TestModel:
    @LIKELIHOODS
    @pytest.mark.parametrize("top_layer", ["gaussian", "categorical"])
    def test_distortion_sums_over_the_cells_that_are_there(self, likelihood, data, top_layer):
        complete = data()
        x = with_holes(complete)
        model = masked_model(x, likelihood(), top_layer=top_layer)

        output = model(x, normal_noise(0))

        parameters = model.decoder(output.latents[0])
        n_copies = len(parameters) // len(x)
        many = complete.repeat_interleave(n_copies, 0)
        cells = -model.likelihood.log_prob(many, parameters).view(len(x), n_copies, 4)
        weights = output.distortion.new_ones(len(x), 1)
        if top_layer == "categorical":
            weights = model.layers[1].posterior(model.activations(x), None).mean
        expected = torch.stack(
            [
                sum((w * cells[i, :, j]).sum() for j in range(4) if not x[i, j].isnan())
                for i, w in enumerate(weights)
                if not x[i].isnan().all()
            ]
        )
        torch.testing.assert_close(output.distortion[~x.isnan().all(1)], expected)

    @LIKELIHOODS
    def test_gradients_are_finite(self, likelihood, data):
        x = with_holes(data())
        x[0] = NAN
        model = masked_model(x, likelihood())
        output = model(x, normal_noise(0))
        (output.distortion + output.rates.sum(1)).mean().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    @LIKELIHOODS
    def test_the_scale_is_fitted_to_what_is_there(self, likelihood, data):
        x = with_holes(data())
        model = masked_model(x, likelihood())
        parameters = model.decoder(model.encode(x)[0])
        model.likelihood.fit_scale(x, parameters)
        assert all(p.isfinite().all() for p in model.likelihood.parameters())
        assert all(b.isfinite().all() for b in model.likelihood.buffers() if b.is_floating_point())

    def test_a_row_of_nothing_has_no_distortion(self):
        x = with_holes(torch.randn(30, 4, generator=generator()))
        model = masked_model(x, Gaussian(0.5))
        output = model(torch.full((2, 4), NAN), normal_noise(0))
        assert torch.equal(output.distortion, torch.zeros(2))
        assert output.rates.isfinite().all()
        assert all(z.isfinite().all() for z in model.encode(torch.full((2, 4), NAN)))

    def test_what_stands_for_a_missing_cell_does_not_matter(self):
        x = with_holes(torch.randn(30, 4, generator=generator()))
        model = masked_model(x, Gaussian(0.5))
        before = model(x, normal_noise(0))
        model.missing.placeholders.add_(100.0)
        torch.testing.assert_close(model(x, normal_noise(0)), before)

    def test_the_encoder_tells_a_missing_cell_from_one_that_equals_its_guess(self):
        x = with_holes(torch.randn(30, 4, generator=generator()))
        model = masked_model(x, Gaussian(0.5))
        guess = model.inputs(x)[:, :4] * model.likelihood.scale + model.likelihood.location
        filled = torch.where(x.isnan(), guess.float(), x)
        touched = x.isnan().any(1)
        hidden, other = model.activations(x).hidden, model.activations(filled).hidden
        torch.testing.assert_close(hidden[~touched], other[~touched])
        assert ((hidden - other).abs().amax(1)[touched] > 1e-3).all()
        torch.testing.assert_close(model.activations(x).linear, model.activations(filled).linear)

    def test_marks_of_columns_without_holes_in_training_say_nothing(self):
        x = torch.randn(30, 4, generator=generator())
        x[::3, 0] = torch.nan
        likelihood = Gaussian(0.5).adapt(DataSummary.of([x]))
        model = build_hierarchy(Architecture((3, 2), (6,), missing=True), likelihood)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        for seed in range(5):
            output = model(x, normal_noise(seed))
            (output.rates.sum() + output.distortion.sum()).backward()
            optimizer.step()
        for column in range(4):
            new = x.nan_to_num(0.5)
            new[:, column] = torch.nan
            inputs = model.inputs(new)
            unmarked = torch.cat((inputs[:, :4], torch.zeros(30, 4)), 1)
            is_told = not torch.equal(model.encoder(inputs).hidden, model.encoder(unmarked).hidden)
            assert is_told == (column == 0)

    def test_complete_data_have_the_distortion_of_a_model_that_knows_of_no_missing_cells(self):
        x = torch.randn(30, 4, generator=generator())
        model = masked_model(x, Gaussian(0.5))
        output = model(x, normal_noise(0))
        mean = model.decode(output.latents[0]).float()
        expected = -Normal(mean, 0.5).log_prob(x).sum(1)
        torch.testing.assert_close(output.distortion, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("sigma", ["optimal", "learned", "per_feature"])
    def test_sigma_is_the_error_on_the_cells_that_are_there(self, sigma):
        x = with_holes(torch.randn(30, 4, generator=generator()))
        model = masked_model(x, Gaussian(sigma))
        parameters = model.decoder(model.encode(x)[0]).detach()
        model.likelihood.fit_scale(x, parameters)
        error = (model.likelihood.link(x) - parameters).square().numpy()
        expected = np.sqrt(np.nanmean(error, axis=0 if sigma == "per_feature" else None))
        np.testing.assert_allclose(model.likelihood.log_sigma.detach().exp(), expected, rtol=1e-5)

    @pytest.mark.parametrize("sigma", ["optimal", "learned", "per_feature"])
    def test_a_batch_that_lacks_a_column_or_everything_leaves_sigma_finite(self, sigma):
        x = with_holes(torch.randn(30, 4, generator=generator()))
        likelihood = Gaussian(sigma).adapt(DataSummary.of([x]))
        for lacking in (slice(2, 3), slice(None)):
            batch = x[:5].clone()
            batch[:, lacking] = NAN
            likelihood.fit_scale(batch, torch.zeros(5, 4))
            assert likelihood.log_sigma.isfinite().all()

    def test_noise_of_rows_is_finite_and_reproducible(self):
        x = with_holes(torch.randn(30, 4, generator=generator()))
        model = masked_model(x, Gaussian(0.5))
        first, second = (model(x, model.row_noise(x)) for _ in range(2))
        assert torch.equal(first.distortion, second.distortion)
        assert first.distortion.isfinite().all()

    def test_bfloat16_products_do_not_spoil_what_is_filled_in(self):
        x = with_holes(torch.randn(30, 4, generator=generator()))
        model = masked_model(x, Gaussian(0.5))
        expected = model.inputs(x)
        with torch.autocast("cpu", torch.bfloat16):
            result = model.inputs(x)
        torch.testing.assert_close(result, expected)

    def test_the_state_is_saved_and_loaded(self):
        x = with_holes(torch.randn(30, 4, generator=generator()))
        model, other = (masked_model(x, Gaussian(0.5), seed=seed) for seed in (0, 1))
        model.missing.mean.add_(1.0)
        other.load_state_dict(model.state_dict())
        assert torch.equal(other.inputs(x), model.inputs(x))
