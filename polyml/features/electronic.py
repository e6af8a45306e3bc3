"""Electronic levels of the infinite chain as descriptors."""

from __future__ import annotations

import numpy as np

from polyml.chem import RepeatUnit
from polyml.features.base import Featurizer
from polyml.features.tight_binding import Bands, Cell, Orbitals, huckel_bands, orbital_energies, pi_bands, sigma_bands

_NOTHING = (-25.0, 2.0)  # eV, highest occupied and lowest empty level of a chain without pi electrons
_NOTHING_HUCKEL = (-3.0, 3.0)
_SOFT = 0.5  # eV, keeps the sum over transitions finite where there is no gap


class ElectronicLevels(Featurizer):
    """Band edges and gaps of the chain by the Hückel model and by tight binding.

    Ionisation energy, electron affinity and band gap follow from how far electrons spread along the chain, which
    fingerprints of small environments cannot tell: the levels of the infinite chain can. See
    ``polyml.features.tight_binding`` for the models, which know bonds and elements but no geometry. The columns are
    energies in eV (``huckel_*`` in units of the resonance integral), widths of bands, energies per heavy atom, and the
    share of single orbitals in the frontier levels (1 for a level on one atom).

    References
    ----------
    Van-Catledge, J. Org. Chem. 1980, 45, 4801; Froyen and Harrison, Phys. Rev. B 1979, 20, 2420.

    Examples
    --------
    >>> levels = ElectronicLevels()
    >>> gap = levels.get_feature_names_out().tolist().index("gap")
    >>> polythiophene, polyethylene = levels.transform(["*c1ccc(*)s1", "*CC*"])[:, gap]
    >>> bool(polythiophene < polyethylene)
    True
    """

    key = "electronic"
    costly = True

    def featurize_unit(self, unit: RepeatUnit) -> np.ndarray:
        """Return the descriptors, shape (d,)."""
        cell = Cell.of(unit)
        orbitals = Orbitals.of(cell)
        pi, sigma = pi_bands(cell, orbitals), sigma_bands(cell, orbitals)
        parts = {**_huckel(cell, orbitals), **_levels(pi, sigma, len(cell))}
        return np.array([parts[name] for name in _NAMES])

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the descriptors' names."""
        return np.array(_NAMES, dtype=object)


_NAMES = (
    "huckel_homo", "huckel_lumo", "huckel_gap", "huckel_homo_centre", "huckel_lumo_centre", "huckel_homo_width",
    "huckel_lumo_width", "huckel_energy", "conjugated_atoms", "shallowest_lone_pair",
    "homo", "lumo", "gap", "pi_homo", "pi_lumo", "pi_gap", "sigma_homo", "sigma_lumo", "sigma_gap", "pi_homo_width",
    "pi_lumo_width", "pi_homo_mean", "pi_lumo_mean", "second_homo", "second_lumo", "pi_homo_localised",
    "pi_lumo_localised", "pi_energy", "sigma_energy", "pi_softness", "sigma_softness",
)  # fmt: skip


def _edges(bands: Bands | None, nothing: tuple[float, float]) -> tuple[float, float]:
    """Return the top of what is occupied and the bottom of what is empty."""
    occupied = bands.highest_occupied if bands else None
    empty = bands.lowest_empty if bands else None
    return (
        nothing[0] if occupied is None else float(occupied.max()),
        nothing[1] if empty is None else float(empty.min()),
    )


def _huckel(cell: Cell, orbitals: Orbitals) -> dict[str, float]:
    """Describe the Hückel levels."""
    bands = huckel_bands(cell, orbitals)
    homo, lumo = _edges(bands, _NOTHING_HUCKEL)
    occupied = bands.highest_occupied if bands else None
    empty = bands.lowest_empty if bands else None
    lone = [place for place, pairs in enumerate(orbitals.lone_pairs) if pairs]
    return {
        "huckel_homo": homo,
        "huckel_lumo": lumo,
        "huckel_gap": lumo - homo,
        "huckel_homo_centre": homo if occupied is None else float(occupied[0]),
        "huckel_lumo_centre": lumo if empty is None else float(empty[0]),
        "huckel_homo_width": 0.0 if occupied is None else float(np.ptp(occupied)),
        "huckel_lumo_width": 0.0 if empty is None else float(np.ptp(empty)),
        "huckel_energy": _energy_per_atom(bands, len(cell)),
        "conjugated_atoms": sum(p > 0 for p in orbitals.p) / len(cell),
        "shallowest_lone_pair": max((orbital_energies(cell.number[place])[1] for place in lone), default=_NOTHING[0]),
    }


def _levels(pi: Bands | None, sigma: Bands, atoms: int) -> dict[str, float]:
    """Describe the levels of tight binding."""
    pi_homo, pi_lumo = _edges(pi, _NOTHING)
    sigma_homo, sigma_lumo = _edges(sigma, _NOTHING)
    homo, lumo = max(pi_homo, sigma_homo), min(pi_lumo, sigma_lumo)
    occupied = pi.highest_occupied if pi else None
    empty = pi.lowest_empty if pi else None
    return {
        "homo": homo,
        "lumo": lumo,
        "gap": lumo - homo,
        "pi_homo": pi_homo,
        "pi_lumo": pi_lumo,
        "pi_gap": pi_lumo - pi_homo,
        "sigma_homo": sigma_homo,
        "sigma_lumo": sigma_lumo,
        "sigma_gap": sigma_lumo - sigma_homo,
        "pi_homo_width": 0.0 if occupied is None else float(np.ptp(occupied)),
        "pi_lumo_width": 0.0 if empty is None else float(np.ptp(empty)),
        "pi_homo_mean": sigma_homo if occupied is None else float(occupied.mean()),
        "pi_lumo_mean": sigma_lumo if empty is None else float(empty.mean()),
        "second_homo": max(sigma_homo, _mean_band(pi, -2, sigma_homo)),
        "second_lumo": min(sigma_lumo, _mean_band(pi, 1, sigma_lumo)),
        "pi_homo_localised": 0.0 if pi is None or occupied is None else _participation(pi, pi.occupied - 1),
        "pi_lumo_localised": 0.0 if pi is None or empty is None else _participation(pi, pi.occupied),
        "pi_energy": _energy_per_atom(pi, atoms),
        "sigma_energy": _energy_per_atom(sigma, atoms),
        "pi_softness": _softness(pi),
        "sigma_softness": _softness(sigma),
    }


def _mean_band(bands: Bands | None, offset: int, default: float) -> float:
    """Return the mean energy of the band ``offset`` places from the lowest empty one."""
    place = -1 if bands is None else bands.occupied + offset
    if bands is None or not 0 <= place < bands.energies.shape[1]:
        return default
    return float(bands.energies[:, place].mean())


def _participation(bands: Bands, level: int) -> float:
    """Return the inverse participation ratio of a level: 1 on one orbital, 1/n spread evenly over n."""
    return float((bands.weights[:, level] ** 2).sum())


def _energy_per_atom(bands: Bands | None, atoms: int) -> float:
    """Return the energy of the electrons per heavy atom, mean over wave numbers."""
    return 0.0 if bands is None else float(2 * bands.energies[:, : bands.occupied].sum(axis=1).mean() / atoms)


def _softness(bands: Bands | None) -> float:
    """Return the mean of one over the energy of every transition from an occupied to an empty level."""
    if bands is None or not 0 < bands.occupied < bands.energies.shape[1]:
        return 0.0
    occupied, empty = bands.energies[:, : bands.occupied], bands.energies[:, bands.occupied :]
    return float((1.0 / (empty[:, :, None] - occupied[:, None, :] + _SOFT)).mean())
