"""Columns that were constant in training, and vary in the rows that come next."""

import copy

import torch

from sk_hvae.nn.latents.gaussian import GaussianLatent, LayerCode
from sk_hvae.nn.networks.skip import zeroed

# A unit that carries less is free to carry something else: little is lost with it.
_FREE_NATS = 0.1
# Correlation of a unit with what others leave of the column that it is given. Below the first, the
# unit would lower the error by less than a quarter; above the second, take more than 2.3 nats.
_LEAST_SIGNAL, _MOST_SIGNAL = 0.5, 0.995
# Correlation of a unit that hands on what the layer above says; 1 would leave it no variance.
_COPIED = 1 - 1e-6
# Squared error that new columns are to have if there are no others to compare with, of variance 1.
_LEFT_OF_ALL = 0.1


@torch.no_grad()
def take_in(model, summary, x):
    """Prepare a model for columns that were constant so far, and vary now.

    For each such column, a unit that carries nothing is set to code the part of it that other
    units do not explain. The linear path of the decoder is fitted to read the column off the
    latents, and the scale of the likelihood is fitted to the error that is left. Everything else
    stays as it was trained. Models without linear paths have to learn the column by training.

    Parameters
    ----------
    model : HierarchicalVAE
        Trained.
    summary : DataSummary
        What is to be known of the columns, see `DataSummary.updated`.
    x : Tensor of shape (b, n_features)
        Raw data in which the columns vary.

    Returns
    -------
    bool
        Whether there are such columns.
    """
    alive = (model.likelihood.summary.std == 0) & (summary.std > 0)
    if not alive.any():
        return False
    others = model.likelihood.summary.std > 0
    model.likelihood.relearn(summary, alive)
    model.follow(summary)
    if model.has_linear_paths:
        column_of_link = model.likelihood.column_of_link
        old = others[column_of_link].nonzero().flatten()
        new = alive[column_of_link].nonzero().flatten()
        _give_units(model, x, new, _left_of(model, x, old) if len(old) else _LEFT_OF_ALL)
        _read_off(model, x, new)
    model.fit_scale(x, model.decoder(_sample(model, x).latents[0]))
    return True


def _sample(model, x):
    return model.infer(model.activations(x), model.row_noise(x), enumerate_states=False)


def _left_of(model, x, columns):
    """Mean squared error of some columns on the scale of the link."""
    location = model.decoder(_sample(model, x).latents[0])
    return float((model.inputs(x)[:, columns] - location[:, columns]).square().mean())


def _give_units(model, x, columns, left):
    """Let free units code columns, the least explained first, until all errors are small.

    ``left`` is the squared error that a column may have.
    """
    layers = [layer for layer in model.layers if isinstance(layer, GaussianLatent)]
    for _ in columns:
        free = _free_unit(model, x, layers)
        if free is None or not _give_unit(model, x, columns, left, layers, *free):
            return


def _give_unit(model, x, columns, left, layers, unit, carrier):
    """Let a unit code the least explained column; returns False if other units suffice."""
    linear, inputs = model.encoder.linear, model.inputs(x)
    known = linear(inputs[:, : linear.in_features])
    weights, offset = _regress(known, inputs[:, columns])
    std, least = (inputs[:, columns] - known @ weights - offset).std(0, correction=0).max(0)
    signal = (1 - left / std.square()).clamp(min=0, max=_MOST_SIGNAL).sqrt()
    if not signal >= _LEAST_SIGNAL:
        return False
    direction = -(weights[:, least] @ linear.weight)
    direction[columns[least]] += 1
    bias = -(weights[:, least] @ linear.bias + offset[least])
    linear.weight[unit], linear.bias[unit] = direction / std, bias / std
    for number, layer in enumerate(layers):
        code = torch.zeros(2, unit + 1)
        code[0, unit] = signal if number <= carrier else 0.0
        code[1, unit] = _COPIED if number < carrier else 0.0
        _restart_unit(layer, unit, LayerCode(*code))
    return True


def _free_unit(model, x, layers):
    """Find a unit that carries nothing in any layer, and the layer that carries most.

    Returns
    -------
    tuple of (int, int) or None
        Numbers of unit and layer; None if all units carry something.
    """
    if not layers:
        return None
    n_units = min(layer.n_units for layer in layers)
    posteriors = _sample(model, x).posteriors[: len(layers)]
    nats = torch.stack([q.kl_of_units().mean(0)[:n_units] for q in posteriors])
    unit = int(nats.sum(0).argmin())
    if nats[:, unit].sum() > _FREE_NATS:
        return None
    return unit, int(nats.sum(1).argmax())


def _restart_unit(layer, unit, code):
    """Set the linear paths of one unit to a code, and let no other unit read its input."""
    fresh = copy.deepcopy(layer)
    for net in fresh.children():
        zeroed(net.linear)
    fresh.start_at(code)
    rows = [unit, layer.n_units + unit]
    for old, new in zip(layer.children(), fresh.children(), strict=True):
        if old is not layer.prior_net:
            old.linear.weight[:, unit] = 0
        old.linear.weight[rows] = new.linear.weight[rows]
        old.linear.bias[rows] = new.linear.bias[rows]


def _read_off(model, x, columns):
    """Fit the decoder's linear path to columns of the link, as far as latents explain them."""
    linear, z_1 = model.decoder.linear, _sample(model, x).latents[0]
    rest = model.inputs(x)[:, columns] - model.decoder(z_1)[:, columns]
    weights, offset = _regress(z_1, rest)
    linear.weight[columns] += weights.T
    linear.bias[columns] += offset


def _regress(inputs, outputs):
    """Regress (b, m) on (b, n); a ridge of one row gives inputs without variance no weight."""
    mean, centre = inputs.mean(0), outputs.mean(0)
    centred = inputs - mean
    gram = centred.T @ centred + torch.eye(inputs.shape[1], device=inputs.device)
    weights = torch.linalg.solve(gram, centred.T @ (outputs - centre))
    return weights, centre - mean @ weights
