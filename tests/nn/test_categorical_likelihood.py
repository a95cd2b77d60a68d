import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import chisquare

from sk_hvae.nn.likelihoods import Bernoulli, Categorical, DataSummary

SIZES = (3, 1, 5, 2)


def adapted(x):
    return Categorical().adapt(DataSummary.of([torch.as_tensor(x)]))


def codes(n_rows=200, seed=0):
    """Codes of columns with different numbers of categories, some of them rare."""
    rng = np.random.default_rng(seed)
    x = np.minimum(rng.geometric(0.5, size=(n_rows, len(SIZES))) - 1, np.array(SIZES) - 1)
    x[0] = np.array(SIZES) - 1
    return x.astype(float)


def random_parameters(n_rows, scale=2.0):
    return scale * torch.randn(n_rows, sum(SIZES), generator=torch.Generator().manual_seed(1))


def log_probabilities(likelihood, parameters):
    """List of arrays (b, K_j), by scipy."""
    logits = (parameters + likelihood.bias).double().numpy()
    ends = np.cumsum(SIZES)[:-1]
    return [log_softmax(part, axis=1) for part in np.split(logits, ends, axis=1)]


class TestDensity:
    @pytest.mark.parametrize(
        "dtype", [torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64]
    )
    def test_log_prob_is_the_log_softmax_at_the_code(self, dtype):
        x = codes()
        likelihood = adapted(torch.tensor(x).to(dtype))
        likelihood.check(torch.tensor(x).to(dtype))
        likelihood.bias.copy_(torch.linspace(-1, 1, sum(SIZES)))
        parameters = random_parameters(len(x))
        rows = np.arange(len(x))
        expected = np.stack(
            [
                p[rows, x[:, j].astype(int)]
                for j, p in enumerate(log_probabilities(likelihood, parameters))
            ],
            1,
        )
        result = likelihood.log_prob(torch.tensor(x).to(dtype), parameters)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)

    def test_parameters_of_zero_give_equal_probabilities_at_first(self):
        x = codes()
        likelihood = adapted(x)
        result = likelihood.log_prob(torch.tensor(x), torch.zeros(len(x), sum(SIZES)))
        expected = -torch.tensor(SIZES).log().expand(len(x), -1)
        torch.testing.assert_close(result, expected)

    @pytest.mark.parametrize("scale", [1e4, 1e30])
    def test_extreme_parameters_have_finite_densities_and_gradients(self, scale):
        x = torch.tensor(codes())
        parameters = random_parameters(len(x), scale).requires_grad_()
        log_prob = adapted(x).log_prob(x, parameters)
        log_prob.sum().backward()
        assert log_prob.isfinite().all()
        assert parameters.grad.isfinite().all()

    def test_gradients_are_those_of_cross_entropy(self):
        x = torch.tensor(codes())
        parameters = random_parameters(len(x)).requires_grad_()
        adapted(x).log_prob(x, parameters).sum().backward()
        found, parameters.grad = parameters.grad, None
        parts = parameters.split(SIZES, 1)
        for j, part in enumerate(parts):
            torch.nn.functional.cross_entropy(
                part, x[:, j].long(), reduction="sum"
            ).neg().backward()
        torch.testing.assert_close(found, parameters.grad)


class TestLink:
    def test_columns_of_the_link_are_the_categories_in_turn(self):
        likelihood = adapted(codes())
        assert likelihood.n_linked == likelihood.n_outputs == sum(SIZES)
        assert likelihood.column_of_link.tolist() == [0] * 3 + [1] + [2] * 5 + [3] * 2

    def test_it_is_a_smoothed_one_hot_code(self):
        x = codes()
        linked = adapted(x).link(torch.tensor(x)).double().numpy()
        for part, column in zip(
            np.split(linked, np.cumsum(SIZES)[:-1], axis=1), x.astype(int).T, strict=True
        ):
            k = part.shape[1]
            smoothed = 0.9 * np.eye(k)[column] + 0.1 / k
            expected = np.log(smoothed) - np.log(smoothed).mean(1, keepdims=True)
            np.testing.assert_allclose(part, expected, atol=1e-5)

    def test_rounding_errors_in_codes_do_not_matter(self):
        x = torch.tensor(codes())
        off = x - 9e-7 * (x > 0)
        likelihood = adapted(x)
        likelihood.check(off)
        parameters = random_parameters(len(x))
        assert torch.equal(likelihood.link(off), likelihood.link(x))
        assert torch.equal(likelihood.log_prob(off, parameters), likelihood.log_prob(x, parameters))

    def test_two_categories_count_as_for_bernoulli(self):
        x = torch.tensor([[0.0], [1.0]])
        linked = adapted(x).link(x)
        bernoulli = Bernoulli().adapt(DataSummary.of([x])).link(x)
        torch.testing.assert_close(linked[:, 1:] - linked[:, :1], bernoulli)

    def test_missing_cells_are_missing_in_all_their_categories(self):
        x = torch.tensor(codes())
        missing = torch.rand(x.shape) < 0.3
        likelihood = adapted(x)
        with_gaps = x.masked_fill(missing, math.nan)
        likelihood.check(with_gaps)
        linked = likelihood.link(with_gaps)
        assert torch.equal(linked.isnan(), missing[:, likelihood.column_of_link])
        seen = ~linked.isnan()
        assert torch.equal(linked[seen], likelihood.link(x)[seen])


class TestFitScale:
    def test_mean_probabilities_become_the_frequencies(self):
        x = codes()
        likelihood = adapted(x)
        parameters = random_parameters(len(x), 0.5)
        likelihood.fit_scale(torch.tensor(x), parameters)
        for j, p in enumerate(log_probabilities(likelihood, parameters)):
            frequencies = np.bincount(x[:, j].astype(int), minlength=SIZES[j]) / len(x)
            np.testing.assert_allclose(np.exp(p).mean(0), frequencies, atol=2e-3)

    def test_it_does_not_depend_on_an_earlier_fit(self):
        x = torch.tensor(codes())
        once, twice = adapted(x), adapted(x)
        twice.fit_scale(x.flip(1).clamp(max=x.amax(0)), random_parameters(len(x), 5.0))
        for likelihood in (once, twice):
            likelihood.fit_scale(x, torch.zeros(len(x), sum(SIZES)))
        assert torch.equal(once.bias, twice.bias)

    def test_it_improves_the_likelihood(self):
        x = torch.tensor(codes())
        likelihood = adapted(x)
        parameters = random_parameters(len(x), 0.5)
        before = likelihood.log_prob(x, parameters).sum()
        likelihood.fit_scale(x, parameters)
        fitted = likelihood.log_prob(x, parameters).sum()
        assert fitted > before + 10
        best = likelihood.bias.clone()
        for category in range(sum(SIZES)):
            for step in (-0.3, 0.3):
                likelihood.bias.copy_(best)
                likelihood.bias[category] += step
                assert likelihood.log_prob(x, parameters).sum() < fitted + 1e-3

    def test_missing_cells_do_not_count(self):
        x = torch.tensor(codes())
        gaps = torch.full_like(x, math.nan)
        gaps[:, 2] = x[:, 2]
        likelihood, other = adapted(x), adapted(x)
        likelihood.fit_scale(x, torch.zeros(len(x), sum(SIZES)))
        other.fit_scale(torch.cat((x, gaps)), torch.zeros(2 * len(x), sum(SIZES)))
        torch.testing.assert_close(other.bias, likelihood.bias, atol=0.02, rtol=0.02)

    def test_categories_and_columns_that_the_batch_lacks_stay_possible(self):
        likelihood = adapted(codes())
        x = torch.zeros(5, 4)
        x[:, 2] = math.nan
        likelihood.fit_scale(x, torch.zeros(5, sum(SIZES)))
        assert likelihood.bias.isfinite().all()
        assert (likelihood.bias[4:9] == 0).all()


class TestMeanAndSample:
    def test_the_mean_is_the_first_of_the_most_probable_categories(self):
        x = codes()
        likelihood = adapted(x)
        parameters = random_parameters(len(x))
        expected = np.stack([p.argmax(1) for p in log_probabilities(likelihood, parameters)], 1)
        result = likelihood.mean(parameters)
        assert result.dtype == torch.float32
        np.testing.assert_array_equal(result, expected)
        assert (likelihood.mean(torch.zeros(1, sum(SIZES))) == 0).all()

    def test_probabilities_are_the_softmax_of_the_logits(self):
        likelihood = adapted(codes())
        likelihood.bias.copy_(torch.linspace(-1, 1, sum(SIZES)))
        parameters = random_parameters(20)
        expected = np.exp(np.hstack(log_probabilities(likelihood, parameters)))
        np.testing.assert_allclose(likelihood.probabilities(parameters), expected, rtol=1e-5)
        column, code = likelihood.nominal_categories.T
        np.testing.assert_array_equal(column, np.repeat(range(len(SIZES)), SIZES))
        np.testing.assert_array_equal(code, np.concatenate([range(size) for size in SIZES]))

    def test_the_mean_of_a_mixture_is_its_most_probable_category(self):
        likelihood = adapted(codes())
        parameters, weights = random_parameters(4), torch.tensor([[0.4, 0.35, 0.25, 0.0]])
        parts = [np.exp(p) for p in log_probabilities(likelihood, parameters)]
        expected = [int((weights.numpy() @ p).argmax()) for p in parts]
        assert likelihood.mixed_mean(weights, parameters).tolist() == [expected]
        alone = likelihood.mixed_mean(torch.eye(4), parameters)
        assert torch.equal(alone, likelihood.mean(parameters))

    def test_draws_follow_the_density(self):
        n = 20_000
        likelihood = adapted(codes())
        likelihood.bias.copy_(torch.linspace(-1, 1, sum(SIZES)))
        parameters = random_parameters(1, 1.0)
        torch.manual_seed(0)
        draws = likelihood.sample(parameters.expand(n, -1), torch.randn_like)
        assert draws.dtype == torch.float32
        for j, p in enumerate(log_probabilities(likelihood, parameters)):
            found = np.bincount(draws[:, j].int(), minlength=SIZES[j])
            if SIZES[j] > 1:
                assert chisquare(found, n * np.exp(p[0])).pvalue > 0.01

    def test_the_same_noise_gives_the_same_draws(self):
        likelihood = adapted(codes())
        torch.manual_seed(0)
        noise = torch.randn(10, sum(SIZES))
        first, second = (likelihood.sample(noise, lambda _: noise) for _ in range(2))
        assert torch.equal(first, second)


GAPS = torch.tensor([[0.0, -3.0, 7.0], [40.0, 2.0**40, 7.0], [300.0, 5.0, 7.0], [40.0, 5.0, 7.0]])
KNOWN = [[0, 40, 300], [-3, 5, 2**40], [7]]


class TestCodesWithGaps:
    """Categories are the codes that were seen, whatever their numbers."""

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
    def test_only_codes_that_were_seen_are_categories(self, dtype):
        likelihood = adapted(GAPS.to(dtype))
        assert likelihood.n_linked == 7
        assert likelihood.column_of_link.tolist() == [0, 0, 0, 1, 1, 1, 2]
        likelihood.check(GAPS.to(dtype))
        hits = likelihood.link(GAPS.to(dtype)) > 0
        expected = [
            [code == x for known, x in zip(KNOWN, row, strict=True) for code in known]
            for row in GAPS
        ]
        assert hits[:, :6].tolist() == [row[:6] for row in expected]

    def test_densities_means_and_fits_are_those_of_the_codes_in_order(self):
        ranks = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
        likelihood, other = adapted(GAPS), adapted(ranks)
        parameters = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
        for each, x in [(likelihood, GAPS), (other, ranks)]:
            each.fit_scale(x, parameters)
        assert torch.equal(likelihood.bias, other.bias)
        assert torch.equal(likelihood.log_prob(GAPS, parameters), other.log_prob(ranks, parameters))
        codes = likelihood.mean(parameters)
        assert codes.dtype == torch.float64
        for column, known in enumerate(KNOWN):
            expected = torch.tensor(known)[other.mean(parameters)[:, column].long()]
            assert torch.equal(codes[:, column].long(), expected)

    def test_draws_are_codes_that_were_seen_as_often_as_they_are_probable(self):
        likelihood = adapted(GAPS)
        torch.manual_seed(0)
        parameters = torch.randn(1, 7)
        draws = likelihood.sample(parameters.expand(20_000, -1), torch.randn_like)
        for column, part in enumerate(parameters[0].split([3, 3, 1])):
            found = [(draws[:, column] == code).sum().item() for code in KNOWN[column]]
            assert sum(found) == len(draws)
            if len(found) > 1:
                assert chisquare(found, len(draws) * part.double().softmax(0)).pvalue > 0.01

    def test_codes_come_in_chunks_with_missing_cells(self):
        rng = np.random.default_rng(0)
        x = rng.choice([-7.0, 0.0, 3.0, 1e6, np.nan], size=(500, 3))
        x[:, 2] = rng.integers(0, 300, 500)
        parts = [torch.tensor(part) for part in np.array_split(x, 7)]
        codes = DataSummary.of(parts).codes
        for column in range(3):
            expected = np.unique(x[~np.isnan(x[:, column]), column])
            np.testing.assert_array_equal(codes[codes[:, 0] == column, 1], expected)

    def test_only_the_columns_asked_for_have_codes(self):
        chunk = torch.rand(50, 4).round()
        assert DataSummary.of([chunk], coded=[]).codes.shape == (0, 3)
        some = DataSummary.of([chunk], coded=[3, 1]).codes
        assert some[:, :2].tolist() == [[1, 0], [1, 1], [3, 0], [3, 1]]

    def test_columns_are_picked_in_any_order(self):
        summary = DataSummary.of([GAPS]).of_columns(torch.tensor([2, 0]))
        assert summary.codes.tolist() == [[0, 7, 4], [1, 0, 1], [1, 40, 2], [1, 300, 1]]

    def test_memory_is_bounded(self, monkeypatch):
        monkeypatch.setattr("sk_hvae.nn.likelihoods.codes.MOST_CODES", 5000)
        chunks = (torch.arange(n, n + 4000.0)[:, None] for n in range(0, 40_000, 4000))
        assert len(DataSummary.of(chunks).codes) == 5001

    def test_a_summary_without_codes_has_all_up_to_the_largest(self):
        summary = DataSummary.of([torch.tensor([[0.0, 1.0], [2.0, 3.0]])])._replace(codes=None)
        likelihood = Categorical().adapt(summary)
        assert likelihood.code.tolist() == [0, 1, 2, 0, 1, 2, 3]


class TestErrors:
    def test_what_is_no_code_is_refused(self):
        match = (
            "column 0 of X: likelihood='categorical' needs whole numbers; found 0.5. Encode "
            "categories as whole numbers"
        )
        with pytest.raises(ValueError, match=match):
            adapted([[2.0], [0.5]])
        with pytest.raises(ValueError, match=match):
            adapted([[2.0], [0.0]]).check(torch.tensor([[2.0], [0.5]]))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
    @pytest.mark.parametrize(("unknown", "column"), [(4, 0), (-1, 0), (10**6, 1), (3, 1)])
    def test_unknown_codes_are_refused(self, unknown, column, dtype):
        likelihood = adapted([[2.0, 4.0], [0.0, 0.0]])
        x = torch.tensor([[2, 4], [0, 0]], dtype=dtype)
        likelihood.check(x)
        x[1, column] = unknown
        known = "0, 2" if column == 0 else "0, 4"
        match = (
            rf"column {column} of X: likelihood='categorical' knows the codes {known}; found "
            rf"{unknown}\. Fit on rows that have all categories, or mark .* NaN .* missing='mask'"
        )
        with pytest.raises(ValueError, match=match):
            likelihood.check(x)

    def test_missing_cells_are_no_unknown_codes(self):
        adapted([[2.0, 4.0], [1.0, 5.0]]).check(torch.tensor([[math.nan, 4.0]]))

    def test_many_known_codes_are_shortened(self):
        likelihood = adapted(torch.arange(0, 400, 2)[:, None])
        match = r"knows the codes 0, 2, 4, 6, 8, 10, 12, 14, \.\.\., 398 \(200 in all\); found 3\."
        with pytest.raises(ValueError, match=match):
            likelihood.check(torch.tensor([[3]]))

    def test_codes_that_float32_confuses_are_told_apart(self):
        likelihood = adapted(torch.tensor([[2**24], [2**24 + 2]]))
        with pytest.raises(ValueError, match=f"found {2**24 + 1}"):
            likelihood.check(torch.tensor([[2**24 + 1]]))

    def test_too_many_codes_are_refused(self):
        assert adapted([[9999]]).n_linked == 1
        match = r"column 1 of X: .* takes 1,000,000 different codes; found more\. Leave the column"
        with pytest.raises(ValueError, match=match):
            adapted(torch.arange(1_000_001)[:, None] * torch.tensor([[0, 3]]))

    def test_codes_beyond_what_float64_tells_apart_are_refused(self):
        with pytest.raises(ValueError, match=r"column 0 of X: .* needs data in \[-9.*e\+15, 9"):
            adapted(torch.tensor([[0.0], [1e20]]))
