"""What every featurizer of the catalog owes: the same answer for every way to write a polymer. And raw RDKit agrees."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import MACCSkeys, rdFingerprintGenerator, rdMolDescriptors
from sklearn.base import clone

from polyml.chem import RepeatUnit
from polyml.chem.periodic import join
from polyml.chem.variants import frames, multiple, random_spelling, reversed_spelling
from polyml.errors import RepeatUnitError, UserError
from polyml.features import FEATURIZERS, make_featurizer

LINEAR = {
    "polymethylene": "*C*",
    "polyethylene": "*CC*",
    "polypropylene": "*CC(*)C",
    "isotactic polypropylene": "*C[C@H](*)C",
    "polystyrene": "*CC(*)c1ccccc1",
    "poly(methyl methacrylate)": "*CC(*)(C)C(=O)OC",
    "poly(ethylene oxide)": "*OCC*",
    "poly(lactic acid)": "*O[C@H](C)C(*)=O",
    "PET": "*OCCOC(=O)c1ccc(C(*)=O)cc1",
    "nylon 6": "*NCCCCCC(*)=O",
    "PDMS": "*[Si](C)(C)O*",
    "polysilane": "*[Si](C)(C)*",
    "PTMSP": "*/C(C)=C(/*)[Si](C)(C)C",
    "polyacetylene": "*C=C*",
    "polyacetylene cut at the double bond": "*=CC=*",
    "poly(diacetylene)": "*=CC#CC=*",
    "polynorbornene": "*=CC1CCC(C=*)C1",
    "polythiophene": "*c1ccc(*)s1",
    "poly(p-phenylene)": "*c1ccc(*)cc1",
    "quinoid": "*=C1C=CC(=*)C=C1",
    "Kapton": "*c1ccc(Oc2ccc(N3C(=O)c4cc5c(cc4C3=O)C(=O)N(*)C5=O)cc2)cc1",
    "bisphenol A polycarbonate": "*Oc1ccc(C(C)(C)c2ccc(OC(*)=O)cc2)cc1",
    "polysulfone": "*Oc1ccc(S(=O)(=O)c2ccc(*)cc2)cc1",
    "phosphazene": "*N=P(*)(OCC(F)(F)F)OCC(F)(F)F",
    "ionene": "*CC[N+](*)(C)C",
    "perfluoro ring": "*C1(F)OC(F)(F)C(F)(F)C1(*)F",
    "spiro": "*C1(*)CCCC1",
    "labelled": "*C[13CH](*)[2H]",
    "boron": "*OB(*)c1ccccc1",
    "trans ring": "*C[C@H]1CC[C@@H](*)CC1",
}
LADDERS = {
    "PIM-1": "*Oc1cc2c(cc1O*)C1(CC2(C)C)CC(C)(C)c2cc3c(cc21)Oc1c(C#N)c(*)c(*)c(C#N)c1O3",
    "Troeger's base": "*CN1CN(*)Cc2cc3c(cc21)C1c2ccccc2C3c2cc(*)c(*)cc21",
    "dioxin": "*Oc1cc2cc(*)c(*)cc2cc1O*",
}


def ways(text: str) -> list[str]:
    """Write a polymer in other frames, turned round, doubled, tripled and spelled at random."""
    unit = RepeatUnit.parse(text)
    rng = np.random.default_rng(1)
    texts = [multiple(unit, 2), multiple(unit, 3), random_spelling(unit, rng), random_spelling(unit, rng), unit.key]
    if not unit.is_ladder:
        texts += [*frames(unit), reversed_spelling(unit), multiple(RepeatUnit.parse(frames(unit)[0]), 2)]
    return list(dict.fromkeys(texts))


def graph_signature(graph: object) -> tuple[dict[bytes, float], int]:
    """Refine node colours over four rounds; return the share of each colour and the number of atoms."""
    x, ends, edges = graph.x.numpy(), graph.edge_index.numpy(), graph.edge_attr.numpy()  # type: ignore[attr-defined]
    colours = [row.tobytes() for row in x]
    for _ in range(4):
        near: list[list[bytes]] = [[] for _ in colours]
        for (source, target), edge in zip(ends.T, edges, strict=True):
            near[target].append(edge.tobytes() + str(hash(colours[source])).encode())
        colours = [colour + b"".join(sorted(around)) for colour, around in zip(colours, near, strict=True)]
        colours = [str(hash(colour)).encode() for colour in colours]
    counts = Counter(colours)
    return {colour: count / len(colours) for colour, count in counts.items()}, len(colours)


def mean_message_passing(graph: object, seed: int = 3) -> np.ndarray:
    """Average the atoms after three rounds of a fixed random network in double precision."""
    rng = np.random.default_rng(seed)
    x, ends, edges = graph.x.numpy(), graph.edge_index.numpy(), graph.edge_attr.numpy()  # type: ignore[attr-defined]
    state = np.tanh(x @ rng.normal(size=(x.shape[1], 16)))
    for _ in range(3):
        messages = np.tanh(np.hstack([state[ends[0]], edges]) @ rng.normal(size=(16 + edges.shape[1], 16)))
        gathered = np.zeros_like(state)
        np.add.at(gathered, ends[1], messages)
        state = np.tanh(np.hstack([state, gathered]) @ rng.normal(size=(32, 16)))
    mean: np.ndarray = state.mean(axis=0)
    return mean


@pytest.fixture(params=sorted(FEATURIZERS))
def featurizer(request: pytest.FixtureRequest):
    return make_featurizer(request.param)


@pytest.mark.parametrize("text", [*LINEAR.values(), *LADDERS.values()], ids=[*LINEAR, *LADDERS])
def test_every_way_to_write_a_polymer_gives_the_same_features(featurizer, text: str) -> None:
    others = ways(text)
    rows = featurizer.transform([text, *others])
    if featurizer.output_kind != "graph":
        for other, row in zip(others, rows[1:], strict=True):
            assert np.array_equal(row, rows[0]), other
        return
    shares, size = graph_signature(rows[0])
    for other, graph in zip(others, rows[1:], strict=True):
        unit = RepeatUnit.parse(other)
        assert graph_signature(graph) == (shares, unit.n_atoms), other
        assert graph.num_nodes * graph_edges(rows[0]) == size * graph_edges(graph)
        assert np.abs(mean_message_passing(graph) - mean_message_passing(rows[0])).max() < 1e-9


def graph_edges(graph: object) -> int:
    return graph.edge_index.shape[1]  # type: ignore[attr-defined]


def test_features_tell_polymers_apart(featurizer) -> None:
    """A featurizer that returns a constant would be perfectly invariant."""
    texts = ["*CC*", "*CC(*)C", "*OCC*", "*CC(*)c1ccccc1", "*c1ccc(*)s1", "*NCCCCCC(*)=O"]
    rows = featurizer.transform(texts)
    if featurizer.output_kind != "graph":
        assert len({row.tobytes() for row in rows}) == len(texts)
    else:
        assert len({tuple(sorted(graph_signature(graph)[0].items())) for graph in rows}) == len(texts)


def test_shape_type_and_names(featurizer) -> None:
    texts = list(LINEAR.values())[:8]
    rows = featurizer.fit(texts).transform(texts)
    names = featurizer.get_feature_names_out()
    assert len(set(names.tolist())) == len(names)
    if featurizer.output_kind == "array":
        assert rows.dtype == np.float32
        assert rows.shape == (len(texts), len(names))
        assert np.isfinite(rows).all()
        assert featurizer.transform([]).shape == (0, len(names))
    elif featurizer.output_kind == "tokens":
        assert all(row.dtype == np.int16 and row.ndim == 2 for row in rows)
        assert all(row.min() >= 0 and row.max() < len(names) for row in rows)
        assert featurizer.transform([]) == []
    else:
        import torch

        assert all(graph.x.dtype == torch.float32 and graph.x.shape[1] == len(names) for graph in rows)
        assert all(graph.edge_attr.shape[0] == graph.edge_index.shape[1] for graph in rows)
        assert all(graph.validate(raise_on_error=True) for graph in rows)
        assert featurizer.transform([]) == []


def as_arrays(row: object) -> list[np.ndarray]:
    return [row] if isinstance(row, np.ndarray) else [row.x.numpy(), row.edge_index.numpy(), row.edge_attr.numpy()]  # type: ignore[attr-defined]


def test_batch_single_text_and_parsed_units_agree(featurizer) -> None:
    texts = list(LINEAR.values())
    batch = featurizer.transform(texts)
    again = featurizer.transform([RepeatUnit.parse(text) for text in texts])
    for text, row, parsed in zip(texts, batch, again, strict=True):
        for one, two, three in zip(
            as_arrays(row), as_arrays(parsed), as_arrays(featurizer.transform([text])[0]), strict=True
        ):
            assert np.array_equal(one, two)
            assert np.array_equal(one, three)
        single = as_arrays(featurizer.featurize_unit(RepeatUnit.parse(text)))
        assert all(np.allclose(one, two, rtol=1e-6, atol=0) for one, two in zip(as_arrays(row), single, strict=True))


def test_featurizers_are_sklearn_estimators(featurizer) -> None:
    params = featurizer.get_params()
    copy = clone(featurizer)
    assert copy is not featurizer
    assert copy.get_params() == params
    assert type(copy) is FEATURIZERS[featurizer.key]
    assert make_featurizer(featurizer.key, **params).get_params() == params


def test_a_bad_repeat_unit_raises_its_reason(featurizer) -> None:
    with pytest.raises(RepeatUnitError):
        featurizer.transform(["*CC*", "*CC"])


def test_unknown_names_are_user_errors(featurizer) -> None:
    with pytest.raises(UserError, match="unknown featurizer"):
        make_featurizer("ecpf")
    with pytest.raises(UserError, match="unknown parameter"):
        make_featurizer(featurizer.key, radiuss=3)


@pytest.mark.parametrize(
    ("key", "params"),
    [
        ("ecfp_count", {"per": "mole"}),
        ("ecfp_count", {"radius": -1}),
        ("ecfp", {"radius": 2.5}),
        ("ecfp", {"size": 0}),
        ("ecfp_count", {"size": -8}),
        ("atom_pair", {"size": 0}),
        ("torsion", {"size": "many"}),
        ("psmiles_tokens", {"variants": 0}),
        ("psmiles_tokens", {"variants": "all"}),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_parameters_are_user_errors(key: str, params: dict) -> None:
    with pytest.raises(UserError):
        make_featurizer(key, **params).transform(["*CC*"])


# --- raw RDKit as an independent oracle ---


def oracle_units() -> list[RepeatUnit]:
    return [RepeatUnit.parse(text) for text in [*LINEAR.values(), LADDERS["PIM-1"]]]


def per_unit(unit: RepeatUnit, measure) -> np.ndarray:
    """What one more unit adds to a whole oligomer: the effects of the chain ends cancel."""
    n = 2 + 24 // max(unit.n_atoms // 4, 1)

    return measure(join(unit, n + 1)[0]) - measure(join(unit, n)[0])


@pytest.mark.parametrize("text", [*LINEAR.values(), LADDERS["PIM-1"]], ids=[*LINEAR, "PIM-1"])
def test_fingerprints_are_what_one_more_unit_adds_in_rdkit(text: str) -> None:
    unit = RepeatUnit.parse(text)
    generators = {
        "ecfp_count": rdFingerprintGenerator.GetMorganGenerator(
            radius=2, fpSize=2048, includeRedundantEnvironments=True, countSimulation=False
        ),
        "atom_pair": rdFingerprintGenerator.GetAtomPairGenerator(maxDistance=7, fpSize=2048, countSimulation=False),
        "torsion": rdFingerprintGenerator.GetTopologicalTorsionGenerator(fpSize=2048, countSimulation=False),
    }
    for key, generator in generators.items():
        expected = per_unit(unit, lambda mol, g=generator: g.GetCountFingerprintAsNumPy(mol).astype(int))
        found = make_featurizer(key).transform([unit])[0] * unit.n_atoms
        assert np.allclose(found, expected, atol=1e-4), key


def test_counts_per_unit_are_those_of_the_smallest_unit() -> None:
    per = make_featurizer("ecfp_count", per="unit")
    unit = RepeatUnit.parse("*CCO*")
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048, includeRedundantEnvironments=True)
    expected = per_unit(unit, lambda mol: generator.GetCountFingerprintAsNumPy(mol).astype(int))
    for text in ("*CCO*", "*COCCOC*", "*OCCOCCOCC*"):
        assert np.array_equal(per.transform([text])[0], expected)


SUMS = {
    "log_p": lambda mol: rdMolDescriptors.CalcCrippenDescriptors(mol)[0],
    "molar_refractivity": lambda mol: rdMolDescriptors.CalcCrippenDescriptors(mol)[1],
    "polar_surface_area": lambda mol: rdMolDescriptors.CalcTPSA(mol, includeSandP=True),
    # The sum over heavy atoms: RDKit's whole-molecule area counts the hydrogens' own on top.
    "labute_surface_area": lambda mol: sum(rdMolDescriptors._CalcLabuteASAContribs(mol)[0]),
    "aromatic": lambda mol: sum(atom.GetIsAromatic() for atom in mol.GetAtoms()),
    "ring_memberships": lambda mol: sum(len(ring) for ring in mol.GetRingInfo().AtomRings()),
    "h_bond_donors": rdMolDescriptors.CalcNumHBD,
    "h_bond_acceptors": rdMolDescriptors.CalcNumHBA,
    "element_O": lambda mol: sum(atom.GetAtomicNum() == 8 for atom in mol.GetAtoms()),
    "hydrogens": lambda mol: sum(atom.GetTotalNumHs() for atom in mol.GetAtoms()),
}


@pytest.mark.parametrize(
    "name",
    SUMS,
)
def test_descriptors_are_what_one_more_unit_adds_in_rdkit(name: str) -> None:
    descriptors = make_featurizer("descriptors")
    column = descriptors.get_feature_names_out().tolist().index(name)
    for unit in oracle_units():
        found = descriptors.transform([unit])[0, column] * unit.n_atoms
        assert found == pytest.approx(per_unit(unit, SUMS[name]), abs=2e-3), unit.psmiles


def test_mass_is_the_mass_of_the_period() -> None:
    descriptors = make_featurizer("descriptors")
    column = descriptors.get_feature_names_out().tolist().index("mass")
    for text, mass in {"*CC*": 28.054, "*OCC*": 44.053, "*CC(*)c1ccccc1": 104.152, "*[Si](C)(C)O*": 74.155}.items():
        unit = RepeatUnit.parse(text)
        assert descriptors.transform([unit])[0, column] * unit.n_atoms == pytest.approx(mass, abs=0.01)


def test_maccs_keys_are_the_patterns_that_grow_with_the_chain() -> None:
    """A pattern is in the chain exactly when one more unit adds matches; ends add none."""
    maccs = make_featurizer("maccs")
    patterns = {i: Chem.MolFromSmarts(text) for i, (text, _) in MACCSkeys.smartsPatts.items() if text != "?"}
    assert len(patterns) > 160
    for unit in oracle_units()[::3]:
        counts = {
            i: per_unit(unit, lambda mol, p=p: len(mol.GetSubstructMatches(p, maxMatches=100_000)))
            for i, p in patterns.items()
        }
        expected = {i for i, count in counts.items() if count > 0}
        if any(atom.GetIsAromatic() for atom in unit.mol.GetAtoms()):
            expected.add(125)
        assert set(np.flatnonzero(maccs.transform([unit])[0]).tolist()) == expected, unit.psmiles
