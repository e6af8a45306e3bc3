"""Graph networks on periodic graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polyml.chem import RepeatUnit
from polyml.models.joint import JointModel
from polyml.models.pretrained import FOUNDATION
from polyml.models.space import Choice, Float, Int

if TYPE_CHECKING:
    from polyml.models.nn.inputs import GraphInputs


class GraphModel(JointModel):
    """Message passing on the periodic graph, for all targets at once: what all graph networks share.

    Atoms are pooled by mean and maximum, so the answer is the same for every frame and multiple of the repeat unit.
    Aldeghi and Coley, Chem. Sci. 13, 10486 (2022) (graphs of polymers).

    Parameters
    ----------
    features : str or list of str, optional
        Keys of array featurizers whose columns stand beside the graph's vector; none by default.
    heads, width, depth, dropout, activation, norm, ensemble, optimizer, lr, schedule, loss, ...
        See :class:`polyml.models.joint.JointModel`; ``depth`` counts the message passing steps.
    """

    family = "graph network"
    input_kind = "graph"
    search_space = {
        "width": Choice((64, 96, 128, 192, 256)),  # all can be divided among the heads
        "depth": Int(2, 6),
        "dropout": Float(0.0, 0.4),
        "lr": Float(3e-4, 1e-2, log=True),
    }
    toy_params = {**JointModel.toy_params, "depth": 2}

    width: int = 96
    depth: int = 4

    def _main_inputs(self, items: Sequence[str | RepeatUnit]) -> GraphInputs:
        from polyml.features.batch import featurize
        from polyml.features.graphs import PeriodicGraphs
        from polyml.models.nn.inputs import GraphInputs

        units = [item for item in items if isinstance(item, RepeatUnit)]
        if items and len(units) == len(items):  # what is parsed already is not kept: no need of single graphs
            return GraphInputs(PeriodicGraphs().arrays(units))
        return GraphInputs(featurize("periodic_graph", items))

    def _main_shape(self, inputs: Any) -> dict[str, int]:
        return {"atom_dim": inputs.atom_dim, "bond_dim": inputs.bond_dim}

    def _main_encoder(self, shape: dict[str, int]) -> Any:
        from polyml.models.nn.graphs import ENCODERS

        return ENCODERS[self._architecture()](shape["atom_dim"], shape["bond_dim"], **self._layers())


class GCNModel(GraphModel):
    """Graph convolutional network: an atom takes the weighted mean of its neighbours, whatever the bond.

    Kipf and Welling: Semi-supervised classification with graph convolutional networks, ICLR 2017. Parameters as in
    :class:`GraphModel`.
    """

    key = "gcn"
    title = "Graph convolutional network (GCN)"
    citation = "Kipf and Welling 2017; PyTorch Geometric"


class GATModel(GraphModel):
    """Graph attention network (GATv2): an atom weighs its neighbours by atom and bond.

    Brody, Alon and Yahav: How attentive are graph attention networks? ICLR 2022. Parameters as in :class:`GraphModel`.
    """

    key = "gat"
    title = "Graph attention network (GATv2)"
    citation = "Brody et al. 2022; PyTorch Geometric"
    without_effect = ()


class GINModel(GraphModel):
    """Graph isomorphism network with bonds (GINE): neighbours are summed and passed through a small network.

    Hu et al.: Strategies for pre-training graph neural networks, ICLR 2020. Parameters as in :class:`GraphModel`.
    """

    key = "gin"
    title = "Graph isomorphism network (GINE)"
    citation = "Hu et al. 2020; PyTorch Geometric"


class DMPNNModel(GraphModel):
    """Directed message passing network (D-MPNN): messages along bonds that never turn back at once.

    Yang et al.: Analyzing learned molecular representations for property prediction. J. Chem. Inf. Model. 59, 3370
    (2019). Parameters as in :class:`GraphModel`.
    """

    key = "dmpnn"
    title = "Directed message passing (D-MPNN)"
    citation = "Yang et al. 2019; PyTorch"

    activation: str = "relu"


class AttentiveFPModel(GraphModel):
    """AttentiveFP: graph attention with gated updates, and attention over the atoms for the vector of the polymer.

    Xiong et al.: Pushing the boundaries of molecular representation for drug discovery with the graph attention
    mechanism. J. Med. Chem. 63, 8749 (2020). Parameters as in :class:`GraphModel`; ``norm`` and ``heads``
    are those of the paper, and ``activation`` is that of the layer behind the graph.
    """

    key = "attentivefp"
    title = "AttentiveFP"
    citation = "Xiong et al. 2020; PyTorch Geometric"
    without_effect = ("heads", "norm")


class GPSModel(GraphModel):
    """GPS: message passing beside attention between all atoms of the unit.

    Rampášek et al.: Recipe for a general, powerful, scalable graph transformer, NeurIPS 2022. Parameters as in
    :class:`GraphModel`.
    """

    key = "gps"
    title = "Graph transformer (GPS)"
    citation = "Rampášek et al. 2022; PyTorch Geometric"
    without_effect = ()

    width: int = 64
    depth: int = 3
    lr: float = 1e-3


class FoundationModel(DMPNNModel):
    """The network of :class:`DMPNNModel` that starts from the pretrained encoder that comes with polyml.

    Hu et al.: Strategies for pre-training graph neural networks, ICLR 2020. The encoder has learned to predict the
    periodic descriptors of candidate polymers from their graphs, and seen no measured value;
    ``polyml/models/foundation/card.json`` tells on which polymers, and how well it does. Parameters as in
    :class:`DMPNNModel`; width, depth, activation and norm are those of the encoder.
    """

    key = "foundation"
    family = "transfer learning"
    title = "Graph network that starts from a pretrained one"
    citation = "Hu et al. 2020; Yang et al. 2019"
    search_space = {
        "dropout": Float(0.0, 0.4),
        "lr": Float(1e-4, 3e-3, log=True),
        "encoder_lr": Float(0.05, 1.0, log=True),
        "finetune": Choice(("all", "gradual", "frozen")),
    }
    toy_params = {"max_epochs": 30, "patience": 30, "batch_size": 8}
    overfit_params = {"max_epochs": 100, "patience": 100, "dropout": 0.0, "lr": 3e-3}

    pretrained: str | None = FOUNDATION
    width: int = 128
    lr: float = 1e-3

    def _architecture(self) -> str:
        return "dmpnn"
