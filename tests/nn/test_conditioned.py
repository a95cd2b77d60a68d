"""One set of weights for all rates: modulated layers fold into plain ones."""

import math
import pickle

import pytest
import torch
from torch import nn

from sk_hvae.nn import (
    Architecture,
    Bernoulli,
    DataSummary,
    DiscretizedLogistic,
    Gaussian,
    NegativeBinomial,
    Networks,
    PerColumn,
    build_hierarchy,
)
from sk_hvae.nn.conditioned import ConditionedHierarchy, RateBasis, RateBox
from sk_hvae.nn.linear_start import PrincipalComponents, start_at_pca

N_ROWS, N_TARGETS = 32, 4


class Normed(nn.Module):
    """A network of one's own, with layers that are not modulated."""

    def __init__(self, n_inputs, n_outputs=6):
        super().__init__()
        self.first = nn.Linear(n_inputs, 8, bias=False)
        self.norm = nn.LayerNorm(8)
        self.last = nn.Linear(8, n_outputs)

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


MODELS = {
    "mlp": (Architecture((3, 2), (8,)), Bernoulli(), (N_ROWS, 9)),
    "one layer": (Architecture((3,), (8,)), Bernoulli(), (N_ROWS, 9)),
    "three layers": (Architecture((3, 2, 2), (8, 8)), Bernoulli(), (N_ROWS, 9)),
    "ladder": (Architecture((3, 2), (8,), inference="ladder"), Bernoulli(), (N_ROWS, 9)),
    "categorical": (Architecture((3, 2), (8,), top_layer="categorical"), Gaussian(), (N_ROWS, 9)),
    "missing": (Architecture((3, 2), (8,), missing=True), Gaussian(), (N_ROWS, 9)),
    "own": (Architecture((3, 2), (8,), Networks(Normed, Normed)), Gaussian(), (N_ROWS, 9)),
    "conv": (Architecture((3, 2), (8,), "conv", (1, 8, 8)), Bernoulli(), (N_ROWS, 64)),
    "fully-conv": (Architecture((2, 2), (), "fully-conv", (1, 8, 8)), Bernoulli(), (N_ROWS, 64)),
    "hit-mnist": (Architecture((), (), "hit-mnist", (1, 28, 28)), Bernoulli(), (N_ROWS, 784)),
    "sigma": (Architecture((3, 2), (8,)), Gaussian(), (N_ROWS, 9)),
    "sigma per feature": (Architecture((3, 2), (8,)), Gaussian("per_feature"), (N_ROWS, 9)),
    "sigma optimal": (Architecture((3, 2), (8,)), Gaussian("optimal"), (N_ROWS, 9)),
    "counts": (Architecture((3, 2), (8,)), NegativeBinomial(), (N_ROWS, 9)),
    "levels": (Architecture((3, 2), (8,)), DiscretizedLogistic(), (N_ROWS, 9)),
    "mixed": (
        Architecture((3, 2), (8,)),
        PerColumn([("gaussian", range(4)), ("negative_binomial", range(4, 9))]),
        (N_ROWS, 9),
    ),
}


def build(variant):
    """Build a plain model, data for it, and a conditioned one around another plain model."""
    architecture, likelihood, shape = MODELS[variant]
    torch.manual_seed(0)
    x = torch.randint(0, 2, shape).float()
    models = [
        build_hierarchy(architecture, type(likelihood)(**likelihood.config).adapt(summary))
        for summary in [DataSummary.of([x])] * 2
    ]
    if architecture.missing:
        for model in models:
            model.missing.fit(model.likelihood.link(x), torch.Generator().manual_seed(0))
        x[::3, 0] = torch.nan
    n_layers = len(models[0].layers)
    box = RateBox([0.1] * n_layers, [2.0] * n_layers)
    return models[0], x, ConditionedHierarchy(models[1], box)


def randomise(conditioned):
    """Move all weights, and the modulations, off where they start."""
    with torch.no_grad():
        for parameter in conditioned.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))


class NoiseForTargetsOnly:
    """Random targets, then latents at their means."""

    def __init__(self):
        self.is_first = True

    def __call__(self, like):
        first, self.is_first = self.is_first, False
        return torch.randn(like.shape) if first else torch.zeros(like.shape)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("variant", MODELS)
def test_modulated_layers_equal_folded_weights(variant, mode):
    plain, x, conditioned = build(variant)
    randomise(conditioned)
    getattr(conditioned, mode)()
    getattr(plain, mode)()
    plain.likelihood.eval()
    with torch.no_grad():
        output = conditioned(x, NoiseForTargetsOnly())
        assert len(output.targets.unique(dim=0)) == N_TARGETS
        parts = torch.arange(N_ROWS).split(N_ROWS // N_TARGETS)
        for part, target in zip(parts, output.targets.tolist(), strict=True):
            plain.load_state_dict(conditioned.state_at(target))
            alone = plain(x[part], torch.zeros_like)
            close = {"rtol": 1e-4, "atol": 1e-3}
            torch.testing.assert_close(output.distortion[part], alone.distortion, **close)
            torch.testing.assert_close(output.rates[part], alone.rates, **close)


def test_what_is_not_modulated_is_shared():
    _, _, conditioned = build("own")
    state = conditioned.state_at([1.0, 1.0])
    for name in (
        "encoder.linear.weight",
        "encoder.net.last.bias",
        "decoder.net.net.norm.bias",
        "decoder.net.net.last.weight",
    ):
        assert state[name].data_ptr() == conditioned.model.get_parameter(name).data_ptr()
    name = "layers.0.prior_net.net.0.weight"
    assert state[name].data_ptr() != conditioned.model.get_parameter(name).data_ptr()


def test_only_linear_paths_of_ours_have_their_inputs_scaled():
    _, _, conditioned = build("mlp")
    scaled = {name for name, m in conditioned.modulations.items() if m.widths[0]}
    assert scaled == {
        "layers.0.prior_net.linear",
        "layers.0.posterior_net.linear",
        "layers.1.posterior_net.linear",
        "decoder.linear",
    }


def test_a_users_layer_is_modulated_the_same_whatever_its_name():
    def conditioned(name):
        class Own(nn.Module):
            def __init__(self, n_units, n_outputs):
                super().__init__()
                self.add_module(name, nn.Linear(n_units, 8))
                self.last = nn.Linear(8, n_outputs)

            def forward(self, z):
                return self.last(self.get_submodule(name)(z).tanh())

        torch.manual_seed(0)
        x = torch.randn(N_ROWS, 9)
        architecture = Architecture((3, 2), (8,), Networks(Normed, Own))
        model = build_hierarchy(architecture, Gaussian().adapt(DataSummary.of([x])))
        return ConditionedHierarchy(model, RateBox([0.1, 0.1], [2.0, 2.0]))

    widths = [
        conditioned(name).modulations[f"decoder.net.net.{name}"].widths
        for name in ("linear", "first")
    ]
    assert widths == [[0, 8, 8], [0, 8, 8]]


def test_folding_changes_no_weight():
    _, _, conditioned = build("sigma")
    randomise(conditioned)
    before = {name: tensor.clone() for name, tensor in conditioned.state_dict().items()}
    conditioned.state_at([1.0, 1.0])
    for name, tensor in conditioned.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_every_weight_and_modulation_gets_a_gradient():
    _, x, conditioned = build("sigma per feature")
    randomise(conditioned)
    output = conditioned(x, torch.randn_like)
    (output.distortion.sum() + output.rates.sum()).backward()
    for name, parameter in conditioned.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_rows_beyond_the_last_target_are_left_out():
    _, x, conditioned = build("mlp")
    assert len(conditioned(x[:19], torch.randn_like).rates) == 18
    assert len(conditioned(x[:7], torch.randn_like).rates) == 7


def test_means_of_every_target():
    _, x, conditioned = build("mlp")
    output = conditioned(x, torch.randn_like)
    for i, part in enumerate(torch.arange(N_ROWS).split(N_ROWS // N_TARGETS)):
        torch.testing.assert_close(output.mean_rates()[i], output.rates[part].mean(0))
        torch.testing.assert_close(output.mean_distortions()[i], output.distortion[part].mean())


def test_a_conditioned_model_can_be_pickled():
    _, x, conditioned = build("sigma")
    randomise(conditioned)
    restored = pickle.loads(pickle.dumps(conditioned))  # noqa: S301
    kept, new = (model(x, torch.zeros_like) for model in (conditioned, restored))
    assert torch.equal(kept.rates, new.rates)


def test_training_does_not_fit_a_scale_to_a_batch_of_all_rates():
    _, x, conditioned = build("sigma optimal")
    conditioned.train()
    before = conditioned.model.likelihood.log_sigma.clone()
    conditioned(x, torch.randn_like)
    assert torch.equal(conditioned.model.likelihood.log_sigma, before)


def test_a_box_is_logarithmic():
    box = RateBox([1.0, 0.5], [16.0, 8.0])
    places = torch.rand(10, 2)
    torch.testing.assert_close(box.places(box.rates(places)), places)
    middle = box.rates(torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(middle, torch.tensor([[4.0, 2.0]]))


@pytest.mark.parametrize(
    ("most", "low", "high"),
    [(20.0, [1.0, 6.0], [16.0, 8.0]), (9.0, [1.0, 6.0], [9.0, 8.0]), (4.0, [1.0, 2.0], [4.0, 4.0])],
)
def test_a_box_can_be_cut(most, low, high):
    box = RateBox([1.0, 6.0], [16.0, 8.0]).up_to(most)
    torch.testing.assert_close(box.log_low.exp(), torch.tensor(low))
    torch.testing.assert_close(box.log_high.exp(), torch.tensor(high))


@pytest.mark.parametrize("n_layers", [1, 2, 4])
def test_the_basis_starts_standardised(n_layers):
    torch.manual_seed(1)
    box = RateBox([0.1] * n_layers, [20.0] * n_layers)
    basis = RateBasis(box)
    values = basis(box.rates(torch.rand(20_000, n_layers))).detach()
    assert (values[:, 0] == 0.5).all()
    torch.testing.assert_close(values[:, 1:].mean(0), torch.zeros(63), atol=0.06, rtol=0)
    torch.testing.assert_close(values[:, 1:].std(0), torch.full((63,), 0.5), atol=0.06, rtol=0)


def linear_problem():
    """Build a Gaussian model of data with known principal components."""
    torch.manual_seed(0)
    std = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.5])
    x = torch.randn(4000, 5) * std
    likelihood = Gaussian(scaling="shared").adapt(DataSummary.of([x]))
    model = build_hierarchy(Architecture((5, 5), (8,)), likelihood)
    link = likelihood.link(x)
    components = PrincipalComponents(torch.eye(5), link.var(0), link.mean(0))
    return model, x, components


def test_start_hits_all_rates_in_the_box():
    model, x, components = linear_problem()
    box = RateBox([0.3, 0.3], [3.0, 3.0])
    conditioned = ConditionedHierarchy(model, box)
    asked = []

    def set_model(rates):
        asked.append(rates)
        return math.log(start_at_pca(model, x[:500], components, rates))

    log_beta = conditioned.start_at(set_model, seed=0)
    plain, _, _ = linear_problem()
    for rates in ([0.5, 0.5], [0.5, 2.0], [2.0, 0.5], [2.0, 2.0]):
        plain.load_state_dict(conditioned.state_at(rates))
        measured = plain(x, plain.row_noise(x))
        reference, _, _ = linear_problem()
        beta = start_at_pca(reference, x[:500], components, rates)
        exact = reference(x, reference.row_noise(x))
        torch.testing.assert_close(measured.rates.mean(0), torch.tensor(rates), rtol=0.15, atol=0.0)
        torch.testing.assert_close(
            measured.distortion.mean(), exact.distortion.mean(), rtol=0.0, atol=0.1
        )
        assert abs(float(log_beta(torch.tensor([rates]))) - math.log(beta)) < 0.2
    assert all(0.3 <= rate <= 3.0 for rates in asked for rate in rates)
