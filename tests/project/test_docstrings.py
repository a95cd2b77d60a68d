"""Every public object says what it does, takes and returns, in numpydoc's format."""

import inspect

import pytest
from numpydoc.validate import validate

import sk_hvae
from sk_hvae import exceptions, metrics, nn, plotting

# https://numpydoc.readthedocs.io/en/latest/validation.html
FORMAT = {"GL03", "GL05", "GL06", "GL07", "GL08", "SS02", "SS03", "SS06"}
LISTED = {"PR02", "PR03", "PR04", "PR05", "PR07", "PR10"}
COMPLETE = {"PR01", "RT01"}


def is_ours(member):
    function = getattr(member, "fget", member)
    return "sk_hvae" in (getattr(function, "__module__", None) or "")


def inherits_its_docstring(member):
    return not member.__doc__ and bool(inspect.getdoc(member))


def own_methods(cls):
    """Name the public methods that this library has written and documents."""
    return [
        name
        for name, member in inspect.getmembers(cls)
        if not name.startswith("_")
        and (inspect.isroutine(member) or isinstance(member, property))
        and is_ours(member)
        and not inherits_its_docstring(member)
    ]


def describes_attributes(value):
    """Tell named tuples, and classes of `nn` without a constructor."""
    if not inspect.isclass(value) or "__init__" in vars(value):
        return False
    return issubclass(value, tuple) or value.__module__.startswith(nn.__name__)


PUBLIC = [
    f"{module.__name__}.{name}"
    for module in (sk_hvae, metrics, plotting)
    for name in module.__all__
    if name != "__version__" and not describes_attributes(getattr(module, name))
]
PUBLIC_METHODS = [
    f"{module.__name__}.{name}.{method}"
    for module in (sk_hvae, metrics, plotting)
    for name in module.__all__
    if inspect.isclass(getattr(module, name))
    for method in own_methods(getattr(module, name))
]
NN = [f"sk_hvae.nn.{name}" for name in nn.__all__ if not describes_attributes(getattr(nn, name))]
CONTAINERS = [
    f"{module.__name__}.{name}"
    for module in (metrics, nn)
    for name in module.__all__
    if describes_attributes(getattr(module, name))
]
NN_METHODS = [
    f"sk_hvae.nn.{name}.{method}"
    for name in nn.__all__
    if inspect.isclass(getattr(nn, name))
    for method in own_methods(getattr(nn, name))
]
EXCEPTIONS = [
    f"sk_hvae.exceptions.{name}"
    for name, value in vars(exceptions).items()
    if inspect.isclass(value) and value.__module__ == exceptions.__name__
]


def problems(path, codes):
    return [f"{code}: {text}" for code, text in validate(path)["errors"] if code in codes]


@pytest.mark.parametrize("path", [*PUBLIC, *PUBLIC_METHODS, *NN])
def test_full_docstrings(path):
    assert problems(path, FORMAT | LISTED | COMPLETE) == []


@pytest.mark.parametrize("path", [*CONTAINERS, *NN_METHODS, *EXCEPTIONS])
def test_short_docstrings(path):
    # One line may do; parameters that are listed must be those of the signature.
    assert problems(path, FORMAT | LISTED) == []


def test_nothing_is_forgotten():
    assert PUBLIC == [
        "sk_hvae.HVAEClusterer",
        "sk_hvae.HierarchicalVAETransformer",
        "sk_hvae.MultiRateHVAETransformer",
        "sk_hvae.RateDistribution",
        "sk_hvae.RateExplorer",
        "sk_hvae.RateMap",
        "sk_hvae.RateRecommendation",
        "sk_hvae.RateSearchCV",
        "sk_hvae.rate_grid",
        "sk_hvae.rate_map",
        "sk_hvae.recommend_rates",
        "sk_hvae.set_num_threads",
        "sk_hvae.metrics.DownstreamScores",
        "sk_hvae.metrics.accuracy_bound",
        "sk_hvae.metrics.downstream_scores",
        "sk_hvae.metrics.gaussian_rate_distortion",
        "sk_hvae.metrics.generation_score",
        "sk_hvae.metrics.information_needed",
        "sk_hvae.metrics.log_likelihood",
        "sk_hvae.metrics.mutual_information",
        "sk_hvae.metrics.psnr",
        "sk_hvae.metrics.rate_bounds",
        "sk_hvae.plotting.AccuracyBoundDisplay",
        "sk_hvae.plotting.MapDisplay",
        "sk_hvae.plotting.RateHistoryDisplay",
        "sk_hvae.plotting.RateMapDisplay",
        "sk_hvae.plotting.ReconstructionDisplay",
        "sk_hvae.plotting.SampleDisplay",
        "sk_hvae.plotting.TraversalDisplay",
    ]
    assert "sk_hvae.HierarchicalVAETransformer.inverse_transform" in PUBLIC_METHODS
    assert "sk_hvae.HierarchicalVAETransformer.layer_slices_" in PUBLIC_METHODS
    assert "sk_hvae.MultiRateHVAETransformer.at" in PUBLIC_METHODS
    assert "sk_hvae.HVAEClusterer.predict_proba" in PUBLIC_METHODS
    assert "sk_hvae.RateSearchCV.fit" in PUBLIC_METHODS
    assert "sk_hvae.RateMap.plot" in PUBLIC_METHODS
    assert "sk_hvae.nn.Gaussian" in NN
    assert "sk_hvae.nn.HierarchicalVAE.encode" in NN_METHODS
    assert len(EXCEPTIONS) == 15


def test_every_parameter_and_fitted_attribute_is_described(fitted, multi):
    clusterer = sk_hvae.HVAEClusterer(2, max_epochs=2).fit(fitted.sample(40))
    for estimator in (fitted, multi, clusterer):
        doc = inspect.getdoc(type(estimator))
        attributes = [
            name for name in dir(estimator) if name.endswith("_") and not name.startswith("_")
        ]
        for name in [*estimator.get_params(), *attributes, "feature_names_in_"]:
            assert f"\n{name} : " in doc or f", {name} : " in doc or f"\n{name}, " in doc
