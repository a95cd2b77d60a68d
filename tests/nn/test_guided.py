import torch
from torch.nn.functional import cross_entropy

from sk_hvae._data.batches import RowBatches, TrainingRows
from sk_hvae._data.rows import ResidentRows
from sk_hvae.nn import Architecture, DataSummary, Gaussian, build_hierarchy
from sk_hvae.nn.guided import GuidedHierarchy


def guided(x, n_states=3):
    torch.manual_seed(0)
    likelihood = Gaussian(0.5).adapt(DataSummary.of([x]))
    model = build_hierarchy(Architecture((2, n_states), (6,), top_layer="mixture"), likelihood)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return GuidedHierarchy(model.eval())


def test_disagreement_is_the_cross_entropy_with_the_targets():
    x, targets = torch.randn(20, 4), torch.rand(20, 3).softmax(1)
    module = guided(x)
    (batch,) = RowBatches(TrainingRows(ResidentRows(x), state_shares=targets), 20)
    output = module(batch.x, torch.zeros_like, **batch.beside)
    logits = module.model.layers[-1].logits_net(module.model.activations(x))
    expected = cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(output.disagreement, expected)


def test_all_else_is_as_without_targets():
    x = torch.randn(20, 4)
    module = guided(x)
    output = module(x, torch.zeros_like, torch.zeros(20, 3))
    plain = module.model(x, torch.zeros_like)
    torch.testing.assert_close(output.distortion, plain.distortion)
    torch.testing.assert_close(output.rates, plain.rates)
    assert not output.disagreement.any()


def test_targets_go_with_their_rows():
    rows = torch.arange(10.0)[:, None]
    training = TrainingRows(ResidentRows(rows), state_shares=rows)
    batches = list(RowBatches(training, 3, torch.Generator().manual_seed(0)))
    assert sum(len(batch) for batch in batches) == 10
    assert all((batch.x == batch.beside["state_shares"]).all() for batch in batches)
