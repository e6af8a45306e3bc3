"""The common part of networks that read structures, with features beside them if asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from polyml.chem import RepeatUnit
from polyml.errors import UserError
from polyml.models.limits import check_number
from polyml.models.mlp import array_inputs, array_shape, fit_array_encoder
from polyml.models.neural import NeuralModel
from polyml.models.nn.options import Optimisation
from polyml.models.pretrained import check_encoder, load_encoder
from polyml.models.tabular import FeatureKeys, check_features

if TYPE_CHECKING:
    from polyml.models.nn.inputs import Inputs


class JointModel(NeuralModel):
    """A network on graphs or tokens whose vector may stand beside one layer on fingerprints or descriptors.

    A subclass writes :meth:`_main_inputs`, :meth:`_main_shape` and :meth:`_main_encoder`.

    Parameters
    ----------
    features : str or list of str, optional
        Keys of array featurizers; none by default.
    pretrained : str, optional
        Folder of a pretrained encoder (``polyml pretrain``), or "foundation" for the one that comes with polyml; the
        network starts from it. It is of the same architecture and size.
    finetune : {"all", "gradual", "frozen"}
    encoder_lr : float
        See :class:`polyml.models.nn.options.Optimisation`.
    heads : int
        Attention heads, of the networks that have attention; a divisor of ``width``.
    width, depth, dropout, activation, norm, ensemble, optimizer, lr, schedule, loss, ...
        See :class:`polyml.models.neural.NeuralModel`.
    """

    without_effect: ClassVar[tuple[str, ...]] = ("heads",)

    features: FeatureKeys | None = None
    pretrained: str | None = None
    finetune: str = "all"
    encoder_lr: float = 1.0
    heads: int = 4

    def check_params(self) -> None:
        """Check the parameters; see :meth:`polyml.models.base.PolymerModel.check_params`."""
        super().check_params()
        if self.features:
            check_features(self.features, "array", f"model '{self.key}'")
        where = f"model '{self.key}'"
        check_number("depth", self.depth, 1, 64, where)
        check_number("heads", self.heads, 1, 64, where)
        if "heads" not in self.without_effect and self.width % self.heads:
            what = f"heads={self.heads} does not divide width={self.width}"
            wide = self.heads * max(1, round(self.width / self.heads))
            fewer = max(n for n in range(1, self.heads) if self.width % n == 0)
            raise UserError(what, where=where, fix=f"set width={wide} or heads={fewer}, say")
        if self.pretrained is not None:
            check_encoder(self.pretrained, self._architecture(), self.get_params(deep=False), where)
        elif self.finetune != "all" or self.encoder_lr != 1.0:
            raise UserError("finetune and encoder_lr are for a pretrained encoder", where=where, fix="name one")

    def _architecture(self) -> str:
        """Key of the encoder among the encoders of its kind."""
        return self.key

    def _optimisation(self) -> Optimisation:
        return replace(super()._optimisation(), finetune=self.finetune, encoder_lr=self.encoder_lr)

    @abstractmethod
    def _main_inputs(self, items: Sequence[str | RepeatUnit]) -> Inputs:
        """Return the structures as the network reads them."""

    @abstractmethod
    def _main_shape(self, inputs: Any) -> dict[str, int]:
        """Return the dimensions of :meth:`_main_inputs`."""

    @abstractmethod
    def _main_encoder(self, shape: dict[str, int]) -> Any:
        """Return an untrained encoder of structures."""

    def _layers(self) -> dict[str, Any]:
        """Return what encoders of structures are told of their layers."""
        names = ("width", "depth", "dropout", "activation", "norm", "heads")
        return {name: getattr(self, name) for name in names}

    def _inputs(self, items: Sequence[str | RepeatUnit]) -> Inputs:
        main = self._main_inputs(items)
        if not self.features:
            return main
        from polyml.models.nn.inputs import JointInputs

        return JointInputs(main, array_inputs(self.features, items))

    def _shape(self, inputs: Any) -> dict[str, int]:
        if not self.features:
            return self._main_shape(inputs)
        return {**self._main_shape(inputs.main), **array_shape(inputs.beside)}

    def _encoder(self, shape: dict[str, int]) -> Any:
        main = self._main_encoder(shape)
        if not self.features:
            return main
        from polyml.models.nn.layers import ArrayEncoder, JointEncoder

        beside = ArrayEncoder(shape["columns"], shape["kept"], self.width, 1, self.dropout, self.activation, self.norm)
        return JointEncoder(main, beside)

    def _prepare_encoder(self, encoder: Any, inputs: Any) -> None:
        if self.features:
            fit_array_encoder(encoder.beside, inputs.beside)
        if self.pretrained is not None:
            load_encoder(self._pretrained_part(encoder), self.pretrained)

    def _pretrained_part(self, encoder: Any) -> Any:
        if self.pretrained is None:
            return None
        return encoder.main if self.features else encoder
