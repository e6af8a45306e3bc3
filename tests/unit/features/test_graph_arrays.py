"""Graphs read off a unit as written are those read from the middle of a chain, to the last bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polyml.chem import RepeatUnit
from polyml.data.catalog import embedded_path
from polyml.features import graph_arrays
from polyml.features.graphs import PeriodicGraphs
from polyml.row_faults import parse_all

FIELDS = ("x", "ends", "bonds", "reverse", "n_atoms", "n_edges")
AT_THE_JOINT = [
    "*C(=O)C(*)=O", "*C(=O)CC(*)=O", "*S(=O)C=C*", "*N=N*", "*C=CS*", "*C#CO*", "*C(=O)*", "*O*", "*[O+]=C*", "*[NH]*",
    "*[N+](C)=CC*", "*C(=[O+]C)N*", "*B(C)C=C*", "*[Si]=CC=C*", "*P(C)C=C*", "*C=CP(=O)(C)*", "*[B-](C)(C)C=C*",
    "*[C-]C=C*", "*[Ge](C)(C)C=C*", "*C=C[Sn](C)(C)*", "*C=C[Se]*", "*[CH+]C=C*", "*C(C=C)=C*", "*[SiH]=C*", "*S*",
    "*[I]C=C*", "*S(=O)(=O)c1ccc(*)cc1", "*N(C)N=C*", "*c1ccc[n+](*)c1", "*n1ccc(*)c1", "*[Fe]C=C*", "*[Al](C)C=C*",
    "*C=C[Zn]*", "*C(=O)[B]*", "*[N]C=C*", "*O[N+](=O)*", "*C(=O)[O+](C)*", "*=CC=*", "*CC*", "*C*", "*c1ccc(*)cc1",
    "*Oc1cc2cc(*)c(*)cc2cc1O*", "*C(=O)NCCCC*", "*C=CC(=O)*", "*C#CC=C*", "*[C]=C*", "*[S+](C)C=C*", "*NC(=O)C=CC(*)=O",
]  # fmt: skip


def read(texts: list[str]) -> list[RepeatUnit]:
    return [unit for _, unit in parse_all(texts)[0]]


def check_against_chains(units: list[RepeatUnit], monkeypatch: pytest.MonkeyPatch) -> None:
    found = PeriodicGraphs().arrays(units)
    monkeypatch.setattr(graph_arrays, "_as_in_chain", lambda unit: None)
    expected = PeriodicGraphs().arrays(units)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("text", AT_THE_JOINT)
def test_what_stands_at_the_joint_is_seen_as_in_the_chain(text: str, monkeypatch) -> None:
    units = read([text])
    if units:
        check_against_chains(units, monkeypatch)


def test_candidates_are_read_as_in_the_chain(monkeypatch) -> None:
    texts = pd.read_parquet(embedded_path("candidates"))["psmiles"].sample(500, random_state=3).tolist()
    check_against_chains(read([*texts, *AT_THE_JOINT]), monkeypatch)


def test_one_graph_is_the_same_in_company() -> None:
    units = read(AT_THE_JOINT)
    together = PeriodicGraphs().transform(units)
    for unit, graph in zip(units, together, strict=True):
        alone = PeriodicGraphs().transform([unit])[0]
        for name in ("x", "edge_index", "edge_attr", "reverse"):
            np.testing.assert_array_equal(alone[name].numpy(), graph[name].numpy())
        back = graph.reverse.numpy()
        np.testing.assert_array_equal(graph.edge_index.numpy()[:, back], graph.edge_index.numpy()[::-1])
        np.testing.assert_array_equal(back[back], np.arange(len(back)))
