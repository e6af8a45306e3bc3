"""What every model that trains a network has in common: how it is trained, and on what hardware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyml.models.base import PolymerModel
from polyml.models.limits import check_name
from polyml.models.nn.options import ACCELERATORS, PRECISIONS, Optimisation
from polyml.models.targets import check_targets

if TYPE_CHECKING:
    from polyml.training.loop import Hardware


class TrainedModel(PolymerModel):
    """The parameters of every model that trains a network.

    Parameters
    ----------
    max_epochs, patience, batch_size : int
    optimizer, lr, momentum, nesterov, weight_decay, l1, schedule, warmup, lr_end, loss, clip, swa, validation
        See :class:`polyml.models.nn.options.Optimisation`.
    accelerator, devices, precision
        See :class:`polyml.training.loop.Hardware`; ``devices="auto"`` uses all GPUs.
    targets : {"decorrelated", "separate"}
        Related targets as differences to each other, or each by itself (``models.targets.TargetBasis``).
    random_state : int or None
    """

    optimizer: str = "adamw"
    lr: float = 2e-3
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.01
    l1: float = 0.0
    schedule: str = "one_cycle"
    warmup: float | None = None
    lr_end: float = 0.01
    loss: str = "mse"
    clip: float = 1.0
    swa: bool = False
    max_epochs: int = 60
    patience: int = 20
    batch_size: int = 32
    validation: float | None = None
    accelerator: str = "auto"
    devices: int | str = 1
    precision: str = "32-true"
    targets: str = "decorrelated"
    random_state: int | None = 0

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        where = f"model '{self.key}'"
        self._optimisation().check(where)
        check_name("precision", self.precision, PRECISIONS, where)
        check_name("accelerator", self.accelerator, ACCELERATORS, where)
        check_targets(self.targets)

    def load_libraries(self) -> None:
        """Import torch and Lightning; see :meth:`polyml.models.base.PolymerModel.load_libraries`."""
        import polyml.training.loop  # noqa: F401

    def _optimisation(self) -> Optimisation:
        return Optimisation(
            optimizer=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            l1=self.l1,
            schedule=self.schedule,
            warmup=self.warmup,
            lr_end=self.lr_end,
            loss=self.loss,
            clip=self.clip,
            swa=self.swa,
            max_epochs=self.max_epochs,
            patience=self.patience,
            batch_size=self.batch_size,
            validation=self.validation,
        )

    def _hardware(self) -> Hardware:
        from polyml.training.loop import Hardware

        return Hardware(self.accelerator, self.devices, self.precision)
