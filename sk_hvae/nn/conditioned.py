"""Rate conditioning: one set of weights for a whole box of target rates.

Smooth functions of the target rates modulate the layers of a plain model: they scale and shift
the output (FiLM, Perez et al., AAAI 2018), and on linear paths they scale the input. The encoder
is not modulated, so that its activations are the same for all rates, nor is the output of the
decoder. For any one vector of rates the modulations fold into the weights, which leaves a plain
model.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.quasirandom import SobolEngine

from sk_hvae.nn.networks.convolution import Doubling
from sk_hvae.nn.networks.skip import LinearPath
from sk_hvae.nn.noise import uniform

# More and steeper functions of the rates follow the modulations that are best at every target more
# closely, and differ more from one target to the next, of which each gets few rows. Their spread
# sets how fast modulations learn beside the weights. examples/benchmarks/rate_plane.py measures
# what is left to dedicated fits.
_N_FUNCTIONS, _STEEPNESS, _SPREAD = 64, 3.0, 0.5
# Fewer rows for a target cover the box better in every batch, and make each target's part of the
# loss noisier.
_ROWS_PER_TARGET = 8
# The linear code is computed at so many targets. More make the start more exact and take longer;
# one rate needs fewer.
_N_CODES, _N_CODES_OF_ONE_LAYER = 96, 32
# Of the mean diagonal of the regression, whose functions are nearly dependent.
_RIDGE = 1e-3
# What counts as no weight at all.
_TINY = 1e-12


def n_codes(n_layers):
    """Return at how many targets the linear code is computed; for a single rate, few do."""
    return _N_CODES_OF_ONE_LAYER if n_layers == 1 else _N_CODES


class ConditionedOutput(NamedTuple):
    """What a pass over a batch gives, in nats.

    Attributes
    ----------
    distortion : Tensor of shape (b,)
        As in `HVAEOutput`.
    rates : Tensor of shape (b, n_layers)
        As in `HVAEOutput`.
    targets : Tensor of shape (n_targets, n_layers)
        Rates that the model was conditioned on: each for an equal part of the rows, in order.
    """

    distortion: Tensor
    rates: Tensor
    targets: Tensor

    def mean_rates(self):
        """Average over the rows of every target: (n_targets, n_layers)."""
        return self.rates.unflatten(0, (len(self.targets), -1)).mean(1)

    def mean_distortions(self):
        """Average over the rows of every target: (n_targets,)."""
        return self.distortion.unflatten(0, (len(self.targets), -1)).mean(1)


class RateBox(nn.Module):
    """The rates from ``low`` to ``high``, on a logarithmic scale.

    Parameters
    ----------
    low, high : sequence of float
        Smallest and largest rate of every layer in nats, z_1 first.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import RateBox
    >>> RateBox([1.0], [16.0]).rates(torch.tensor([[0.5]]))
    tensor([[4.]])
    """

    log_low: Tensor
    log_high: Tensor

    def __init__(self, low, high):
        super().__init__()
        self.register_buffer("log_low", torch.tensor(low).log())
        self.register_buffer("log_high", torch.tensor(high).log())

    @property
    def n_layers(self):
        """Number of layers."""
        return len(self.log_low)

    def up_to(self, most):
        """Return the box without rates above ``most`` nats.

        A layer all of whose rates are above gets those from half of ``most`` to ``most``.
        """
        ends = zip(self.log_low.exp().tolist(), self.log_high.exp().tolist(), strict=True)
        pairs = [(low, high) if high <= most else (min(low, most / 2), most) for low, high in ends]
        return RateBox(*map(list, zip(*pairs, strict=True)))

    def rates(self, places):
        """Map places in the unit cube (n, n_layers) to rates in nats."""
        return torch.lerp(self.log_low, self.log_high, places).exp()

    def places(self, rates):
        """Map rates in nats (n, n_layers) to places in the unit cube."""
        return (rates.log() - self.log_low) / (self.log_high - self.log_low)


class RateBasis(nn.Module):
    """Smooth functions of the target rates: a SiLU along each of several trained directions.

    The directions start at random. They mix the logarithms of every layer's rate, and of the
    sum of its rate and the rates above it, on which a linear code depends. The first function is
    constant; over the box, the others start with mean zero and standard deviation 0.5.

    Parameters
    ----------
    box : RateBox
        Where the targets come from.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, box):
        super().__init__()
        n = 2 * box.n_layers - 1
        low, high = _log_and_cumulated(torch.stack((box.log_low, box.log_high)).exp())
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.net = nn.Linear(n, _N_FUNCTIONS - 1)
        with torch.no_grad():
            directions = functional.normalize(torch.randn(_N_FUNCTIONS - 1, n))
            bends = 2 * torch.rand(_N_FUNCTIONS - 1, n) - 1
            self.net.weight.copy_(_STEEPNESS * directions)
            self.net.bias.copy_(-(self.net.weight * bends).sum(1))
            start = self._raw(box.rates(torch.rand(4096, box.n_layers)))
        self.register_buffer("mean", start.mean(0))
        self.register_buffer("std", start.std(0))

    def forward(self, targets):
        """Map targets in nats (n, n_layers) to values of the functions, (n, n_functions)."""
        values = (self._raw(targets) - self.mean) / self.std
        return _SPREAD * functional.pad(values, (1, 0), value=1.0)

    def _raw(self, targets):
        coordinates = 2 * (_log_and_cumulated(targets) - self.low) / (self.high - self.low) - 1
        return functional.silu(self.net(coordinates))


class Modulation:
    """Scale of one layer's input, and scale and shift of its output.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Width of the input, and width, or number of planes, of the output; 0 where it is left
        as it is.
    """

    def __init__(self, n_inputs, n_outputs):
        self.widths = [n_inputs, n_outputs, n_outputs]
        self.current = None
        """Scale of the input, scale and shift of the output, (n_targets, width) each, or None."""

    def before(self, _layer, args):
        """Scale the input: a forward pre-hook."""
        if self.current is None or not self.widths[0]:
            return None
        scale = self.current[0]
        (x,) = args
        return ((x.unflatten(0, (len(scale), -1)) * scale[:, None]).flatten(0, 1),)

    def after(self, layer, _args, output):
        """Scale and shift the output: a forward hook."""
        if self.current is None or not self.widths[1]:
            return None
        _, scale, shift = (values.to(output.dtype) for values in self.current)
        by_target = output.unflatten(0, (len(scale), -1))
        shape = [len(scale)] + [1] * (by_target.dim() - 1)
        shape[-1 if isinstance(layer, nn.Linear) else 2] = self.widths[1]
        return torch.addcmul(shift.view(shape), by_target, scale.view(shape)).flatten(0, 1)


class ConditionedHierarchy(nn.Module):
    """A hierarchical VAE for all rates in a box.

    Parameters
    ----------
    model : HierarchicalVAE
        Plain; its layers are modulated in place.
    box : RateBox
        Target rates.

    Examples
    --------
    >>> import torch
    >>> from sk_hvae.nn import Architecture, Bernoulli, DataSummary, build_hierarchy
    >>> from sk_hvae.nn import ConditionedHierarchy, RateBox
    >>> x = torch.rand(100, 5).round()
    >>> likelihood = Bernoulli().adapt(DataSummary.of([x]))
    >>> model = build_hierarchy(Architecture(n_components=(4, 2)), likelihood)
    >>> conditioned = ConditionedHierarchy(model, RateBox([0.1, 0.1], [2.0, 2.0]))
    >>> output = conditioned(x, torch.randn_like)
    >>> output.rates.shape, output.targets.shape
    (torch.Size([96, 2]), torch.Size([12, 2]))
    """

    neutral: Tensor
    scales: nn.ParameterDict

    def __init__(self, model, box):
        super().__init__()
        self.model = model
        self.box = box
        # Saved files know the basis by this name.
        self.features = RateBasis(box)
        self.modulations = {}
        for name, layer in _layers(model):
            n_inputs = layer.in_features if isinstance(layer, LinearPath) else 0
            n_outputs = 0 if _puts_out(model, name, layer) else len(_weights(layer).bias)
            self.modulations[name] = modulation = Modulation(n_inputs, n_outputs)
            layer.register_forward_pre_hook(modulation.before)
            layer.register_forward_hook(modulation.after)
        widths = [width for m in self.modulations.values() for width in m.widths]
        neutral = [torch.full((width,), i % 3 < 2) for i, width in enumerate(widths)]
        self.register_buffer("neutral", torch.cat(neutral).float())
        self.coefficients = nn.Parameter(torch.zeros(_N_FUNCTIONS, len(self.neutral)))
        self.scales = nn.ParameterDict(
            {_key(name): torch.zeros(_N_FUNCTIONS, scale.numel()) for name, scale in _scales(model)}
        )

    @property
    def basis(self):
        """The functions of the target rates that modulate the layers."""
        return self.features

    def train(self, mode=True):
        """Set the mode; the likelihood fits no scale to a batch, as its rows have many rates."""
        super().train(mode)
        self.model.likelihood.eval()
        return self

    def inputs(self, x):
        """Map raw data (b, n_features) to what the encoder reads, as the plain model does."""
        return self.model.inputs(x)

    def cells(self, x):
        """Prepare raw data (b, n_features), as the plain model does."""
        return self.model.cells(x)

    def forward(self, x, noise, inputs=None, cells=None):
        """Draw targets, one for every eight rows, and measure distortion and rates.

        Parameters
        ----------
        x : Tensor of shape (b, n_features)
            Raw data, any dtype; up to seven last rows may be left out.
        noise : callable
            Maps a tensor to standard normal noise of its shape.
        inputs : Tensor of shape (b, n_inputs), default=None
            What `inputs` makes of the raw data, if it is known already.
        cells : Cells, default=None
            What `cells` makes of it, likewise.

        Returns
        -------
        ConditionedOutput
        """
        n_targets = max(1, len(x) // _ROWS_PER_TARGET)
        n_rows = len(x) // n_targets * n_targets
        x, inputs = x[:n_rows], None if inputs is None else inputs[:n_rows]
        cells = None if cells is None else cells[:n_rows]
        places = uniform(noise(x.new_empty(n_targets, self.box.n_layers, dtype=torch.float32)))
        targets = self.box.rates(places)
        with torch.autocast(x.device.type, enabled=False):
            basis = self.basis(targets)
            scales = self._scales_at(basis, len(x))
            values = self._values(basis)
        try:
            for name, modulation in self.modulations.items():
                modulation.current = values[name]
            output = functional_call(self.model, scales, (x, noise, inputs, cells))
        finally:
            for modulation in self.modulations.values():
                modulation.current = None
        return ConditionedOutput(output.distortion, output.rates, targets)

    def _values(self, basis):
        """Return scale of the input, scale and shift of the output for every layer, by name."""
        return self._split(torch.addmm(self.neutral, basis, self.coefficients))

    def _split(self, columns):
        """Split (n, width) into the three parts of every layer, by name."""
        widths = [width for m in self.modulations.values() for width in m.widths]
        parts = columns.split(widths, 1)
        return {name: parts[3 * i : 3 * i + 3] for i, name in enumerate(self.modulations)}

    def _scales_at(self, basis, n_rows):
        """Return the likelihood's scales for every row, (n_rows, 1) or (n_rows, n_features)."""
        top = self.model.layers[-1]
        if top.enumerates:
            n_rows *= top.n_units
        n_repeats = n_rows // len(basis)
        return {
            name: scale + (basis @ self.scales[_key(name)]).repeat_interleave(n_repeats, 0)
            for name, scale in _scales(self.model)
        }

    @torch.no_grad()
    def start_at(self, set_model, seed):
        """Start linear paths and scales for all rates, from where a function sets them for some.

        Parameters
        ----------
        set_model : callable
            Takes rates in nats, sets the linear paths and scales of the plain model to where it
            would start at these rates, and returns a number.
        seed : int
            Seed of the rates for which it is called.

        Returns
        -------
        callable
            Maps rates in nats (n, n_layers) to what ``set_model`` would return, (n,).
        """
        paths = [(n, layer) for n, layer in _layers(self.model) if isinstance(layer, LinearPath)]
        tensors = dict(_scales(self.model))
        for name, layer in paths:
            tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
        places = SobolEngine(self.box.n_layers, scramble=True, seed=seed).draw(
            n_codes(self.box.n_layers)
        )
        targets = self.box.rates(places.to(self.box.log_low))
        numbers, records = [], []
        for rates in targets:
            numbers.append(float(set_model(rates.tolist())))
            records.append([tensor.clone() for tensor in tensors.values()])
        stacks = map(torch.stack, zip(*records, strict=True))
        found = dict(zip(tensors, stacks, strict=True))
        solve = _ridge(self.basis(targets))
        for name, layer in paths:
            self._start_path(name, layer, found[f"{name}.weight"], found[f"{name}.bias"], solve)
        for name, scale in _scales(self.model):
            scale.copy_(found[name].mean(0))
            self.scales[_key(name)].copy_(solve((found[name] - scale).view(len(targets), -1)))
        coefficients = solve(targets.new_tensor(numbers)[:, None])
        return lambda rates: (self.basis(rates).detach() @ coefficients)[:, 0]

    def _start_path(self, name, layer, weights, biases, solve):
        """Start one linear path, whose inputs keep their directions and are scaled by the rates."""
        scale_in_by, _, shift_by = self._split(self.coefficients)[name]
        mean = weights.mean(0)
        power = mean.square().sum(0)
        scale_in = (weights * mean).sum(1) / power.clamp(min=_TINY)
        scale_in_by.copy_(solve(torch.where(power > _TINY, scale_in - 1, 0.0)))
        layer.weight.copy_(mean)
        layer.bias.copy_(biases.mean(0))
        if shift_by.shape[1]:
            shift_by.copy_(solve(biases - layer.bias))

    @torch.no_grad()
    def state_at(self, rates):
        """Fold the modulations for one vector of rates into the weights.

        Parameters
        ----------
        rates : sequence of float
            Rates in nats, z_1 first.

        Returns
        -------
        dict of str to Tensor
            State of a plain model of the same architecture; what is not modulated is shared.
        """
        targets = torch.tensor([list(rates)], device=self.box.log_low.device)
        basis = self.basis(targets)
        state = self.model.state_dict()
        for name, values in self._values(basis).items():
            scale_in, scale_out, shift = (part[0] for part in values)
            layer = self.model.get_submodule(name)
            key = f"{name}.convolution" if isinstance(layer, Doubling) else name
            weight, bias = state[f"{key}.weight"], state[f"{key}.bias"]
            if len(scale_in):
                weight = weight * scale_in
            if len(shift):
                shape = [1] * weight.dim()
                shape[_output_axis(layer)] = -1
                weight, bias = weight * scale_out.view(shape), bias * scale_out + shift
            state |= {f"{key}.weight": weight, f"{key}.bias": bias}
        for name, scale in _scales(self.model):
            state[name] = scale + (basis @ self.scales[_key(name)]).view(scale.shape)
        return state


def _log_and_cumulated(rates):
    """Return ln of each rate, and of its sum with those above, the last of which is itself."""
    cumulated = rates.flip(1).cumsum(1).flip(1)[:, :-1]
    return torch.cat((rates, cumulated), 1).log()


def _layers(model):
    """List what is modulated, by name: all layers with a bias that are not in the encoder."""
    kinds = (LinearPath, nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, Doubling)
    inside = {f"{name}.convolution" for name, m in model.named_modules() if type(m) is Doubling}
    return [
        (name, layer)
        for name, layer in model.named_modules()
        if type(layer) in kinds
        and name not in inside
        and not name.startswith("encoder.")
        and _weights(layer).bias is not None
    ]


def _puts_out(model, name, layer):
    """Tell whether a layer puts out what the likelihood reads, a number for every column.

    Such a layer is left as it is: it has many outputs, and what comes before it is modulated.
    """
    widths = (model.likelihood.n_outputs, model.likelihood.n_linked)
    is_linear = isinstance(layer, nn.Linear)
    return name.startswith("decoder.") and is_linear and layer.out_features in widths


def _weights(layer):
    """Return the layer that holds weight and bias."""
    return layer.convolution if isinstance(layer, Doubling) else layer


def _output_axis(layer):
    return 1 if isinstance(layer, (nn.ConvTranspose2d, Doubling)) else 0


def _scales(model):
    """List the likelihood's scales by name: parameters for all columns, or one for each."""
    likelihood = model.likelihood
    tensors = dict(likelihood.named_parameters())
    if likelihood.fits_each_batch:
        tensors |= {n: t for n, t in likelihood.named_buffers() if n.endswith("log_sigma")}
    return [(f"likelihood.{name}", t) for name, t in tensors.items() if t.dim() <= 1]


def _key(name):
    return name.replace(".", "/")


def _ridge(basis):
    """Return a function that regresses (n, width) on values of the basis, (n, n_functions)."""
    gram = basis.T @ basis
    gram = gram + _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
    return lambda values: torch.linalg.solve(gram, basis.T @ values)
