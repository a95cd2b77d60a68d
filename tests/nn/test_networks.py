import pytest
import torch
from torch import nn

from sk_hvae.nn import (
    Architecture,
    DataSummary,
    DiscretizedLogisticMixture,
    Gaussian,
    Networks,
    build_hierarchy,
)
from sk_hvae.nn import Categorical as CategoricalLikelihood
from sk_hvae.nn.networks.skip import (
    FadeIn,
    SkipDecoder,
    SkipEncoder,
    SkipPosterior,
    SkipPrior,
    hidden_layers,
    mlp_networks,
    output_width,
    own_networks,
    zero_mlp,
)


def normal_noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator)


def gaussian(n_features=4):
    x = torch.randn(30, n_features, generator=torch.Generator().manual_seed(0))
    return Gaussian(0.5).adapt(DataSummary.of([x]))


def own_model(encoder, decoder, sizes=(3, 2), likelihood=None, **settings):
    torch.manual_seed(0)
    architecture = Architecture(sizes, (6,), Networks(encoder, decoder), **settings)
    return build_hierarchy(architecture, likelihood or gaussian())


def small_encoder(n_inputs):
    return nn.Sequential(nn.Linear(n_inputs, 7), nn.Tanh())


def small_decoder(n_units, n_outputs):
    return nn.Sequential(nn.Linear(n_units, 7), nn.Tanh(), nn.Linear(7, n_outputs))


class TestSkipEncoder:
    def test_linear_features_start_at_zero_beside_those_of_the_network(self):
        torch.manual_seed(0)
        net, x = nn.Linear(5, 3), torch.randn(6, 5)
        activations = SkipEncoder(5, 2, net)(x)
        assert torch.equal(activations.linear, torch.zeros(6, 2))
        assert torch.equal(activations.hidden, net(x))

    def test_the_linear_path_is_linear_in_the_data_and_reads_no_marks(self):
        torch.manual_seed(0)
        encoder, x = SkipEncoder(5, 2, nn.Identity()), torch.randn(6, 8)
        weight, bias = torch.randn(2, 5), torch.randn(2)
        with torch.no_grad():
            encoder.linear.weight.copy_(weight)
            encoder.linear.bias.copy_(bias)
        activations = encoder(x)
        torch.testing.assert_close(activations.linear, x[:, :5] @ weight.T + bias)
        assert torch.equal(activations.hidden, x)


class TestSkipDecoder:
    def test_parameters_are_network_plus_linear_layer(self):
        torch.manual_seed(0)
        net, z = nn.Linear(3, 5), torch.randn(6, 3)
        decoder = SkipDecoder(3, 5, net)
        assert torch.equal(decoder(z), net(z))
        with torch.no_grad():
            nn.init.normal_(decoder.linear.weight)
            nn.init.normal_(decoder.linear.bias)
        linear = z @ decoder.linear.weight.T + decoder.linear.bias
        torch.testing.assert_close(decoder(z), net(z) + linear)

    def test_the_linear_layer_adds_to_locations_only(self):
        torch.manual_seed(0)
        net, z = nn.Linear(3, 9), torch.randn(6, 3)
        decoder = SkipDecoder(3, 4, net)
        with torch.no_grad():
            nn.init.normal_(decoder.linear.weight)
        parameters = decoder(z)
        torch.testing.assert_close(parameters[:, 4:], net(z)[:, 4:])
        expected = net(z)[:, :4] + z @ decoder.linear.weight.T
        torch.testing.assert_close(parameters[:, :4], expected)

    def test_the_decoder_of_a_mixture_has_its_extra_parameters_which_start_at_zero(self):
        torch.manual_seed(0)
        x = torch.randint(16, (20, 6))
        likelihood = DiscretizedLogisticMixture(2, 16).adapt(DataSummary.of([x]))
        model = build_hierarchy(Architecture((3,), (8,)), likelihood)
        parameters = model.decoder(torch.randn(5, 3))
        assert parameters.shape == (5, 6 + 6 * (2 + 2 + 2))
        assert parameters.abs().max() == 0
        assert model.decoder.linear.out_features == 6


class TestHeads:
    def test_a_new_prior_and_posterior_start_at_zero(self):
        torch.manual_seed(0)
        z = torch.randn(6, 3)
        activations = (torch.randn(6, 4), torch.randn(6, 5))
        assert SkipPrior(3, (7,), 2)(z).abs().max() == 0
        assert SkipPosterior(4, 5, 3, (7,), 2)(activations, z).abs().max() == 0
        assert SkipPosterior(4, 5, 0, (), 2)(activations).abs().max() == 0

    def test_a_posterior_reads_features_and_the_layer_above_on_both_paths(self):
        torch.manual_seed(0)
        linear, hidden, z = torch.randn(6, 4), torch.randn(6, 5), torch.randn(6, 3)
        head = SkipPosterior(4, 5, 3, (), 2)
        with torch.no_grad():
            for parameter in head.parameters():
                nn.init.normal_(parameter)
        last = head.net[-1]
        expected = torch.cat((linear, z), 1) @ head.linear.weight.T + head.linear.bias
        expected += torch.cat((hidden, z), 1) @ last.weight.T + last.bias
        torch.testing.assert_close(head((linear, hidden), z), expected)


class TestPerceptrons:
    def test_the_decoder_mirrors_the_encoder(self):
        networks = mlp_networks((7, 5))
        encoder, decoder = networks.encoder(4), networks.decoder(3, 6)
        widths = [(m.in_features, m.out_features) for m in encoder if isinstance(m, nn.Linear)]
        assert widths == [(4, 7), (7, 5)]
        widths = [(m.in_features, m.out_features) for m in decoder if isinstance(m, nn.Linear)]
        assert widths == [(3, 5), (5, 7), (7, 6)]

    @pytest.mark.parametrize("sizes", [(), (5,), (5, 6)])
    def test_a_zero_mlp_starts_at_zero_and_can_leave_it(self, sizes):
        torch.manual_seed(0)
        net, x = zero_mlp(3, sizes, 2), torch.randn(6, 3)
        assert net(x).abs().max() == 0
        net(x).sum().backward()
        assert net[-1].weight.grad.abs().max() > 0

    def test_no_hidden_layers_are_the_identity(self):
        x = torch.randn(6, 3)
        assert torch.equal(hidden_layers(3, ())(x), x)


class TestFadeIn:
    def test_it_starts_at_zero_and_its_gain_gets_a_gradient_at_once(self):
        torch.manual_seed(0)
        net, x = nn.Linear(3, 2), torch.randn(6, 3)
        fade = FadeIn(net)
        assert fade(x).abs().max() == 0
        fade(x).sum().backward()
        torch.testing.assert_close(fade.gain.grad, net(x).sum())
        assert net.weight.grad.abs().max() == 0

    def test_once_it_has_left_zero_the_network_learns_too(self):
        torch.manual_seed(0)
        net, x = nn.Linear(3, 2), torch.randn(6, 3)
        fade = FadeIn(net)
        with torch.no_grad():
            fade.gain.fill_(0.5)
        torch.testing.assert_close(fade(x), 0.5 * net(x))
        fade(x).sum().backward()
        torch.testing.assert_close(net.weight.grad, 0.5 * x.sum(0).expand(2, 3))


class TestOwnNetworks:
    def test_modules_are_copied_and_the_users_are_left_alone(self):
        torch.manual_seed(0)
        encoder, decoder = small_encoder(4), small_decoder(3, 4)
        before = [p.clone() for net in (encoder, decoder) for p in net.parameters()]
        model = own_model(encoder, decoder)
        assert torch.equal(model.encoder.net[0].weight, encoder[0].weight)
        assert torch.equal(model.decoder.net.net[0].weight, decoder[0].weight)

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        x = torch.randn(10, 4)
        for _ in range(5):
            output = model(x, normal_noise(0))
            optimizer.zero_grad()
            (output.distortion + output.rates.sum(1)).mean().backward()
            optimizer.step()

        after = [p for net in (encoder, decoder) for p in net.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert all(p.grad is None for p in after)
        assert not torch.equal(model.encoder.net[0].weight, encoder[0].weight)
        assert not torch.equal(model.decoder.net.net[0].weight, decoder[0].weight)

    def test_functions_are_called_anew_with_the_sizes(self):
        calls = []

        def encoder(n_inputs):
            calls.append(n_inputs)
            return small_encoder(n_inputs)

        def decoder(n_units, n_outputs):
            calls.append((n_units, n_outputs))
            return small_decoder(n_units, n_outputs)

        first, second = own_model(encoder, decoder), own_model(encoder, decoder)
        assert calls == [4, (3, 4)] * 2
        assert first.encoder.net is not second.encoder.net
        assert torch.equal(first.encoder.net[0].weight, second.encoder.net[0].weight)

    def test_classes_build_networks(self):
        class Encoder(nn.Linear):
            def __init__(self, n_inputs):
                super().__init__(n_inputs, 7)

        model = own_model(Encoder, nn.Linear)
        assert isinstance(model.encoder.net, Encoder)
        assert model.decoder.net.net.out_features == 4

    def test_the_encoder_is_told_about_marks_and_the_decoder_about_all_parameters(self):
        x = torch.tensor([[0, 1], [2, 0], [1, 1]])
        likelihood = CategoricalLikelihood().adapt(DataSummary.of([x]))
        model = own_model(small_encoder, small_decoder, likelihood=likelihood, missing=True)
        assert model.encoder.net[0].in_features == 3 + 2 + 2
        assert model.decoder.net.net[-1].out_features == 3 + 2

    def test_the_model_starts_without_the_users_decoder(self):
        model = own_model(small_encoder, small_decoder)
        assert model.decoder(torch.randn(6, 3)).abs().max() == 0

    @pytest.mark.parametrize("inference", ["top_down", "ladder"])
    @pytest.mark.parametrize("top_layer", ["gaussian", "categorical"])
    def test_lazy_encoders_work(self, inference, top_layer):
        lazy = nn.Sequential(nn.LazyLinear(9), nn.Tanh())
        model = own_model(lazy, small_decoder, inference=inference, top_layer=top_layer)
        assert model.encoder.net[0].in_features == 4
        assert model(torch.randn(6, 4), normal_noise(0)).rates.shape == (6, 2)
        assert isinstance(lazy[0], nn.LazyLinear)

    def test_every_weight_gets_a_gradient(self):
        model = own_model(small_encoder, small_decoder)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        output = model(torch.randn(10, 4), normal_noise(1))
        (output.distortion.mean() + output.rates.mean()).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad.abs().max() > 0, name

    def test_building_networks_moves_no_generator_of_modules(self):
        torch.manual_seed(0)
        encoder, decoder = small_encoder(4), small_decoder(3, 4)
        networks = own_networks(Networks(encoder, decoder))
        state = torch.get_rng_state()
        networks.encoder(4), networks.decoder(3, 4)
        assert torch.equal(torch.get_rng_state(), state)


class TestErrors:
    def test_a_module_that_takes_other_columns_is_named(self):
        with pytest.raises(ValueError, match=r"encoder of network= must take .* \(b, 4\); it"):
            own_model(nn.Linear(5, 7), small_decoder)
        with pytest.raises(ValueError, match=r"decoder of network= must take .* \(b, 3\); it"):
            own_model(small_encoder, nn.Linear(5, 4))

    def test_what_torch_said_is_kept(self):
        with pytest.raises(ValueError, match="mat1 and mat2") as raised:
            output_width(nn.Linear(5, 7), 4, "encoder")
        assert isinstance(raised.value.__cause__, RuntimeError)

    @pytest.mark.parametrize(
        ("net", "made"),
        [
            (nn.Unflatten(1, (2, 2)), r"\(2, 2, 2\)"),
            (nn.Flatten(0), r"\(8,\)"),
            (nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (4, 2))), r"\(4, 2\)"),
        ],
        ids=["maps", "flat", "other rows"],
    )
    def test_a_network_that_makes_no_columns_is_refused(self, net, made):
        with pytest.raises(ValueError, match=rf"must map \(b, 4\) to \(b, width\); it made {made}"):
            own_model(net, small_decoder)

    def test_a_decoder_of_another_width_is_refused(self):
        with pytest.raises(ValueError, match=r"map \(b, 3\) to \(b, 4\), .* it made 6 columns"):
            own_model(small_encoder, nn.Linear(3, 6))

    def test_a_decoder_that_leaves_out_the_extra_parameters_is_refused(self):
        x = torch.randint(16, (20, 6))
        likelihood = DiscretizedLogisticMixture(2, 16).adapt(DataSummary.of([x]))
        with pytest.raises(ValueError, match=r"to \(b, 42\), .* it made 6 columns"):
            own_model(small_encoder, nn.Linear(3, 6), likelihood=likelihood)

    def test_output_width_leaves_no_gradient(self):
        net = nn.Linear(4, 7)
        assert output_width(net, 4, "encoder") == 7
        assert net.weight.grad is None
