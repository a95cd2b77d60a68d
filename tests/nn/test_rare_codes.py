"""Rare categories share an output, and are told apart by their frequencies."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import chisquare
from sklearn.preprocessing import OrdinalEncoder

from sk_hvae.nn.likelihoods import Categorical, DataSummary

# A column whose codes 10 to 80 occur 8 to 1 times, one of three codes, and one that numbers rows.
COUNTS = {10 * n: 9 - n for n in range(1, 9)}
N_ROWS = sum(COUNTS.values())
X = np.column_stack(
    (
        np.repeat(list(COUNTS), list(COUNTS.values())),
        np.arange(N_ROWS) % 3,
        np.arange(N_ROWS)[::-1] + 1000,
    )
).astype(float)


def adapted(x=X, **params):
    return Categorical(**params).adapt(DataSummary.of([torch.as_tensor(x)]))


def random_parameters(likelihood, n_rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_rows, likelihood.n_outputs, generator=generator)


def expected_log_prob(likelihood, parameters, x, own):
    """Log probability of a column of codes, ``own`` being those that do not share an output.

    By scipy, and from ``COUNTS``; the parameters are those of this column.
    """
    outputs = log_softmax(parameters.double().numpy(), axis=1)
    n_in_group = sum(n for code, n in COUNTS.items() if code not in own)
    result = []
    for row, code in enumerate(x):
        if code in own:
            result.append(outputs[row, own.index(code)])
        else:
            result.append(outputs[row, len(own)] + math.log(COUNTS[code] / n_in_group))
    return np.array(result)


class TestWhichAreRare:
    @pytest.mark.parametrize("max_categories", [2, 3, 4, 7, 8, 100, None])
    def test_they_are_those_that_scikit_learn_calls_infrequent(self, max_categories):
        # Codes that occur more than once: scikit-learn has no exception for others.
        x = X[:-1, :1]
        likelihood = adapted(x, max_categories=max_categories)
        groups = OrdinalEncoder(max_categories=max_categories).fit_transform(x)[:, 0]
        np.testing.assert_array_equal(likelihood.link(torch.tensor(x)).argmax(1), groups)

    def test_ties_go_by_the_code(self):
        x = np.repeat([5.0, 3.0, 9.0, 7.0], 4)[:, None]
        likelihood = adapted(x, max_categories=3)
        linked = likelihood.link(torch.tensor([[3.0], [5.0], [7.0], [9.0]]))
        assert linked.argmax(1).tolist() == [0, 1, 2, 2]

    def test_those_that_occur_once_are_in_columns_beyond_the_limit(self):
        x = np.array([1.0, 0, 2, 2, 3, 4])[:, None]
        assert adapted(x, max_categories=4).code.tolist() == [2, 0]
        assert adapted(x, max_categories=5).code.tolist() == [0, 1, 2, 3, 4]

    def test_those_that_occur_once_are_if_most_rows_have_one(self):
        def outputs(n_once, n_others, **params):
            x = [*range(n_once), *np.repeat([98, 99], n_others).tolist()]
            return adapted(np.array(x, dtype=float)[:, None], **params).code.tolist()

        assert outputs(12, 5) == [98, 99, 0]  # a group comes last
        assert outputs(12, 6) == [*range(12), 98, 99]  # half of the rows
        assert outputs(9, 2) == [*range(9), 98, 99]  # nine rows may be so by chance
        assert outputs(12, 5, max_categories=None) == [*range(12), 98, 99]

    def test_without_counts_none_is_rare(self):
        summary = DataSummary.of([torch.tensor(X)])
        unknown = summary._replace(codes=summary.codes * torch.tensor([1, 1, 0]))
        assert Categorical(max_categories=2).adapt(unknown).n_outputs == 8 + 3 + N_ROWS
        no_codes = summary._replace(codes=None)
        n_codes = sum(int(largest) + 1 for largest in X.max(0))
        assert Categorical(max_categories=2).adapt(no_codes).n_outputs == n_codes

    @pytest.mark.parametrize("value", [0, -1, 2.5, "few", True])
    def test_other_limits_are_refused(self, value):
        with pytest.raises(ValueError, match="max_categories must be an int of at least 1, or No"):
            adapted(max_categories=value)


class TestDensity:
    @pytest.mark.parametrize("max_categories", [1, 2, 4])
    def test_it_is_that_of_the_group_times_the_share(self, max_categories):
        x = X[:, :1]
        likelihood = adapted(x, max_categories=max_categories)
        parameters = random_parameters(likelihood, len(x))
        own = list(COUNTS)[: max_categories - 1]
        expected = expected_log_prob(likelihood, parameters, x[:, 0], own)
        result = likelihood.log_prob(torch.tensor(x), parameters)[:, 0]
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)

    def test_probabilities_of_all_codes_add_up_to_one(self):
        likelihood = adapted(X, max_categories=4)
        parameters = random_parameters(likelihood, 1)
        for column in range(3):
            x = np.tile(X[:1], (len(np.unique(X[:, column])), 1))
            x[:, column] = np.unique(X[:, column])
            log_prob = likelihood.log_prob(torch.tensor(x), parameters.expand(len(x), -1))
            assert log_prob[:, column].exp().sum().item() == pytest.approx(1, abs=1e-5)

    def test_a_column_that_numbers_the_rows_says_nothing(self):
        likelihood = adapted(X[:, 2:], max_categories=20)
        assert likelihood.n_outputs == 1
        assert (likelihood.link(torch.tensor(X[:, 2:])) == 0).all()
        parameters = random_parameters(likelihood, N_ROWS).requires_grad_()
        log_prob = likelihood.log_prob(torch.tensor(X[:, 2:]), parameters)
        torch.testing.assert_close(log_prob, torch.full_like(log_prob, -math.log(N_ROWS)))
        log_prob.sum().backward()
        assert (parameters.grad == 0).all()

    def test_fitting_the_scale_gives_outputs_their_frequencies(self):
        likelihood = adapted(X[:, :1], max_categories=4)
        parameters = torch.zeros(N_ROWS, 4)
        likelihood.fit_scale(torch.tensor(X[:, :1]), parameters)
        found = likelihood.bias.softmax(0)
        expected = torch.tensor([8.0, 7, 6, 15]) / N_ROWS
        torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
        log_prob = likelihood.log_prob(torch.tensor(X[:, :1]), parameters)[:, 0]
        frequencies = torch.tensor([COUNTS[code] / N_ROWS for code in X[:, 0]])
        torch.testing.assert_close(log_prob.exp(), frequencies, atol=0.01, rtol=0)

    def test_the_link_is_one_hot_with_a_column_for_the_group(self):
        likelihood = adapted(X[:, :1], max_categories=3)
        x = torch.tensor([[10.0], [30.0], [80.0], [math.nan]])
        hits = likelihood.link(x) > 0
        assert hits.tolist() == [[True, False, False], *[[False, False, True]] * 2, [False] * 3]
        assert likelihood.link(x)[3].isnan().all()
        likelihood.check(x)
        with pytest.raises(ValueError, match=r"knows the codes 10, 20, .*; found 31"):
            likelihood.check(torch.tensor([[31.0]]))


class TestMeanAndSample:
    def test_the_mean_is_the_most_probable_of_all_codes(self):
        likelihood = adapted(X[:, :1], max_categories=4)
        parameters = random_parameters(likelihood, 200)
        codes = np.array(list(COUNTS))
        expected = [
            codes[
                likelihood.log_prob(
                    torch.tensor(codes)[:, None], row.expand(len(codes), -1)
                ).argmax()
            ]
            for row in parameters
        ]
        assert likelihood.mean(parameters)[:, 0].tolist() == expected
        assert {10, 40} < set(expected)
        alone = likelihood.mixed_mean(torch.eye(200), parameters)
        assert torch.equal(alone, likelihood.mean(parameters))

    def test_probabilities_are_those_of_the_categories_that_are_named(self):
        likelihood = adapted(X[:, :1], max_categories=4)
        parameters = random_parameters(likelihood, 1)
        _, codes = likelihood.nominal_categories.T
        assert codes.tolist() == [10, 20, 30, 40]
        log_prob = likelihood.log_prob(codes[:, None], parameters.expand(4, -1))[:, 0]
        torch.testing.assert_close(likelihood.probabilities(parameters)[0], log_prob.exp())

    def test_draws_follow_the_density(self):
        likelihood = adapted(max_categories=4)
        parameters = random_parameters(likelihood, 1)
        torch.manual_seed(0)
        n = 20_000
        draws = likelihood.sample(parameters.expand(n, -1), torch.randn_like).double()
        assert likelihood.sample(parameters, torch.randn_like).dtype == torch.float32
        likelihood.check(draws)
        for column in range(3):
            codes = np.unique(X[:, column])
            x = torch.tensor(X[:1]).repeat(len(codes), 1)
            x[:, column] = torch.tensor(codes)
            p = likelihood.log_prob(x, parameters.expand(len(x), -1))[:, column].double().exp()
            found = [(draws[:, column] == code).sum().item() for code in codes]
            assert chisquare(found, n * (p / p.sum()).numpy()).pvalue > 0.01


class TestManyCodes:
    """A column costs no more for the codes that it has beyond the limit."""

    def test_no_tensor_has_rows_by_codes_many_numbers(self):
        x = torch.arange(20_000.0)[:, None] % 10_000
        likelihood = adapted(x)
        assert likelihood.n_outputs == 100
        some = x[:2000]
        parameters = torch.zeros(2000, 100)
        largest = _Largest()
        with largest:
            likelihood.check(some)
            likelihood.link(some)
            likelihood.log_prob(some, parameters)
            likelihood.mean(parameters)
            likelihood.sample(parameters, torch.randn_like)
        assert largest.n_elements <= 2000 * 100

    def test_codes_of_chunks_are_counted(self):
        rng = np.random.default_rng(0)
        x = rng.integers(-50, 50, (3000, 2)).astype(float) * 3
        x[rng.random(x.shape) < 0.1] = np.nan
        codes = DataSummary.of([torch.tensor(part) for part in np.array_split(x, 40)]).codes
        for column in range(2):
            values, counts = np.unique(x[~np.isnan(x[:, column]), column], return_counts=True)
            of_column = codes[codes[:, 0] == column]
            np.testing.assert_array_equal(of_column[:, 1], values)
            np.testing.assert_array_equal(of_column[:, 2], counts)

    def test_a_column_without_limit_has_an_output_for_each(self):
        x = torch.arange(10_000)[:, None]
        assert adapted(x, max_categories=None).n_outputs == 10_000
        match = (
            r"column 1 of X: .* takes 10,000 categories with an output .* found 10001\. Let rare"
        )
        x = torch.arange(10_001)[:, None] * torch.tensor([[0, 3]])
        with pytest.raises(ValueError, match=match):
            adapted(x, max_categories=None)
        assert adapted(x).n_outputs == 1 + 1


class _Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes how many numbers the largest tensor has that is made meanwhile."""

    n_elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.n_elements = max(self.n_elements, result.numel())
        return result
