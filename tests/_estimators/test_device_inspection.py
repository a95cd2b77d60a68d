"""What can be proved of CUDA without one: all tensors on one device, no wait between batches."""

import copy
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from cuda_stand_in import CUDA, CudaTensor, pretend
from every_kind import KINDS, make, rows_for, uses
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse
from skorch.callbacks import Callback
from torch.utils.data import TensorDataset

from sk_hvae.metrics import log_likelihood, mutual_information
from sk_hvae.plotting import ReconstructionDisplay, SampleDisplay, TraversalDisplay

pytestmark = [
    pytest.mark.usefixtures("coarse_plane"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.RateTargetWarning"),
    pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.ClusterWarning"),
    pytest.mark.filterwarnings("ignore:CUDA is not available or torch_xla"),
]


@pytest.fixture
def stand_in(monkeypatch):
    return pretend(monkeypatch)


class WaitsBetweenBatches(Callback):
    """Note what waits between the first and the last moment of a pass over the batches."""

    def __init__(self, stand_in):
        self.stand_in = stand_in

    def on_train_begin(self, net, **kwargs):
        self.moments = {}

    def on_batch_begin(self, net, training, **kwargs):
        first_and_last = self.moments.setdefault((len(net.history), training), [None, None])
        first_and_last[first_and_last[0] is not None] = len(self.stand_in.waits)

    def on_batch_end(self, net, training, **kwargs):
        self.on_batch_begin(net, training)

    def found(self):
        return [name for a, b in self.moments.values() for name in self.stand_in.waits[a:b]]


def assert_same(found, expected):
    for name, values in expected.items():
        # On the CPU, missing cells are filled in for other numbers of rows at a time.
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


# The stand-in itself.


def test_the_stand_in_is_as_strict_as_cuda(stand_in):
    with stand_in:
        x = torch.arange(3.0, device=CUDA)
        assert isinstance(x, CudaTensor)
        for broken in (
            lambda: x + torch.ones(3),
            lambda: torch.cat((x, torch.ones(3))),
            lambda: torch.where(torch.ones(3, dtype=torch.bool), x, x),
            lambda: torch.ones(3)[torch.zeros(2, dtype=torch.long, device=CUDA)],
            lambda: x.index_put_((torch.tensor([0, 1]),), torch.ones(2)),
            lambda: x.clone().add_(torch.ones(3)),
        ):
            with pytest.raises(RuntimeError, match="on cuda:0 and on the CPU"):
                broken()
        with pytest.raises((RuntimeError, TypeError)):
            x.numpy()
        assert (2 * x + 1).tolist() == [1, 3, 5]


DRAWS = {
    "randn": lambda x, generator: torch.randn(3, generator=generator, device=x.device),
    "randperm": lambda x, generator: torch.randperm(3, generator=generator, device=x.device),
    "normal_": lambda x, generator: x.clone().normal_(generator=generator),
    "bernoulli": lambda x, generator: torch.bernoulli(x, generator=generator),
    "multinomial": lambda x, generator: torch.multinomial(x, 2, generator=generator),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_stand_in_draws_from_generators_of_its_own_device_only(stand_in, draw):
    with stand_in:
        on_cpu, on_cuda = torch.full((3,), 0.5), torch.full((3,), 0.5, device=CUDA)
        expected = draw(on_cpu, torch.Generator().manual_seed(0))
        for device in ("cuda", "cuda:0", CUDA):
            drawn = draw(on_cuda, torch.Generator(device).manual_seed(0))
            assert isinstance(drawn, CudaTensor)
            assert drawn.tolist() == expected.tolist()
        with pytest.raises(
            RuntimeError, match="a 'cuda' device type for generator but found 'cpu'"
        ):
            draw(on_cuda, torch.Generator())
        with pytest.raises(
            RuntimeError, match="a 'cpu' device type for generator but found 'cuda'"
        ):
            draw(on_cpu, torch.Generator("cuda"))
        assert draw(on_cuda, None).shape == draw(on_cpu, None).shape


def test_the_stand_in_notes_what_waits(stand_in):
    with stand_in:
        x = torch.arange(3.0, device=CUDA)
        read_ahead = torch.ones(3).pin_memory()
        for waits in (
            lambda: x.cpu(),
            lambda: x.sum().item(),
            lambda: float(x[0]),
            lambda: bool((x > 0).all()),
            lambda: x.tolist(),
            lambda: x.nonzero(),
            lambda: x[x > 0],
            lambda: x[torch.tensor([0, 1])],
            lambda: torch.ones(3).to(CUDA),
            lambda: torch.ones(3).to(CUDA, non_blocking=True),
            lambda: torch.tensor([1.0], device=CUDA),
            lambda: x.new_tensor([1.0]),
            lambda: x.copy_(torch.ones(3)),
            lambda: torch.linalg.solve(torch.eye(3, device=CUDA), x),
        ):
            stand_in.waits.clear()
            waits()
            assert len(stand_in.waits) == 1
        stand_in.waits.clear()
        read_ahead.to(CUDA, non_blocking=True)
        torch.linalg.solve_ex(torch.eye(3, device=CUDA), x)
        torch.zeros(3, device=CUDA).add_(x).cumsum(0)[1:].double()
        torch.where(x > 0, x, 0.0).clamp(min=1)
        assert stand_in.waits == []


def test_the_stand_in_has_gradients(stand_in):
    with stand_in:
        weight = torch.nn.Parameter(torch.tensor([1.0, 2.0], device=CUDA))
        (weight.square().sum() * 3).backward()
        assert isinstance(weight.grad, CudaTensor)
        assert weight.grad.tolist() == [6, 12]


# Every kind of model.


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_fit_is_that_on_the_cpu_and_never_waits_between_batches(stand_in, name):
    params = KINDS[name]
    X = rows_for(params)
    # Autocast knows that there is no CUDA, and computes in float32.
    expected = uses(make(**{**params, "device": "cpu", "precision": "float32"}).fit(X), X)
    with stand_in:
        waits = WaitsBetweenBatches(stand_in)
        model = make(device="cuda:0", callbacks=[waits], **params).fit(X)
        found = uses(model, X)
        assert all(isinstance(p, CudaTensor) for p in model.module_.state_dict().values())
    assert model.device_ == "cuda:0"
    n_passes = model.n_iter_ * (2 if params.get("early_stopping") else 1)
    assert len(waits.moments) == n_passes > 0
    assert waits.found() == []
    assert_same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["default", "optimal sigma", "mixture of levels", "missing, by column", "multi-rate"]
)
def test_constant_columns(stand_in, name):
    params = KINDS[name]
    X = rows_for(params)
    X[:, [2, 5, 7]] = 1.0
    expected = uses(make(**{**params, "device": "cpu"}).fit(X), X)
    with stand_in:
        waits = WaitsBetweenBatches(stand_in)
        found = uses(make(device="cuda:0", callbacks=[waits], **params).fit(X), X)
    assert waits.found() == []
    assert_same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "optimal sigma", "by column", "categorical top"])
def test_columns_that_come_alive(stand_in, name):
    X = rows_for(KINDS[name])
    first = X.copy()
    first[:, [0, 5]] = 1.0

    def train(device):
        return make(**{**KINDS[name], "device": device}).partial_fit(first).partial_fit(X)

    expected = uses(train("cpu"), X)
    with stand_in:
        found = uses(train("cuda:0"), X)
    assert_same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default", "early stopping"])
def test_a_pass_over_twice_as_many_batches_waits_as_often(stand_in, name):
    X = rows_for(KINDS[name])
    n_waits = []
    with stand_in:
        for batch_size in (10, 5):
            n_at_epochs = []

            class CountAtEpochs(Callback):
                def on_epoch_end(self, net, counts=n_at_epochs, **kwargs):
                    counts.append(len(stand_in.waits))

            params = {**KINDS[name], "batch_size": batch_size, "max_epochs": 3}
            make(device="cuda:0", callbacks=[CountAtEpochs()], **params).fit(X)
            n_waits.append(np.diff(n_at_epochs).tolist())
    assert n_waits[0] == n_waits[1]
    assert min(n_waits[0]) > 0


# Ways of training, and rows that stay on the CPU.


@pytest.mark.slow
def test_partial_fit_and_warm_start(stand_in, iris):
    def train(device):
        model = make(device=device, batch_size=50, warm_start=True).fit(iris)
        return model.partial_fit(iris).partial_fit(iris[:30]).fit(iris)

    expected = uses(train("cpu"), iris)
    with stand_in:
        found = uses(train("cuda:0"), iris)
    assert_same(found, expected)


@pytest.mark.slow
def test_rates_of_a_multi_rate_model(stand_in, iris):
    def fine_tuned(device):
        params = {**KINDS["multi-rate"], "layer_rates": 1, "device": device, "batch_size": 50}
        multi = make(**params).fit(iris)
        return multi.at(2), multi.fine_tune(2, max_epochs=1)

    expected = [uses(model, iris) for model in fine_tuned("cpu")]
    with stand_in:
        found = [uses(model, iris) for model in fine_tuned("cuda:0")]
    for pair in zip(found, expected, strict=True):
        assert_same(*pair)


SOURCES = {
    "array larger than the device": lambda X: X,
    "CSR": sparse.csr_array,
    "Dataset": lambda X: TensorDataset(torch.from_numpy(X)),
}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_rows_read_ahead_are_sent_without_a_wait(stand_in, monkeypatch, iris, source):
    X = iris[::3]
    monkeypatch.setattr("sk_hvae._data.rows._WINDOW_ELEMENTS", 160)
    monkeypatch.setattr("sk_hvae._data.rows._READ_AT_ONCE_ELEMENTS", 160)
    monkeypatch.setattr("sk_hvae._data.rows._CHUNK_ELEMENTS", 60)
    monkeypatch.setattr("sk_hvae._data.batches._SHUFFLED_ELEMENTS", 200)
    monkeypatch.setattr("sk_hvae._data.batches._BLOCK_ELEMENTS", 20)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 1000))
    params = {"early_stopping": True, "max_epochs": 1}
    expected = uses(make(device="cpu", **params).fit(X), X)
    with stand_in:
        waits = WaitsBetweenBatches(stand_in)
        model = make(device="cuda:0", callbacks=[waits], **params).fit(SOURCES[source](X))
        found = uses(model, X)
    assert len(waits.moments) == 2
    assert waits.found() == []
    assert_same(found, expected)


# Models that were fitted on a GPU, read back from a file: their weights are on the CPU until used.


def fitted_on_cuda(model, path):
    """Save a model as if it had been fitted on CUDA."""
    model.save(path)
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["sk_hvae"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    header["device"] = "cuda:0"
    save_file(arrays, path, {"sk_hvae": json.dumps(header)})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return rows and, by name of a kind, a model as it was fitted and the path of its file."""
    folder = tmp_path_factory.mktemp("fitted on cuda")
    X = rows_for({})
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr("sk_hvae.nn.conditioned._N_CODES", 6)
        patch.setattr("sk_hvae._fit.plane_control._N_NODES", {1: 4, 2: 3})
        models = {}
        for name in ("default", "multi-rate", "clusterer"):
            path = folder / f"{name}.safetensors"
            models[name] = make(**KINDS[name]).fit(X), path
            fitted_on_cuda(models[name][0], path)
    return X, models


def torch_part(model, part, rows):
    return model.to_torch(part)(torch.from_numpy(rows).to(model.device_)).cpu().numpy()


def shown(display, model, X, **params):
    """Return the numbers that a display would draw of images."""
    made = vars(display.from_estimator(model, X, image_shape=(3, 4, 4), **params))
    return {k: v for k, v in made.items() if isinstance(v, (dict, np.ndarray))}


# What to call first, of a model and rows.
FIRST = {
    "transform": lambda m, X: m.transform(X),
    "inverse_transform": lambda m, X: m.inverse_transform(np.ones((3, m.transform(X).shape[1]))),
    "reconstruct, resampled": lambda m, X: m.reconstruct(X, "top", resample=True),
    "latents, sampled": lambda m, X: m.latents(X, sample=True),
    "sample": lambda m, X: m.sample(4),
    "sample, mean": lambda m, X: m.sample(4, mean=True, random_state=1),
    "score_samples": lambda m, X: m.score_samples(X),
    "typicality": lambda m, X: m.typicality(X),
    "to_torch, encoder": lambda m, X: torch_part(m, "encoder", X),
    "mutual_information": lambda m, X: mutual_information(m, X, random_state=0),
    "log_likelihood": lambda m, X: log_likelihood(m, X, n_samples=2),
    "pickle": lambda m, X: pickle.loads(pickle.dumps(m)).reconstruct(X, "top", resample=True),  # noqa: S301
    "copy": lambda m, X: copy.deepcopy(m).reconstruct(X, "top", resample=True),
    "samples plotted": lambda m, X: shown(SampleDisplay, m, X),
    "reconstructions plotted": lambda m, X: shown(ReconstructionDisplay, m, X),
    "traversals plotted": lambda m, X: shown(TraversalDisplay, m, X, layer=1),
}
OF_KIND = {
    "default": {
        "partial_fit": lambda m, X: m.partial_fit(X).reconstruct(X, "top", resample=True),
        "warm start": lambda m, X: m.set_params(warm_start=True).fit(X).transform(X),
    },
    "multi-rate": {
        "at": lambda m, X: m.at((1, 2)).reconstruct(X, "top", resample=True),
        "fine_tune": lambda m, X: m.fine_tune((1, 2), X, max_epochs=1).transform(X),
    },
    "clusterer": {
        "predict_proba": lambda m, X: m.predict_proba(X),
        "sample of a cluster": lambda m, X: m.sample(4, cluster=0),
    },
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("kind", "first"),
    [(kind, first) for kind in OF_KIND for first in (*FIRST, *OF_KIND[kind])],
)
def test_whatever_is_called_first_after_load_is_that_on_the_cpu(stand_in, saved, kind, first):
    X, models = saved
    model, path = models[kind]
    use = {**FIRST, **OF_KIND[kind]}[first]
    expected = use(copy.deepcopy(model), X)
    with stand_in:
        loaded = type(model).load(path).set_params(device="cuda:0")
        assert loaded.device_ == "cuda:0"
        found = use(loaded, X)
    np.testing.assert_equal(found, expected)


def test_a_model_that_was_moved_to_the_cpu_draws_on_its_device_again(stand_in):
    X = rows_for({})
    with stand_in:
        model = make(device="cuda:0").fit(X)
        expected = model.reconstruct(X, "top", resample=True)
        model.module_.cpu()
        found = model.reconstruct(X, "top", resample=True)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore::sk_hvae.exceptions.DeviceWarning")
def test_without_cuda_a_model_from_there_draws_on_the_cpu(saved):
    X, models = saved
    for model, path in models.values():
        found = type(model).load(path).reconstruct(X, "top", resample=True)
        np.testing.assert_array_equal(found, model.reconstruct(X, "top", resample=True))
