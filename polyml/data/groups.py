"""Groups of similar polymers, for splits that test on new chemistry."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from rdkit import Chem

from polyml.chem import RepeatUnit
from polyml.errors import RepeatUnitError

CLUSTERS_PER_FOLD = 8
"""Clusters that are made for each fold of a split by cluster, so that the folds can be balanced."""


@lru_cache(maxsize=100_000)
def scaffold(psmiles: str) -> str:
    """Return the periodic Murcko scaffold of a polymer, as canonical pSMILES.

    Bemis and Murcko (J. Med. Chem. 1996, 39, 2887) keep the rings of a molecule and the chains between them. Here the
    chain that runs from one repeat unit to the next is kept as well, with groups bonded to the skeleton by a double
    bond, and the result is made canonical: it does not depend on the frame the polymer is written in. A polymer without
    rings is left with its bare backbone.

    Examples
    --------
    >>> scaffold("*CC(*)c1ccc(Cl)cc1") == scaffold("*C(c1ccccc1C)C*")
    True
    >>> scaffold("*CC(C)(C(=O)OC)*") == scaffold("*CC*")
    True
    """
    molecule = Chem.RWMol(RepeatUnit.parse(psmiles).mol)
    Chem.RemoveStereochemistry(molecule)
    kept = _skeleton(molecule)
    for index in reversed(range(molecule.GetNumAtoms())):
        if index in kept:
            continue
        for neighbor in molecule.GetAtomWithIdx(index).GetNeighbors():
            _take_hydrogen(neighbor)
        molecule.RemoveAtom(index)
    molecule.UpdatePropertyCache(strict=False)
    try:
        return RepeatUnit.parse(Chem.MolToSmiles(molecule)).key
    except RepeatUnitError:
        # The bare skeleton is no valid molecule; such a polymer is a group of its own.
        return RepeatUnit.parse(psmiles).key


def _skeleton(molecule: Chem.Mol) -> set[int]:
    """Return the atoms of rings, of chains between rings and attachment points, and those double-bonded to them."""
    kept = {atom.GetIdx() for atom in molecule.GetAtoms()}
    stars = {atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetAtomicNum() == 0}
    neighbors = {i: {atom.GetIdx() for atom in molecule.GetAtomWithIdx(i).GetNeighbors()} for i in kept}
    while ends := {i for i in kept - stars if len(neighbors[i] & kept) < 2}:
        kept -= ends
    multiple = [bond for bond in molecule.GetBonds() if bond.GetBondTypeAsDouble() > 1]
    pairs = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in multiple]
    return kept | {i for pair in pairs if kept & set(pair) for i in pair}


def _take_hydrogen(atom: Chem.Atom) -> None:
    """Fill the valence of an atom that loses a substituent, where RDKit would not do it by itself."""
    if atom.GetNoImplicit() or (atom.GetIsAromatic() and atom.GetAtomicNum() != 6):
        atom.SetNumExplicitHs(atom.GetNumExplicitHs() + 1)


def cluster_numbers(psmiles: Sequence[str], *, clusters: int, seed: int) -> np.ndarray:
    """Cluster polymers with k-means on the direction of their ECFP counts (spherical k-means).

    Returns
    -------
    ndarray of shape (n,), int
        Cluster of each polymer; there are fewer where fewer polymers are different.
    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import normalize

    from polyml.features.catalog import make_featurizer

    counts = normalize(np.asarray(make_featurizer("ecfp_count").transform(list(psmiles)), dtype=float))
    different = len(np.unique(counts.round(9), axis=0))
    return KMeans(n_clusters=min(clusters, different), n_init=4, random_state=seed).fit_predict(counts)
