"""Reconstruction, generation and downstream metrics, against closed forms and scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import entropy
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import ShuffleSplit, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC

from sk_hvae.metrics import downstream_scores, gaussian_rate_distortion, generation_score, psnr
from sk_hvae.nn import Gaussian

SPECIES = np.repeat([0, 1, 2], 50)


class TestPsnr:
    def test_definition(self):
        X = np.random.default_rng(0).uniform(size=(20, 5))
        X[0, :2] = 0, 1
        noisy = X + 0.1
        assert psnr(X, noisy) == pytest.approx(20)
        assert psnr(X, noisy, data_range=255) == pytest.approx(20 + 20 * np.log10(255))
        assert psnr(X, X) == np.inf

    def test_missing_cells_do_not_count(self):
        X = np.array([[0.0, np.nan], [1.0, 0.5]])
        assert psnr(X, np.array([[0.1, 9.0], [0.9, 0.6]])) == pytest.approx(20)

    def test_errors(self):
        X = np.ones((2, 3))
        with pytest.raises(ValueError, match=r"X has shape \(2, 3\), its reconstruction \(2, 2\)"):
            psnr(X, X[:, :2])
        with pytest.raises(ValueError, match="range of the data must be positive"):
            psnr(X, X)

    def test_text_is_no_number(self):
        X = pd.DataFrame({"city": ["Rome", "Oslo"], "pay": [1.0, 2.0]})
        said = r"column 'city' of X holds text.*pass their columns, X.select_dtypes\('number'\)"
        with pytest.raises(ValueError, match=said):
            psnr(X, X)


class TestGaussianRateDistortion:
    def test_one_component(self):
        X = np.random.default_rng(0).normal(size=(500, 1))
        rates = np.array([[0.0, 0.5], [1.0, 3.0]])
        np.testing.assert_allclose(gaussian_rate_distortion(X, rates), X.var() * 4.0**-rates)

    def test_the_best_split_by_brute_force(self):
        X = np.random.default_rng(1).normal(size=(300, 4)) * [3.0, 1.0, 0.7, 0.05]
        variances = np.linalg.eigvalsh(np.cov(X.T, bias=True))

        def error(split):
            return (variances * 4.0**-split).mean()

        for rate in (0.3, 2.0, 5.0, 12.0):
            best = minimize(
                error,
                np.full(4, rate / 4),
                bounds=[(0, None)] * 4,
                constraints={"type": "eq", "fun": lambda split: split.sum() - rate},  # noqa: B023
                options={"ftol": 1e-14, "maxiter": 1000},
            )
            found = gaussian_rate_distortion(X, rate)
            assert np.isscalar(found)
            assert found == pytest.approx(best.fun, rel=1e-4)

    def test_more_columns_than_rows_and_constant_ones(self):
        rng = np.random.default_rng(2)
        X = np.hstack((rng.normal(size=(10, 30)), np.ones((10, 5))))
        twice = np.vstack((X, X, X, X))
        rates = np.linspace(0, 40, 9)
        found = gaussian_rate_distortion(X, rates)
        np.testing.assert_allclose(found, gaussian_rate_distortion(twice, rates))
        assert found[0] == pytest.approx(X.var(axis=0).mean())
        assert (np.diff(found) < 0).all()
        assert gaussian_rate_distortion(np.ones((3, 2)), 1) == 0

    def test_a_trained_model_does_not_beat_it_on_gaussian_data(self, small):
        X = np.random.default_rng(0).normal(size=(1000, 3)) * [2.0, 1.0, 0.5]
        shared = Gaussian(scaling="shared")
        model = small(max_epochs="auto", batch_size=256, n_components=3, likelihood=shared).fit(X)
        sampled = model.set_params(output_layers=1).inverse_transform(
            model.latents(X, sample=True)[0]
        )
        optimum = gaussian_rate_distortion(X, model.rates_.sum())
        assert 0.97 * optimum < np.square(X - sampled).mean() < 1.25 * optimum

    def test_errors(self):
        with pytest.raises(ValueError, match=r"rates must be finite and not negative; got \[-1"):
            gaussian_rate_distortion(np.eye(3), [-1.0])


class Fixed(BaseEstimator):
    """A classifier that reads the probabilities off the rows."""

    def predict_proba(self, X):
        return X


class TestGenerationScore:
    def test_extremes(self):
        n = 5
        clear_and_varied = generation_score(np.eye(n), Fixed())
        assert clear_and_varied == pytest.approx((n, n, 1))
        assert generation_score(np.full((7, n), 1 / n), Fixed()) == pytest.approx((1, n, 1 / n))
        assert generation_score(np.tile(np.eye(n)[0], (7, 1)), Fixed()) == pytest.approx((1, 1, 1))

    def test_is_the_exponential_of_mutual_information(self):
        p = np.random.default_rng(0).dirichlet([0.5] * 4, 50)
        information = np.mean([entropy(row, p.mean(axis=0)) for row in p])
        score = generation_score(p, Fixed())
        assert score.inception_score == pytest.approx(np.exp(information))
        assert score.diversity == pytest.approx(np.exp(entropy(p.mean(axis=0))))

    def test_needs_probabilities(self):
        with pytest.raises(TypeError, match=r"RidgeClassifier has not.*CalibratedClassifierCV"):
            generation_score(np.eye(2), RidgeClassifier())


class TestDownstreamScores:
    def test_by_hand(self, fitted, iris):
        found = downstream_scores(fitted, iris, SPECIES, classifiers=["knn", "linear_svm"], cv=4)
        z_1, z_2 = fitted.latents(iris)
        assert found.layers == ("z1", "z2", "z1+z2")
        assert found.classifiers == ("knn", "linear_svm")
        for row, table in enumerate((z_1, z_2, np.hstack((z_1, z_2)))):
            for column, classifier in enumerate((KNeighborsClassifier(), LinearSVC())):
                scores = cross_val_score(classifier, table, SPECIES, cv=4)
                assert found.accuracy[row, column] == pytest.approx(scores.mean())
                assert found.std[row, column] == pytest.approx(scores.std())
        assert found.to_frame().loc["z2", "knn"] == found.accuracy[1, 0]

    def test_choice_of_layers_and_classifiers(self, fitted, iris):
        own = {"mine": LogisticRegression(C=0.1)}
        found = downstream_scores(
            fitted, iris, SPECIES, classifiers=own, layers=["top", [1, 2], 1], sample=True
        )
        assert found.layers == ("z2", "z1+z2", "z1")
        assert found.classifiers == ("mine",)
        by_name = downstream_scores(fitted, iris, SPECIES, classifiers="knn", layers="all")
        assert (by_name.layers, by_name.accuracy.shape) == (("z1+z2",), (1, 1))

    def test_all_cells_have_the_same_splits(self, fitted, iris):
        cv = StratifiedKFold(3, shuffle=True, random_state=0)
        how = {"classifiers": {"a": LinearSVC(random_state=0), "b": LinearSVC(random_state=0)}}
        found = downstream_scores(fitted, iris, SPECIES, cv=cv.split(iris, SPECIES), **how)
        np.testing.assert_array_equal(found.accuracy[:, 0], found.accuracy[:, 1])
        again = downstream_scores(fitted, iris, SPECIES, cv=ShuffleSplit(2), **how)
        np.testing.assert_array_equal(again.accuracy[:, 0], again.accuracy[:, 1])

    def test_the_global_generator_stays(self, fitted, iris):
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        downstream_scores(fitted, iris, SPECIES)
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002

    def test_samples_tell_less_than_means(self, fitted, iris):
        how = {"classifiers": ["logistic_regression"], "layers": [1]}
        sampled, means = (
            downstream_scores(fitted, iris, SPECIES, sample=sample, **how).accuracy
            for sample in (True, False)
        )
        assert sampled < means

    def test_errors(self, fitted, iris):
        with pytest.raises(
            ValueError, match=r"classifiers must be some of .*'rbf_svm', 'knn'.*got \['svm'\]"
        ):
            downstream_scores(fitted, iris, SPECIES, classifiers=["svm"])
        with pytest.raises(ValueError, match=r"an entry of layers must be .* to 2, got 3"):
            downstream_scores(fitted, iris, SPECIES, layers=[3])
        with pytest.raises(ValueError, match=r"classifiers must be some of .*got SVC\(\)"):
            downstream_scores(fitted, iris, SPECIES, classifiers=SVC())
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            downstream_scores(fitted, iris, SPECIES[:5])
        with pytest.raises(ValueError, match="labels are needed; pass y"):
            downstream_scores(fitted, iris, None)
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            downstream_scores(fitted, iris, iris[:, 0])
