import torch

from sk_hvae.nn import HVAEOutput, objective


def test_loss_is_mean_distortion_plus_rates_times_betas():
    output = HVAEOutput(
        torch.tensor([1.0, 3.0, 5.0]),
        torch.tensor([[1.0, 0.0], [2.0, 6.0], [3.0, 0.0]]),
        (),
    )
    terms = objective(output, torch.tensor([0.5, 10.0]))
    assert terms.distortion == 3
    assert terms.rates.tolist() == [2, 2]
    assert terms.loss == 3 + 0.5 * 2 + 10 * 2


def test_gradients_are_one_over_the_batch_and_beta_over_the_batch():
    distortion = torch.zeros(4, requires_grad=True)
    rates = torch.zeros(4, 2, requires_grad=True)
    objective(HVAEOutput(distortion, rates, ()), torch.tensor([2.0, 8.0])).loss.backward()
    assert distortion.grad.tolist() == [0.25] * 4
    assert rates.grad.tolist() == [[0.5, 2.0]] * 4
