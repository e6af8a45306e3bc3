"""An autoencoder embeds polymers, any regressor or classifier of arrays reads the embedding: the common part."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.chem import RepeatUnit
from polyml.errors import DAMAGED, UserError
from polyml.models.base import Prediction
from polyml.models.inputs import as_psmiles, check_is_trained, draw_seed, fold_names
from polyml.models.limits import check_name, check_number
from polyml.models.members import Member, make_member, member_params
from polyml.models.space import Choice, Float, Int
from polyml.models.stacking import grouped_folds
from polyml.models.storage import read_model, write_model
from polyml.models.tabular import TabularModel
from polyml.models.trained import TrainedModel

if TYPE_CHECKING:
    from polyml.models.nn.autoencoder import Autoencoder
    from polyml.models.nn.inputs import Inputs

KINDS = ("plain", "denoising", "variational")
_REGRESSOR = "regressor"
_ROWS_AT_ONCE = 256
_FOLDS = 5  # one of which tells how badly polymers are rebuilt that were not seen


class EmbeddingModel(TrainedModel):
    """An autoencoder embeds the polymers without labels; a model of arrays reads the embedding.

    The autoencoder sees the structures of the training polymers and none of their values. How badly it rebuilds another
    polymer tells how strange this is to it: :meth:`novelty`.

    Parameters
    ----------
    kind : {"plain", "denoising", "variational"}
        Denoising hides a part of the input during training (Vincent et al., ICML 2008); variational draws the embedding
        from a distribution held close to the standard normal one (Kingma and Welling, ICLR 2014).
    n_components : int
        Length of the embedding.
    width : int
        Hidden layers.
    noise : float
        Part of the input hidden during training, of a denoising autoencoder.
    beta : float
        Weight of the distance between the distributions, of a variational autoencoder; distance and error are both
        means, over the embedding and over what is rebuilt. The default holds the distribution loosely: the embedding
        keeps what a regressor needs, and is close to that of a plain autoencoder. A larger one makes a smoother
        embedding that knows less.
    regressor : str or mapping
        Model of arrays that reads the embedding, by key or with parameters: ``{"key": "lightgbm", "ensemble": 1}``.
    max_epochs, patience, batch_size, optimizer, lr, schedule, accelerator, ...
        See :class:`polyml.models.trained.TrainedModel`.
    targets, random_state, task, class_weight
        Handed to the regressor too.

    Attributes
    ----------
    history_ : list of dict
        Learning curve of the autoencoder: epoch, and what :data:`polyml.models.nn.module.HISTORY` names.
    """

    family = "autoencoder"
    gives_novelty = True
    tasks = ("regression", "classification")
    search_space = {
        "n_components": Int(32, 1024, log=True),
        "noise": Float(0.0, 0.5),
        "kind": Choice(KINDS),
    }

    kind: str = "denoising"
    n_components: int = 64
    width: int = 256
    noise: float = 0.2
    beta: float = 1e-3
    regressor: Member = "svm"
    patience: int = 15

    @property
    def gives_std(self) -> bool:  # type: ignore[override]
        """Whether the regressor gives a standard deviation."""
        return self._make_regressor(0).gives_std

    def check_params(self) -> None:
        """Check the parameters, those of the regressor too."""
        super().check_params()
        where = f"model '{self.key}'"
        check_name("kind", self.kind, KINDS, where)
        for name in ("n_components", "width"):
            check_number(name, getattr(self, name), 1, np.inf, where)
        check_number("noise", self.noise, 0.0, 0.95, where)
        check_number("beta", self.beta, 0.0, np.inf, where)
        if self.loss != "mse":
            raise UserError(f"an autoencoder has no loss '{self.loss}'", where=where, fix="leave loss out")
        self._make_regressor(0)

    def _make_regressor(self, seed: int) -> TabularModel:
        from polyml.models.catalog import model_class

        where = f"regressor of model '{self.key}'"
        key, params = member_params(self.regressor, where)
        cls = model_class(key)
        if not issubclass(cls, TabularModel) or "features" in params:
            raise UserError(f"'{key}' cannot read an embedding", where=where, fix="take svm, lightgbm or ridge, say")
        shared = {name: getattr(self, name) for name in ("task", "class_weight", "targets")}
        known = {name: value for name, value in shared.items() if name in cls._get_param_names()}
        model = make_member(self.regressor, where, seed, **known)
        assert isinstance(model, TabularModel)
        if model.needs_counts:
            raise UserError(f"'{key}' compares counts, and an embedding has none", where=where, fix="take svm, say")
        return model.read_from(self._embed)

    @abstractmethod
    def _inputs(self, items: Sequence[str | RepeatUnit]) -> Inputs:
        """Return the polymers as the autoencoder reads them."""

    @abstractmethod
    def _rebuilt(self, inputs: Any) -> np.ndarray:
        """Return what is to be rebuilt, (n, d)."""

    @abstractmethod
    def _network(self) -> Autoencoder:
        """Return an untrained autoencoder."""

    @abstractmethod
    def _prepare(self, inputs: Any) -> None:
        """Learn from the training inputs what :meth:`_network` needs to know."""

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> EmbeddingModel:
        """Train the autoencoder on the structures, then the regressor on their embeddings."""
        from polyml.training.loop import split_validation

        self.check_params()
        seed = draw_seed(self.random_state)
        regressor = self._make_regressor(seed)
        items, _ = regressor._training_data(psmiles, y)
        keys = fold_names(items)
        inputs = self._inputs(items)
        self._prepare(inputs)
        rows = split_validation(keys, self._optimisation().validation_part(len(set(keys))), seed)
        self.autoencoder_ = self._train(inputs, rows, seed)
        self._yardstick = partial(self._errors_unseen, items, rows[1], seed)
        self.__dict__.pop("errors_", None)  # of an earlier fit
        self.regressor_ = regressor.fit(items, y)
        self._take_over()
        return self

    def _train(self, inputs: Any, rows: tuple[np.ndarray, np.ndarray], seed: int) -> Autoencoder:
        """Return an autoencoder trained on some rows, and stopped early by others."""
        from polyml.training.loop import seeded, train_network

        with seeded(seed):
            network = self._network()
            self._start(network, inputs)
            train_network(network, inputs, self._rebuilt(inputs), rows, self._optimisation(), self._hardware())
        return network

    def _errors_unseen(self, items: Sequence[str | RepeatUnit], aside: np.ndarray, seed: int) -> np.ndarray:
        """Return the errors on polymers like the training ones that an autoencoder has not seen.

        They are those of the rows set ``aside`` for early stopping; where none were, of a fifth of the polymers by an
        autoencoder trained on the others.
        """
        other = copy(self)
        if not len(aside):
            number = grouped_folds(fold_names(items), np.zeros(len(items)), _FOLDS, seed)
            aside, seen = np.flatnonzero(number == 0), np.flatnonzero(number != 0)
            if len(seen):
                other.autoencoder_ = self._train(self._inputs(items), (seen, np.arange(0)), seed)
        return np.sort(other._errors([items[row] for row in aside]))

    def _unseen(self) -> np.ndarray:
        """Return the errors that :meth:`novelty` compares with; they are found when first asked for."""
        if "errors_" not in vars(self):
            self.errors_ = self._yardstick()
        return self.errors_

    def _start(self, network: Any, inputs: Any) -> None:
        """Give the network what it takes from the training inputs, scaling say."""

    def _take_over(self) -> None:
        self.n_targets_, self.single_ = self.regressor_.n_targets_, self.regressor_.single_
        if self._classifies:
            self.classes_ = self.regressor_.classes_

    def _embed(self, items: Sequence[str | RepeatUnit]) -> np.ndarray:
        """Return embeddings (n, n_components), averaged over the ways of writing a polymer."""
        from polyml.models.nn.predict import member_predictions

        if not items:
            return np.empty((0, self.n_components), np.float32)
        embeddings = member_predictions([self.autoencoder_], self._inputs(items), accelerator=self.accelerator)[0][0]
        return embeddings.astype(np.float32)

    def _errors(self, items: Sequence[str | RepeatUnit]) -> np.ndarray:
        import torch

        if not items:
            return np.empty(0)
        inputs, parts = self._inputs(items), []
        y = torch.as_tensor(self._rebuilt(inputs), dtype=torch.float32)
        with torch.inference_mode():
            for at in range(0, len(items), _ROWS_AT_ONCE):
                rows = list(range(at, min(at + _ROWS_AT_ONCE, len(items))))
                batch = inputs.take(rows)
                parts.append(self.autoencoder_.errors(self.autoencoder_.embed(batch), batch, y[rows]).numpy())
        return np.concatenate(parts).astype(np.float64)

    def novelty(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return how strange polymers are to the autoencoder, (n,).

        It is the error of what is rebuilt over the median of that of training polymers that an autoencoder has not seen
        (:meth:`_errors_unseen`): about 1 for a new polymer like these, less for one of these, 3 for one that is rebuilt
        three times worse.
        """
        check_is_trained(self)
        return self._errors(as_psmiles(psmiles)) / max(float(np.median(self._unseen())), 1e-12)

    @property
    def history_(self) -> list[dict[str, float]]:
        """Learning curve, one row an epoch."""
        return self.autoencoder_.epochs()

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return what the regressor predicts."""
        check_is_trained(self)
        return self.regressor_.predict(psmiles)

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        """Return the distribution that the regressor predicts."""
        check_is_trained(self)
        return self.regressor_.predict_dist(psmiles)

    def predict_proba(self, psmiles: Sequence[str]) -> np.ndarray:
        """Return the probabilities that the classifier predicts."""
        check_is_trained(self)
        return self.regressor_.predict_proba(psmiles)

    def save(self, folder: Path) -> None:
        """Write the autoencoder as safetensors, the regressor into a folder below ``folder``."""
        check_is_trained(self)
        arrays = {f"network.{name}": value.numpy() for name, value in self.autoencoder_.state_dict().items()}
        write_model(Path(folder), self, self._state(), {**arrays, "errors": self._unseen()})
        self.regressor_.save(Path(folder) / _REGRESSOR)

    def _state(self) -> dict[str, Any]:
        """Return what :meth:`_prepare` learned, as JSON can hold it."""
        return {}

    def _load_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`_state` gave."""

    @classmethod
    def load(cls, folder: Path) -> EmbeddingModel:
        """Read what :meth:`save` wrote; predictions are the same numbers."""
        import torch

        from polyml.models.catalog import load_model

        stored = read_model(Path(folder), cls.key)
        model = cls(**stored.params)
        model._load_state(stored.state)
        model.autoencoder_ = model._network()
        weights = {
            name.removeprefix("network."): torch.from_numpy(array)
            for name, array in stored.arrays.items()
            if name.startswith("network.")
        }
        try:
            model.autoencoder_.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(
                f"the weights do not fit the autoencoder: {error}", where=str(folder), fix=DAMAGED
            ) from error
        model.autoencoder_.eval()
        model.errors_ = stored.arrays["errors"]
        regressor = load_model(Path(folder) / _REGRESSOR)
        if not isinstance(regressor, TabularModel):
            raise UserError("the saved regressor reads no arrays", where=str(folder), fix=DAMAGED)
        model.regressor_ = regressor.read_from(model._embed)
        model._take_over()
        return model
