"""Module, batches, optimiser and callbacks put together to a net that trains."""

from skorch.helper import predefined_split

from sk_hvae._data.batches import RowBatches, Share
from sk_hvae._fit.callbacks import EarlyStoppingPastRamp, EpochHook, ProgressLine
from sk_hvae._fit.loop import LocalNet
from sk_hvae._fit.parameter_groups import optimizer_for
from sk_hvae._fit.shared_net import SharedNet
from sk_hvae.nn.noise import GeneratorNoise


def build_net(
    module,
    control,
    settings,
    generator,
    validation=None,
    checkpoint=None,
    accelerator=None,
    on_epoch=None,
):
    """Put module, batches, optimiser and callbacks together, ready for ``partial_fit``.

    Parameters
    ----------
    module : HierarchicalVAE
        On the device of the settings, started.
    control : RateController or FixedMultipliers
        Gives the betas.
    settings : TrainingSettings
        What the user chose.
    generator : torch.Generator
        On the same device; shuffles the rows and draws the noise.
    validation : TrainingRows, default=None
        Rows to watch for early stopping.
    checkpoint : Checkpoint, default=None
        Where to keep the state, and where to go on from.
    accelerator : accelerate.Accelerator, default=None
        Joins this process to others.
    on_epoch : callable, default=None
        Called after each epoch with the net; training stops if it returns True.

    Returns
    -------
    HVAENet
        Initialised.
    """
    share = Share()
    if accelerator is not None:
        share = Share(accelerator.process_index, accelerator.num_processes)
    callbacks = list(settings.callbacks)
    if on_epoch is not None:
        callbacks.append(EpochHook(on_epoch))
    if settings.verbose and share.number == 0:
        callbacks.append(ProgressLine())
    if validation is not None:
        callbacks.append(
            EarlyStoppingPastRamp(
                patience=settings.patience,
                threshold=0,
                threshold_mode="abs",
                load_best=True,
            )
        )
    params = {
        "control": control,
        "noise": GeneratorNoise(generator, *share),
        "autocast": settings.autocast,
        "n_steps": settings.n_steps,
        "checkpoint": checkpoint,
        "criterion": control.loss,
        "optimizer": optimizer_for(module, settings.weight_decay),
        "lr": settings.lr,
        "max_epochs": settings.max_epochs,
        "batch_size": settings.batch_size,
        "iterator_train": RowBatches,
        "iterator_train__generator": generator,
        "iterator_train__share": share,
        "iterator_valid": RowBatches,
        "train_split": None if validation is None else predefined_split(validation),
        "callbacks": callbacks,
        "verbose": 0,
    }
    if accelerator is None:
        net = LocalNet(module, device=str(settings.device), **params)
    else:
        net = SharedNet(
            module, accelerator=accelerator, device=None, unwrap_after_train=False, **params
        )
    return net.initialize()
