"""A net that several processes train together, by accelerate."""

from skorch.hf import AccelerateMixin

from sk_hvae._fit.loop import HVAENet


class SharedNet(AccelerateMixin, HVAENet):
    """An `HVAENet` that several processes train together, each on its share of every batch.

    torch's DistributedDataParallel averages the gradients. The rates that the control and the
    history get are those of whole batches, so that all processes have the same betas.
    """

    @property
    def model(self):
        return self.accelerator.unwrap_model(self.module_)

    @property
    def torch_optimizer(self):
        return getattr(self.optimizer_, "optimizer", self.optimizer_)

    def partial_fit(self, *args, **kwargs):
        self._initialize_accelerator()
        try:
            return super().partial_fit(*args, **kwargs)
        finally:
            self._unwrap_accelerator()

    def train_step_single(self, batch, **fit_params):
        return self._step(batch)

    def _backward(self, loss):
        self.accelerator.backward(loss)

    def _of_all(self, output):
        names = [name for name in ("distortion", "rates", "targets") if hasattr(output, name)]
        parts = {name: getattr(output, name).detach() for name in names}
        return output._replace(**self.accelerator.gather(parts))

    def _total(self, tensor):
        return self.accelerator.reduce(tensor, "sum")
