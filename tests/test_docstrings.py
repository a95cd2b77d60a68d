"""Every public object says what it does, takes and returns, in numpydoc's format."""

import inspect

import pytest
from numpydoc.validate import validate

import sk_hvae
from sk_hvae import exceptions, nn, plotting

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


def takes_arguments(value):
    """Tell functions and classes with a constructor from those that describe attributes."""
    return inspect.isfunction(value) or "__init__" in vars(value)


PUBLIC = [
    *(f"sk_hvae.{name}" for name in sk_hvae.__all__ if name != "__version__"),
    *(f"sk_hvae.plotting.{name}" for name in plotting.__all__),
]
PUBLIC_METHODS = [
    f"{module.__name__}.{name}.{method}"
    for module in (sk_hvae, plotting)
    for name in module.__all__
    if inspect.isclass(getattr(module, name))
    for method in own_methods(getattr(module, name))
]
NN = [f"sk_hvae.nn.{name}" for name in nn.__all__ if takes_arguments(getattr(nn, name))]
NN_CONTAINERS = [
    f"sk_hvae.nn.{name}" for name in nn.__all__ if not takes_arguments(getattr(nn, name))
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


@pytest.mark.parametrize("path", [*NN_CONTAINERS, *NN_METHODS, *EXCEPTIONS])
def test_short_docstrings(path):
    # One line may do; parameters that are listed must be those of the signature.
    assert problems(path, FORMAT | LISTED) == []


def test_nothing_is_forgotten():
    assert PUBLIC == [
        "sk_hvae.HVAEClusterer",
        "sk_hvae.HierarchicalVAETransformer",
        "sk_hvae.MultiRateHVAETransformer",
        "sk_hvae.RateDistribution",
        "sk_hvae.RateMap",
        "sk_hvae.RateSearchCV",
        "sk_hvae.rate_grid",
        "sk_hvae.rate_map",
        "sk_hvae.plotting.RateMapDisplay",
    ]
    assert "sk_hvae.HierarchicalVAETransformer.inverse_transform" in PUBLIC_METHODS
    assert "sk_hvae.HierarchicalVAETransformer.layer_slices_" in PUBLIC_METHODS
    assert "sk_hvae.MultiRateHVAETransformer.at" in PUBLIC_METHODS
    assert "sk_hvae.HVAEClusterer.predict_proba" in PUBLIC_METHODS
    assert "sk_hvae.RateSearchCV.fit" in PUBLIC_METHODS
    assert "sk_hvae.RateMap.plot" in PUBLIC_METHODS
    assert "sk_hvae.nn.Gaussian" in NN
    assert "sk_hvae.nn.HierarchicalVAE.encode" in NN_METHODS
    assert len(EXCEPTIONS) == 6


def test_every_parameter_and_fitted_attribute_is_described(fitted):
    multi = sk_hvae.MultiRateHVAETransformer((0.5, 3), layer_rates=1).fit(fitted.sample(40))
    clusterer = sk_hvae.HVAEClusterer(2, max_epochs=2).fit(fitted.sample(40))
    for estimator in (fitted, multi, clusterer):
        doc = inspect.getdoc(type(estimator))
        attributes = [
            name for name in dir(estimator) if name.endswith("_") and not name.startswith("_")
        ]
        for name in [*estimator.get_params(), *attributes, "feature_names_in_"]:
            assert f"\n{name} : " in doc or f", {name} : " in doc or f"\n{name}, " in doc
