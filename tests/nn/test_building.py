import pytest
import torch
from torch import nn

from sk_hvae.nn import (
    Architecture,
    Categorical,
    CategoricalLatent,
    DataSummary,
    Gaussian,
    HierarchicalVAE,
    LadderLatent,
    Networks,
    TopDownLatent,
    build_hierarchy,
)
from sk_hvae.nn.networks.skip import Activations

# One of every kind: keyword arguments of Architecture besides n_components.
NETWORKS = {
    "mlp": {"hidden_layer_sizes": (6,)},
    "linear": {"hidden_layer_sizes": ()},
    "conv": {"hidden_layer_sizes": (6,), "network": "conv", "image_shape": (2, 5, 7)},
    "own": {
        "hidden_layer_sizes": (6,),
        "network": Networks(lambda n: nn.Linear(n, 5), nn.Linear),
    },
    "fully-conv": {"network": "fully-conv", "image_shape": (2, 5, 7)},
}
EVERY_NETWORK = pytest.mark.parametrize("kind", NETWORKS)
INFERENCE = pytest.mark.parametrize("inference", ["top_down", "ladder"])


def rows():
    return torch.randn(20, 70, generator=torch.Generator().manual_seed(0))


def build(kind, sizes=(3, 2), **settings):
    torch.manual_seed(0)
    likelihood = Gaussian(0.5).adapt(DataSummary.of([rows()]))
    architecture = Architecture(sizes, **NETWORKS[kind], **settings)
    return architecture, build_hierarchy(architecture, likelihood)


@EVERY_NETWORK
@INFERENCE
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("sizes", [(3,), (3, 2), (2, 4, 1)])
def test_every_model_encodes_measures_decodes_and_samples(kind, inference, missing, sizes):
    architecture, model = build(kind, sizes, inference=inference, missing=missing)
    x = rows()
    if missing:
        x[:, ::3] = torch.nan
    output = model(x, torch.randn_like)
    assert output.rates.shape == (20, len(sizes))
    assert output.rates.isfinite().all()
    assert output.distortion.isfinite().all()
    latents = model.encode(x)
    assert tuple(z.shape[1] for z in latents) == architecture.layer_sizes
    for number, z in enumerate(latents, start=1):
        assert model.decode(z, number).shape == (20, 70)
    assert model.sample(3, torch.randn_like).shape == (3, 70)


@pytest.mark.parametrize("kind", ["mlp", "linear", "conv", "own"])
@INFERENCE
@pytest.mark.parametrize("top_layer", ["categorical", "gumbel"])
def test_flat_models_may_have_a_categorical_top_layer(kind, inference, top_layer):
    architecture, model = build(kind, inference=inference, top_layer=top_layer)
    assert architecture.has_categorical_top
    assert isinstance(model.layers[-1], CategoricalLatent)
    assert model.layers[-1].enumerated == (top_layer == "categorical")
    assert model(rows(), torch.randn_like).rates.isfinite().all()


@EVERY_NETWORK
def test_layers_are_inferred_as_asked(kind):
    for inference, expected in (("top_down", TopDownLatent), ("ladder", LadderLatent)):
        _, model = build(kind, inference=inference)
        assert [type(layer) for layer in model.layers] == [expected] * 2


@EVERY_NETWORK
def test_the_seed_decides_the_weights(kind):
    states = [build(kind)[1].state_dict() for _ in range(2)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@EVERY_NETWORK
def test_all_but_fully_convolutional_models_have_linear_paths(kind):
    assert build(kind)[1].has_linear_paths == (kind != "fully-conv")


def test_a_layer_called_linear_in_an_encoder_of_other_make_is_no_linear_path():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(70, 5)

        def forward(self, inputs):
            return Activations(self.linear(inputs), self.linear(inputs))

    _, model = build("mlp")
    other = HierarchicalVAE(Encoder(), model.layers, model.decoder, model.likelihood)
    assert not other.has_linear_paths


@pytest.mark.parametrize("network", ["conv", "fully-conv", "hit-mnist", "hit-cifar"])
def test_images_need_a_likelihood_with_one_number_for_each_pixel(network):
    x = torch.arange(70).reshape(2, 35) % 3
    likelihood = Categorical().adapt(DataSummary.of([x]))
    architecture = Architecture((3, 2), (6,), network, (1, 5, 7))
    with pytest.raises(ValueError, match=rf"network='{network}' needs a .* use network='mlp'"):
        build_hierarchy(architecture, likelihood)
