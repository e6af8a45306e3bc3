"""Networks that read the text of a repeat unit, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polyml.chem import RepeatUnit
from polyml.errors import UserError
from polyml.features.tokens import VOCABULARY, PsmilesTokens, check_variants
from polyml.models.joint import JointModel
from polyml.models.space import Choice, Float, Int

if TYPE_CHECKING:
    from polyml.models.nn.inputs import TokenInputs


class SequenceModel(JointModel):
    """A network on the tokens of pSMILES, for all targets at once: what all sequence networks share.

    Each epoch reads a polymer in one of several spellings at random (SMILES enumeration, Bjerrum, arXiv:1703.07076,
    2017), and a prediction is the mean over all of them. The spellings depend on the canonical pSMILES alone, so the
    answer is exactly the same for every frame, direction and multiple of the repeat unit.

    Parameters
    ----------
    features : str or list of str, optional
        Keys of array featurizers whose columns stand beside the vector of the text; none by default.
    variants : int
        Spellings of a polymer, the canonical one included.
    heads, width, depth, dropout, activation, norm, ensemble, optimizer, lr, schedule, loss, ...
        See :class:`polyml.models.joint.JointModel`.
    """

    input_kind = "tokens"
    search_space = {
        "width": Choice((32, 64, 96, 128)),
        "depth": Int(1, 4),
        "dropout": Float(0.0, 0.4),
        "lr": Float(3e-4, 1e-2, log=True),
    }
    toy_params = {**JointModel.toy_params, "variants": 3}

    variants: int = 8
    width: int = 64
    depth: int = 1
    max_epochs: int = 30
    lr: float = 3e-3

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        check_variants(self.variants, f"model '{self.key}'")

    def _main_inputs(self, items: Sequence[str | RepeatUnit]) -> TokenInputs:
        from polyml.features.batch import featurize
        from polyml.models.nn.inputs import TokenInputs

        return TokenInputs(featurize(PsmilesTokens(self.variants), items))

    def _main_shape(self, inputs: Any) -> dict[str, int]:
        return {"vocabulary": len(VOCABULARY)}

    def _main_encoder(self, shape: dict[str, int]) -> Any:
        from polyml.models.nn.sequences import ENCODERS

        return ENCODERS[self._architecture()](shape["vocabulary"], **self._layers())


class CNNModel(SequenceModel):
    """Convolutional network: kernels of several widths slide over the text.

    Kim: Convolutional neural networks for sentence classification, EMNLP 2014; Hirohara et al.: Convolutional neural
    network based on SMILES representation of compounds for detecting chemical motif. BMC Bioinformatics 19, 526 (2018).
    Parameters as in :class:`SequenceModel`.
    """

    key = "cnn"
    family = "convolutional network"
    title = "Convolutional network on pSMILES (1-D CNN)"
    citation = "Kim 2014; Hirohara et al. 2018; PyTorch"

    width: int = 96
    depth: int = 3
    dropout: float = 0.15


class RecurrentModel(SequenceModel):
    """A network that reads the text token by token in both directions: what the three kinds share.

    ``activation`` is that of the layer behind the text; the recurrent layers keep those of their papers. ``width`` is
    even: half of it belongs to each direction.
    """

    family = "recurrent network"
    search_space = {**SequenceModel.search_space, "depth": Int(1, 2), "lr": Float(1e-3, 2e-2, log=True)}

    lr: float = 1e-2

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        if self.width % 2:
            raise UserError(
                f"width={self.width} is not even", where=f"model '{self.key}'", fix="half of it reads each direction"
            )


class RNNModel(RecurrentModel):
    """Recurrent network: each token updates a short memory.

    Elman: Finding structure in time. Cogn. Sci. 14, 179 (1990). Parameters as in :class:`SequenceModel`.
    """

    key = "rnn"
    title = "Recurrent network on pSMILES (RNN)"
    citation = "Elman 1990; PyTorch"

    max_epochs: int = 40
    lr: float = 5e-3


class LSTMModel(RecurrentModel):
    """Long short-term memory: a recurrent network whose gates decide what is kept.

    Hochreiter and Schmidhuber: Long short-term memory. Neural Comput. 9, 1735 (1997). Parameters as in
    :class:`SequenceModel`.
    """

    key = "lstm"
    title = "Long short-term memory on pSMILES (LSTM)"
    citation = "Hochreiter and Schmidhuber 1997; PyTorch"


class GRUModel(RecurrentModel):
    """Gated recurrent units: as the LSTM, with fewer gates.

    Cho et al.: Learning phrase representations using RNN encoder-decoder for statistical machine translation, EMNLP
    2014. Parameters as in :class:`SequenceModel`.
    """

    key = "gru"
    title = "Gated recurrent units on pSMILES (GRU)"
    citation = "Cho et al. 2014; PyTorch"


class TransformerModel(SequenceModel):
    """Transformer: attention between all tokens of the text.

    Vaswani et al.: Attention is all you need, NIPS 2017; Xu et al.: TransPolymer, npj Comput. Mater. 9, 64 (2023), for
    polymers. Parameters as in :class:`SequenceModel`.
    """

    key = "transformer"
    family = "transformer"
    title = "Transformer on pSMILES"
    citation = "Vaswani et al. 2017; Xu et al. 2023; PyTorch"
    without_effect = ()

    depth: int = 2
    max_epochs: int = 20

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        if self.norm != "layer":
            raise UserError(f"a transformer has no norm={self.norm!r}", where=f"model '{self.key}'", fix="use 'layer'")
