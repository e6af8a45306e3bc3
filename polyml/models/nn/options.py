"""How a network is built and trained, by names; importing this imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from polyml.errors import UserError
from polyml.models.limits import check_name, check_number

ACTIVATIONS = ("silu", "relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid")
NORMS = ("layer", "batch", "none")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop", "adagrad")
FINETUNING = ("all", "gradual", "frozen")
SCHEDULES = ("one_cycle", "cosine", "step", "exponential", "plateau", "warmup", "constant")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
LOSSES = ("mse", "mae", "huber", "gaussian_nll", "beta_nll")
NOISE_LOSSES = ("gaussian_nll", "beta_nll")
"""Losses with which a network predicts the variance of the noise beside the mean."""
_MANY = 1000  # polymers from which on some are set aside by default
_ASIDE = 0.12
_WARMUP = {"one_cycle": 0.15, "warmup": 0.1}


@dataclass(frozen=True)
class Optimisation:
    """How a network is trained.

    Attributes
    ----------
    optimizer : {"adamw", "adam", "sgd", "rmsprop", "adagrad"}
    lr : float
        Highest learning rate.
    momentum : float
        Of sgd and rmsprop; a one-cycle schedule runs it 0.05 to both sides, against the learning rate.
    nesterov : bool
        Nesterov's momentum, of sgd.
    weight_decay : float
        L2 penalty on the weights; decoupled from the gradient with adamw.
    l1 : float
        L1 penalty on the weights.
    schedule : {"one_cycle", "cosine", "step", "exponential", "plateau", "warmup", "constant"}
        Course of the learning rate: up and down once (Smith and Topin 2019); half a cosine; three steps; exponential
        decay; a step whenever the validation loss stands still; a rise, then constant; constant.
    warmup : float, optional
        Part of the training in which the learning rate rises from nearly zero. None leaves it to the schedule: 0.15
        for one_cycle, 0.1 for warmup, none for the others.
    lr_end : float
        Last learning rate as part of ``lr``, for cosine, step, exponential and plateau.
    loss : {"mse", "mae", "huber", "gaussian_nll", "beta_nll"}
        Of a regression. ``gaussian_nll`` lets the network predict its own noise (Nix and Weigend, ICNN 1994);
        ``beta_nll`` does too, and weighs each error by the predicted standard deviation, so that what is hard to fit
        is not put down to noise (Seitzer et al., ICLR 2022). Classes are learned by cross-entropy.
    clip : float
        Largest norm of the gradient; 0 for no limit.
    max_epochs : int
    patience : int
        Epochs without a better validation loss before training ends, where some polymers are set aside.
    batch_size : int
    validation : float, optional
        Part of the training polymers set aside for early stopping; the weights of their best epoch are kept. With 0 all
        polymers are trained on for all epochs. None sets aside 0.12 of a thousand polymers or more, and none of fewer:
        a tenth of these is too few to judge by, and the network learns more from them; with swa none either.
    swa : bool
        Average the weights over the last quarter of the epochs (Izmailov et al., UAI 2018) instead of taking the
        best epoch; training does not stop early then.
    finetune : {"all", "gradual", "frozen"}
        What is trained of a network whose encoder is pretrained: all of it; the layers of the encoder one after the
        other from the top down, all of them by half of the epochs (Howard and Ruder, ACL 2018); or none of them.
    encoder_lr : float
        Learning rate of a pretrained encoder as a share of the rest's (discriminative learning rates, ibid.); a frozen
        one has none.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-2
    l1: float = 0.0
    schedule: str = "one_cycle"
    warmup: float | None = None
    lr_end: float = 0.01
    loss: str = "mse"
    clip: float = 1.0
    max_epochs: int = 100
    patience: int = 15
    batch_size: int = 32
    validation: float | None = None
    swa: bool = False
    finetune: str = "all"
    encoder_lr: float = 1.0

    @property
    def warmup_part(self) -> float:
        """Part of the training in which the learning rate rises."""
        return _WARMUP.get(self.schedule, 0.0) if self.warmup is None else self.warmup

    def validation_part(self, polymers: int) -> float:
        """Part of so many polymers that is set aside.

        Examples
        --------
        >>> Optimisation().validation_part(300), Optimisation(validation=0.2).validation_part(300)
        (0.0, 0.2)
        """
        if self.validation is None:
            return _ASIDE if polymers >= _MANY and not self.swa else 0.0
        return self.validation

    def check(self, where: str) -> None:
        """Check names, ranges and combinations.

        Raises
        ------
        UserError
            Naming the parameter, and the nearest right name.
        """
        check_name("optimizer", self.optimizer, OPTIMIZERS, where)
        check_name("schedule", self.schedule, SCHEDULES, where)
        check_name("loss", self.loss, LOSSES, where)
        check_name("finetune", self.finetune, FINETUNING, where)
        for name in ("max_epochs", "batch_size", "patience"):
            check_number(name, getattr(self, name), 1, math.inf, where)
        for name in ("weight_decay", "l1", "clip"):
            check_number(name, getattr(self, name), 0.0, math.inf, where)
        check_number("lr", self.lr, 1e-15, math.inf, where)
        check_number("encoder_lr", self.encoder_lr, 0.0, math.inf, where)
        if self.validation is not None:
            check_number("validation", self.validation, 0.0, 0.9, where)
        for name in ("momentum", "lr_end", "warmup_part"):
            check_number(name.removesuffix("_part"), getattr(self, name), 0.0, 1.0, where)
        if self.momentum != Optimisation.momentum and self.optimizer not in ("sgd", "rmsprop"):
            raise UserError(
                f"optimizer '{self.optimizer}' has no momentum", where=where, fix="leave momentum out, or take sgd"
            )
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise UserError("nesterov needs optimizer='sgd' and a momentum", where=where, fix="leave nesterov out")
        if self.schedule in ("plateau", "constant") and self.warmup:
            raise UserError(
                f"schedule '{self.schedule}' has no warm-up", where=where, fix="leave warmup out, or take another"
            )
        if self.swa and self.schedule == "plateau":
            raise UserError("swa sets the learning rate itself", where=where, fix="take another schedule than plateau")
