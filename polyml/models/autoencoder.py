"""Autoencoders of fingerprints, descriptors and pSMILES, whose embeddings a regressor or classifier reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyml.chem import RepeatUnit
from polyml.errors import UserError
from polyml.models.embedding import EmbeddingModel
from polyml.models.limits import check_number
from polyml.models.mlp import MIN_POLYMERS, array_inputs
from polyml.models.tabular import FeatureKeys, check_features, informative_columns

if TYPE_CHECKING:
    from polyml.models.nn.autoencoder import ArrayAutoencoder, SequenceAutoencoder
    from polyml.models.nn.inputs import ArrayInputs, TokenInputs


class AutoencoderModel(EmbeddingModel):
    """Denoising autoencoder of fingerprints and descriptors, and a support vector machine on its embedding.

    Vincent et al.: Extracting and composing robust features with denoising autoencoders. ICML 2008.

    Parameters
    ----------
    features : str or list of str
        Keys of array featurizers.
    kind, n_components, width, noise, beta, regressor, max_epochs, lr, ...
        See :class:`polyml.models.embedding.EmbeddingModel`.
    """

    key = "autoencoder"
    title = "Denoising autoencoder + regressor"
    citation = "Vincent et al. 2008; Lightning"
    toy_params = {"n_components": 8, "width": 16, "max_epochs": 5, "batch_size": 8}

    features: FeatureKeys = ("ecfp_count", "descriptors")
    n_components: int = 256
    width: int = 512

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        check_features(self.features, "array", f"model '{self.key}'")

    def _inputs(self, items: Sequence[str | RepeatUnit]) -> ArrayInputs:
        inputs = array_inputs(self.features, items)
        if hasattr(self, "columns_"):
            inputs.x = inputs.x[:, self.columns_]
        return inputs

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> EmbeddingModel:
        """Choose the columns anew, then fit; see :meth:`EmbeddingModel.fit`."""
        if hasattr(self, "columns_"):
            del self.columns_
        return super().fit(psmiles, y)

    def _prepare(self, inputs: Any) -> None:
        self.columns_ = informative_columns(inputs.x.numpy(), MIN_POLYMERS)
        inputs.x = inputs.x[:, self.columns_]

    def _start(self, network: Any, inputs: Any) -> None:
        network.scale.fit(inputs.x)

    def _rebuilt(self, inputs: Any) -> np.ndarray:
        x: np.ndarray = inputs.x.numpy()
        return x

    def _network(self) -> ArrayAutoencoder:
        from polyml.models.nn.autoencoder import ArrayAutoencoder

        return ArrayAutoencoder(
            len(self.columns_), self.width, self.kind, self.n_components, self.noise, self.beta, self._optimisation()
        )

    def _state(self) -> dict[str, Any]:
        return {"columns": self.columns_.tolist()}

    def _load_state(self, state: dict[str, Any]) -> None:
        self.columns_ = np.asarray(state["columns"], dtype=int)


class VariationalAutoencoderModel(AutoencoderModel):
    """Variational autoencoder of fingerprints and descriptors, and a support vector machine on its embedding.

    Kingma and Welling: Auto-encoding variational Bayes, ICLR 2014. Parameters as in :class:`AutoencoderModel`.
    """

    key = "variational_autoencoder"
    title = "Variational autoencoder + regressor"
    citation = "Kingma and Welling 2014; Lightning"

    kind: str = "variational"


class SequenceAutoencoderModel(EmbeddingModel):
    """Autoencoder of pSMILES: it reads any spelling and writes the canonical one; a regressor reads its embedding.

    Winter et al.: Learning continuous and data-driven molecular descriptors by translating equivalent chemical
    representations. Chem. Sci. 10, 1692 (2019).

    Parameters
    ----------
    variants : int
        Spellings of a polymer; see :class:`polyml.models.sequence.SequenceModel`.
    depth : int
        Recurrent layers.
    dropout : float
    kind, n_components, width, noise, beta, regressor, max_epochs, lr, ...
        See :class:`polyml.models.embedding.EmbeddingModel`.
    """

    key = "sequence_autoencoder"
    title = "Autoencoder of pSMILES + regressor"
    citation = "Winter et al. 2019; PyTorch, Lightning"
    input_kind = "tokens"
    toy_params = {"n_components": 8, "width": 16, "max_epochs": 4, "batch_size": 8, "variants": 2}

    kind: str = "plain"
    width: int = 128
    depth: int = 1
    dropout: float = 0.0
    variants: int = 8
    lr: float = 4e-3

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        from polyml.features.tokens import check_variants

        super().check_params()
        where = f"model '{self.key}'"
        check_variants(self.variants, where)
        check_number("depth", self.depth, 1, 16, where)
        check_number("dropout", self.dropout, 0.0, 0.95, where)
        if self.width % 2:
            raise UserError(f"width={self.width} is not even", where=where, fix="half of it reads each direction")

    def _inputs(self, items: Sequence[str | RepeatUnit]) -> TokenInputs:
        from polyml.features.batch import featurize
        from polyml.features.tokens import PsmilesTokens
        from polyml.models.nn.inputs import TokenInputs

        return TokenInputs(featurize(PsmilesTokens(self.variants), items))

    def _prepare(self, inputs: Any) -> None:
        """Nothing is learned: the vocabulary is fixed."""

    def _rebuilt(self, inputs: Any) -> np.ndarray:
        rows = list(range(len(inputs)))
        tokens: np.ndarray = inputs.take(rows).tokens.numpy() if rows else np.zeros((0, 1))
        return tokens

    def _network(self) -> SequenceAutoencoder:
        from polyml.features.tokens import MASK, VOCABULARY
        from polyml.models.nn.autoencoder import SequenceAutoencoder
        from polyml.models.nn.sequences import GRUEncoder

        encoder = GRUEncoder(len(VOCABULARY), self.width, self.depth, dropout=self.dropout)
        return SequenceAutoencoder(
            encoder, len(VOCABULARY), MASK, self.kind, self.n_components, self.noise, self.beta, self._optimisation()
        )
