import pytest
import torch
from scipy.stats import kstest, norm

from sk_hvae.nn import noise as noise_module
from sk_hvae.nn.noise import GeneratorNoise, ReplayedNoise, RowNoise, uniform


def random_rows(n_rows=20000, n_features=5, seed=0):
    return torch.randn(n_rows, n_features, generator=torch.Generator().manual_seed(seed))


def like(rows, n_units=4):
    return torch.empty(len(rows), n_units)


def off_diagonal(columns):
    correlations = columns.T.double().corrcoef()
    return (correlations - torch.eye(len(correlations))).abs()


class TestUniform:
    def test_normal_noise_becomes_uniform(self):
        assert kstest(uniform(random_rows()).flatten(), "uniform").pvalue > 1e-3

    def test_it_is_the_distribution_function(self):
        noise = torch.linspace(-5, 5, 101)
        expected = torch.tensor(norm.cdf(noise.numpy()))
        torch.testing.assert_close(uniform(noise), expected, atol=2e-7, rtol=0, check_dtype=False)

    def test_logarithms_of_extreme_numbers_and_their_complements_are_finite(self):
        extreme = uniform(torch.tensor([-100.0, -6.0, 6.0, 100.0]))
        assert ((extreme > 0) & (extreme < 1)).all()
        assert (-(-extreme.log()).log()).isfinite().all()


class TestRowNoise:
    def test_noise_is_the_same_every_time(self):
        rows = random_rows(50)
        assert torch.equal(RowNoise.of(rows)(like(rows)), RowNoise.of(rows.clone())(like(rows)))

    def test_noise_of_a_row_does_not_depend_on_other_rows_or_their_order(self):
        rows = random_rows(50)
        noise = RowNoise.of(rows)(like(rows))
        assert torch.equal(RowNoise.of(rows.flip(0))(like(rows)), noise.flip(0))
        assert torch.equal(RowNoise.of(rows[7:8])(like(rows[7:8])), noise[7:8])

    def test_memory_layout_does_not_matter(self):
        rows = random_rows(50)
        strided = rows.T.contiguous().T
        assert torch.equal(RowNoise.of(strided)(like(rows)), RowNoise.of(rows)(like(rows)))

    def test_identical_rows_share_their_noise(self):
        rows = random_rows(3)[[0, 1, 0, 2]]
        noise = RowNoise.of(rows)(like(rows))
        assert torch.equal(noise[0], noise[2])
        assert len(noise.unique(dim=0)) == 3

    def test_noise_is_standard_normal(self):
        rows = random_rows()
        noise = RowNoise.of(rows)(like(rows))
        for column in noise.T:
            assert kstest(column, "norm").pvalue > 1e-3

    def test_units_calls_and_draws_are_uncorrelated(self):
        rows = random_rows()
        first, second = RowNoise.of(rows), RowNoise.of(rows).draw(1)
        columns = [source(like(rows)) for source in (first, first, second, second)]
        assert off_diagonal(torch.cat(columns, 1)).max() < 5 / len(rows) ** 0.5

    def test_noise_is_uncorrelated_with_the_rows(self):
        rows = random_rows()
        columns = torch.cat((rows, RowNoise.of(rows)(like(rows))), 1)
        assert off_diagonal(columns)[:5, 5:].max() < 5 / len(rows) ** 0.5

    def test_rows_that_differ_in_one_bit_have_unrelated_noise(self):
        rows = random_rows(20000, 3)
        near = rows.clone()
        near[:, 1] = torch.nextafter(rows[:, 1], torch.tensor(10.0))
        columns = torch.cat([RowNoise.of(r)(like(r)) for r in (rows, near)], 1)
        assert off_diagonal(columns).max() < 5 / len(rows) ** 0.5

    @pytest.mark.parametrize(
        "levels", [torch.arange(4.0), torch.tensor([-1.0, -0.5, 0.0, 1.0])], ids=["ints", "halves"]
    )
    def test_rows_on_a_grid_do_not_share_noise(self, levels):
        rows = torch.cartesian_prod(*[levels] * 5)
        noise = RowNoise.of(rows)(like(rows, 8))
        assert len(noise.unique(dim=0)) == len(rows)

    def test_permuted_columns_give_other_noise(self):
        rows = random_rows(50)
        flipped = rows.flip(1)
        assert not torch.equal(RowNoise.of(flipped)(like(rows)), RowNoise.of(rows)(like(rows)))

    @pytest.mark.parametrize("bits", [0, -1])
    def test_extreme_hashes_give_finite_noise(self, bits, monkeypatch):
        # All ones is met once in 2**24 numbers: in every second pass over a large data set.
        monkeypatch.setattr(noise_module, "_mix", lambda z: torch.full_like(z, bits))
        rows = random_rows(2)
        assert RowNoise.of(rows)(like(rows)).isfinite().all()


class TestGeneratorNoise:
    def test_the_seed_decides_the_noise(self):
        rows = random_rows(50)
        draws = []
        for seed in (1, 1, 2):
            source = GeneratorNoise(torch.Generator().manual_seed(seed))
            draws.append(torch.cat((source(like(rows)), source(like(rows, 2))), 1))
        assert torch.equal(draws[0], draws[1])
        assert not torch.equal(draws[0], draws[2])

    def test_successive_calls_differ(self):
        source = GeneratorNoise(torch.Generator().manual_seed(0))
        assert not torch.equal(source(torch.empty(5, 2)), source(torch.empty(5, 2)))

    def test_torch_s_global_generator_is_left_alone(self):
        before = torch.get_rng_state()
        GeneratorNoise(torch.Generator().manual_seed(0))(torch.empty(5, 2))
        assert torch.equal(torch.get_rng_state(), before)

    def test_noise_is_standard_normal(self):
        draws = GeneratorNoise(torch.Generator().manual_seed(0))(torch.empty(20000, 1))
        assert kstest(draws[:, 0], "norm").pvalue > 1e-3


def test_replayed_noise_is_that_of_the_source():
    rows, like = torch.rand(5, 3), [torch.zeros(5, 2), torch.zeros(5, 4)]
    source, replayed = RowNoise.of(rows), ReplayedNoise(RowNoise.of(rows))
    first = [source(each) for each in like]
    for _ in range(2):
        for expected, each in zip(first, like, strict=True):
            assert torch.equal(replayed(each), expected)
        replayed.rewind()
