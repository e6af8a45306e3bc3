"""Graph networks on periodic graphs, from scratch and pretrained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from polyml.chem import RepeatUnit
from polyml.models.neural import NeuralModel

if TYPE_CHECKING:
    from polyml.models.nn.inputs import GraphInputs, Inputs


class GraphModel(NeuralModel):
    """Message passing network on the periodic graph, for all targets at once.

    Hu et al.: Strategies for pre-training graph neural networks, ICLR 2020 (GINE layers); Yang et al.: Analyzing
    learned molecular representations for property prediction. J. Chem. Inf. Model. 59, 3370 (2019) (messages over
    bonds); Aldeghi and Coley, Chem. Sci. 13, 10486 (2022) (graphs of polymers). Atoms are pooled by mean and maximum,
    so the answer is the same for every frame and multiple of the repeat unit.

    Parameters
    ----------
    width : int
        Length of the vector of an atom.
    depth : int
        Message passing steps.
    dropout : float
    ensemble, max_epochs, patience, batch_size, lr, weight_decay, accelerator, devices, precision, targets, random_state
        See :class:`polyml.models.neural.NeuralModel`.
    """

    key = "gnn"
    family = "graph network"
    title = "Graph network on periodic graphs"
    citation = "Hu et al. 2020; Yang et al. 2019; PyTorch Geometric, Lightning"
    input_kind = "graph"
    search_space: ClassVar[dict[str, Any]] = {
        "width": {"type": "int", "low": 64, "high": 256, "log": True},
        "depth": {"type": "int", "low": 2, "high": 6},
        "dropout": {"type": "float", "low": 0.0, "high": 0.4},
        "lr": {"type": "float", "low": 3e-4, "high": 1e-2, "log": True},
    }
    toy_params: ClassVar[dict[str, Any]] = {**NeuralModel.toy_params, "depth": 2}

    def __init__(
        self,
        width: int = 96,
        depth: int = 4,
        dropout: float = 0.1,
        ensemble: int = 1,
        max_epochs: int = 60,
        patience: int = 20,
        batch_size: int = 32,
        lr: float = 2e-3,
        weight_decay: float = 0.01,
        accelerator: str = "auto",
        devices: int | str = 1,
        precision: str = "32-true",
        targets: str = "decorrelated",
        random_state: int | None = 0,
    ) -> None:
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.ensemble = ensemble
        self.max_epochs = max_epochs
        self.patience = patience
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.accelerator = accelerator
        self.devices = devices
        self.precision = precision
        self.targets = targets
        self.random_state = random_state

    def _inputs(self, items: Sequence[str | RepeatUnit]) -> GraphInputs:
        from polyml.features.batch import featurize
        from polyml.models.nn.inputs import GraphInputs

        return GraphInputs(featurize("periodic_graph", items))

    def _shape(self, inputs: Inputs) -> dict[str, int]:
        graph = inputs.graphs[0]  # type: ignore[union-attr]
        return {"atom_dim": int(graph.x.shape[1]), "bond_dim": int(graph.edge_attr.shape[1])}

    def _encoder(self, shape: dict[str, int]) -> Any:
        from polyml.models.nn.layers import GraphEncoder

        return GraphEncoder(shape["atom_dim"], shape["bond_dim"], self.width, self.depth, self.dropout)


class PretrainedGraphModel(GraphModel):
    """The network of :class:`GraphModel`, pretrained on unlabelled polymers and then trained on the labels.

    Hu et al.: Strategies for pre-training graph neural networks, ICLR 2020. The encoder first learns to predict the
    periodic descriptors of candidate polymers, which cost nothing but their structures
    (:func:`polyml.training.pretrain.pretrain_graph_encoder`). It sees no label. Its polymers are not compared with the
    test polymers of a later split: a structure among both is seen without its label, as in any unlabelled pretraining.

    Parameters
    ----------
    pretrained : str, optional
        Folder of an encoder. None pretrains one on the embedded candidates, once, and keeps it in the cache folder
        (``POLYML_CACHE``) by the hash of its data and parameters.
    n_unlabelled : int
        Polymers to pretrain on when ``pretrained`` is None.
    pretrain_epochs : int
        Epochs of pretraining when ``pretrained`` is None.
    pretrain_seed : int
        Seed of the pretraining and of its sample: one encoder serves all folds and seeds.
    width, depth, dropout, ensemble, max_epochs, patience, batch_size, lr, weight_decay, accelerator, devices, precision
        See :class:`GraphModel`; width and depth are those of the encoder.
    targets, random_state
        See :class:`GraphModel`.
    """

    key = "gnn_pretrained"
    family = "transfer learning"
    title = "Graph network pretrained on unlabelled candidates"
    citation = "Hu et al. 2020; PyTorch Geometric, Lightning"
    toy_params: ClassVar[dict[str, Any]] = {**GraphModel.toy_params, "n_unlabelled": 40, "pretrain_epochs": 2}

    def __init__(
        self,
        pretrained: str | None = None,
        n_unlabelled: int = 4000,
        pretrain_epochs: int = 10,
        pretrain_seed: int = 1,
        width: int = 96,
        depth: int = 4,
        dropout: float = 0.1,
        ensemble: int = 1,
        max_epochs: int = 60,
        patience: int = 20,
        batch_size: int = 32,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        accelerator: str = "auto",
        devices: int | str = 1,
        precision: str = "32-true",
        targets: str = "decorrelated",
        random_state: int | None = 0,
    ) -> None:
        super().__init__(
            width=width,
            depth=depth,
            dropout=dropout,
            ensemble=ensemble,
            max_epochs=max_epochs,
            patience=patience,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            accelerator=accelerator,
            devices=devices,
            precision=precision,
            targets=targets,
            random_state=random_state,
        )
        self.pretrained = pretrained
        self.n_unlabelled = n_unlabelled
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_seed = pretrain_seed

    def _prepare_encoder(self, encoder: Any, inputs: Inputs) -> None:
        from polyml.training.pretrain import load_encoder

        load_encoder(encoder, self._encoder_folder())

    def _encoder_folder(self) -> Path:
        if self.pretrained is not None:
            return Path(self.pretrained)
        from polyml.training.loop import Hardware
        from polyml.training.pretrain import PretrainSpec, cached_encoder

        spec = PretrainSpec(width=self.width, depth=self.depth, epochs=self.pretrain_epochs, seed=self.pretrain_seed)
        return cached_encoder(self.n_unlabelled, spec, Hardware(self.accelerator, self.devices, self.precision))
