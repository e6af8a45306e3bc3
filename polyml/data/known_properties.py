"""Well-known polymer properties: how people call their columns, their units, and which values are physically plausible.

The ranges are generous: a value outside is more often a slip (a unit, a decimal point, a placeholder) than a discovery.
They serve an audit where a user gives no range; nothing is refused by them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from polyml.errors import UserError

ZERO_CELSIUS = 273.15
"""0 °C in kelvin."""


@dataclass(frozen=True)
class Scale:
    """A unit, and the plausible range in it."""

    unit: str
    lower: float
    upper: float


@dataclass(frozen=True)
class KnownProperty:
    """A property that many data sets have.

    Attributes
    ----------
    name : str
        What it is.
    names : str
        Regular expression of the column names, in lower case with underscores, without a unit at the end.
    scales : tuple of Scale
        Units it is given in, the usual one first.
    transform : {"identity", "log10"}
        The scale to model it on.
    is_temperature : bool
        Whether Celsius may be taken for kelvin.
    """

    name: str
    names: str
    scales: tuple[Scale, ...]
    transform: Literal["identity", "log10"] = "identity"
    is_temperature: bool = False


@dataclass(frozen=True)
class Recognised:
    """What a column most likely holds.

    Attributes
    ----------
    known : KnownProperty
    scale : Scale
        The unit, with the plausible range in it.
    certain : bool
        Whether the name of the column, or the user, gives the unit.
    rival : Scale or None
        Another unit that the values speak for as well: a temperature of which most values may be kelvin and too many
        others only Celsius.
    """

    known: KnownProperty
    scale: Scale
    certain: bool
    rival: Scale | None = None


def _temperature(name: str, names: str, lower: float, upper: float) -> KnownProperty:
    celsius = Scale("°C", lower - ZERO_CELSIUS, upper - ZERO_CELSIUS)
    return KnownProperty(name, names, (Scale("K", lower, upper), celsius), is_temperature=True)


def _stress(name: str, names: str, lower: float, upper: float, usual: str) -> KnownProperty:
    """Return a property in pascal, with the range in MPa."""
    factors = {"Pa": 1e6, "MPa": 1.0, "GPa": 1e-3}
    order = sorted(factors, key=lambda unit: unit != usual)
    scales = tuple(Scale(unit, lower * factors[unit], upper * factors[unit]) for unit in order)
    return KnownProperty(name, names, scales, transform="log10" if upper / lower > 1e3 else "identity")


_GASES = "h2|he|n2|o2|co2|ch4|ar|c2h4|c2h6|c3h6|c3h8"
_PERMEABILITY = (
    rf"(?:{_GASES})|p_?(?:{_GASES})|(?:{_GASES})_(?:perm|permeability)|perm(?:eability)?(?:_(?:{_GASES}))?"
    "|gas_permeability"
)

KNOWN_PROPERTIES: tuple[KnownProperty, ...] = (
    _temperature("glass transition temperature", r"t_?g|glass_transition(?:_temp(?:erature)?)?", 100, 900),
    _temperature("melting temperature", r"t_?m|melting(?:_(?:point|temp(?:erature)?))?", 150, 1000),
    # Before the temperature of this name: in °C that has room for any number.
    KnownProperty(
        "thermal conductivity", r"t_?c|thermal_conductivity|kappa|lambda", (Scale("W/(m K)", 0.01, 10),)
    ),
    _temperature("crystallisation temperature", r"t_?c|crystalli[sz]ation_temp(?:erature)?", 150, 900),
    _temperature(
        "decomposition temperature", r"t_?d\d*|(?:decomposition|degradation)_temp(?:erature)?", 300, 1400
    ),
    KnownProperty("density", r"density|rho|dens", (Scale("g/cm³", 0.5, 3.0), Scale("kg/m³", 500, 3000))),
    KnownProperty(
        "band gap", r"e_?g[cb]?|e_gap|band_?gap(?:_(?:chain|bulk|c|b))?|(?:homo_lumo|optical)_gap",
        (Scale("eV", 0, 15),),
    ),
    KnownProperty("electron affinity", r"e_?ea|ea|electron_affinity", (Scale("eV", -3, 8),)),
    KnownProperty("ionisation energy", r"e_?i|ip|ie|ioni[sz]ation_(?:energy|potential)", (Scale("eV", 2, 16),)),
    KnownProperty(
        "dielectric constant", r"eps(?:ilon)?(?:_r|_tot(?:al)?)?|dielectric_(?:constant|permittivity)|permittivity",
        (Scale("", 1, 200),),
    ),
    KnownProperty("refractive index", r"n|nc|ri|n_?d|refractive_index|index_of_refraction", (Scale("", 1, 4),)),
    KnownProperty("gas permeability", _PERMEABILITY, (Scale("Barrer", 1e-5, 1e5),), transform="log10"),
    KnownProperty("thermal diffusivity", r"thermal_diffusivity", (Scale("m²/s", 1e-8, 1e-5),)),
    _stress("bulk modulus", r"bulk_modulus|k_bulk", 100, 100_000, "Pa"),
    _stress("Young's modulus", r"young_?s?_modulus|(?:elastic|tensile|e)_modulus|modulus", 0.01, 1e6, "MPa"),
    _stress("tensile strength", r"tensile_(?:strength|stress)(?:_at_break)?", 0.01, 1e4, "MPa"),
    KnownProperty("elongation at break", r"elongation(?:_at_break)?|strain_at_break", (Scale("%", 0, 5000),)),
    KnownProperty("fractional free volume", r"ffv|fractional_free_volume|free_volume_fraction", (Scale("", 0, 0.9),)),
    KnownProperty("radius of gyration", r"r_?g|radius_of_gyration", (Scale("Å", 1, 1000), Scale("nm", 0.1, 100))),
    KnownProperty(
        "specific heat capacity", r"c_?p|(?:specific_)?heat(?:_capacity)?|specific_heat_capacity",
        (Scale("J/(kg K)", 300, 10_000), Scale("J/(g K)", 0.3, 10)),
    ),
    KnownProperty(
        "solubility parameter", r"(?:hildebrand_)?solubility_parameter|sol_?param|hildebrand",
        (Scale("MPa^0.5", 8, 60), Scale("(cal/cm³)^0.5", 4, 30)),
    ),
    KnownProperty("thermal expansion coefficient", r"cte|(?:linear_|volume_)?(?:thermal_)?expansion(?:_coefficient)?",
                  (Scale("1/K", 1e-7, 5e-3), Scale("ppm/K", 0.1, 5000))),
    KnownProperty("atomisation energy", r"e_?at|atomi[sz]ation_energy", (Scale("eV/atom", -12, 0),)),
    KnownProperty("crystallisation tendency", r"x_?c|crystallinity|crystalli[sz]ation_tendency", (Scale("%", 0, 100),)),
    KnownProperty("limiting oxygen index", r"loi|limiting_oxygen_index", (Scale("%", 5, 100),)),
    KnownProperty(
        "ionic conductivity", r"ion(?:ic)?_conductivity", (Scale("S/cm", 1e-18, 10),), transform="log10"
    ),
)  # fmt: skip
"""The table. A name may stand for two properties (``Tc``): the values decide."""

_UNITS = {
    "K": "k|kelvin|deg_k",
    "°C": "c|degc|deg_c|celsius|degree_c|degrees_c",
    "g/cm³": "g_cm3|g_cm_3|g_cc|g_ml|gcm3",
    "kg/m³": "kg_m3|kg_m_3",
    "eV": "ev",
    "Barrer": "barrer|barrers",
    "W/(m K)": "w_mk|w_m_k|w_m_1_k_1|w_mk_1",
    "m²/s": "m2_s|m2_s_1",
    "Pa": "pa",
    "MPa": "mpa",
    "GPa": "gpa",
    "%": "percent|pct",
    "Å": "a|ang|angstrom",
    "nm": "nm",
    "J/(kg K)": "j_kgk|j_kg_k|j_kg_1_k_1",
    "J/(g K)": "j_gk|j_g_k|j_g_1_k_1",
    "MPa^0.5": "mpa_0_5|mpa_05|mpa_1_2|sqrt_mpa",
    "(cal/cm³)^0.5": "cal_cm3_0_5",
    "1/K": "1_k|k_1|per_k",
    "ppm/K": "ppm_k|ppm",
    "eV/atom": "ev_atom",
    "S/cm": "s_cm|s_cm_1",
}
_BEFORE = r"(?:(?:exp|expt|experimental|sim|simulated|md|dft|calc|calculated|measured|mean|avg)_)?"
_AFTER = r"(?:_(?:exp|expt|experimental|sim|simulated|md|dft|calc|calculated|measured|mean|avg|value))?"
_CLEARLY = 0.2  # share of values by which another scale must fit better than the usual one
_MOST = 0.5  # share of values that may be kelvin, from which on a column without a unit is not taken for Celsius


def recognise(column: str, values: Sequence[float] | np.ndarray, unit: str = "") -> Recognised | None:
    """Tell which well-known property a column holds, by its name; where several fit, by its values.

    Parameters
    ----------
    column : str
        Name of the column, with or without a unit: ``Tg``, ``tg_k``, ``Tg (degC)``.
    values : sequence of float
        NaN for what is missing.
    unit : str
        The unit, where the user has given it.

    Returns
    -------
    Recognised or None
        None where the name is not in the table.

    Examples
    --------
    >>> recognise("Tg (K)", [373.0, 250.0]).known.name
    'glass transition temperature'
    >>> recognise("Tc", [0.2, 0.4]).known.name, recognise("Tc", [420.0, 380.0]).known.name
    ('thermal conductivity', 'crystallisation temperature')
    >>> recognise("Tg", [-20.0, 10.0, 100.0]).scale.unit
    '°C'
    """
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array)]
    found = [
        Recognised(known, scale, certain)
        for known in KNOWN_PROPERTIES
        for scale, certain in _fitting(known, column, unit)
    ]
    best: tuple[float, Recognised] | None = None
    for item in found:
        inside = np.mean(_inside(array, item.scale)) if len(array) else 0.0
        if best is None or inside > best[0] + _CLEARLY:
            best = (float(inside), item)
    return _undecided(best[1], array) if best else None


def _undecided(found: Recognised, values: np.ndarray) -> Recognised:
    """Take a temperature that was taken for Celsius for kelvin, with Celsius as rival, where most values may be it."""
    kelvin = found.known.scales[0]
    if found.certain or not found.known.is_temperature or found.scale == kelvin:
        return found
    if np.mean(_inside(values, kelvin)) < _MOST:
        return found
    return Recognised(found.known, kelvin, certain=False, rival=found.scale)


def _inside(values: np.ndarray, scale: Scale) -> np.ndarray:
    inside: np.ndarray = (values >= scale.lower) & (values <= scale.upper)
    return inside


def check_unit(column: str, unit: str) -> None:
    """Refuse a unit that a well-known property is not given in; any unit may be given to another column.

    Raises
    ------
    UserError

    Examples
    --------
    >>> check_unit("Tg", "degC")
    >>> check_unit("Tg", "furlong")
    Traceback (most recent call last):
    polyml.errors.UserError: ...
    """
    known = recognise(column, [])
    if known is None or recognise(column, [], unit) is not None:
        return
    units = [scale.unit for item in KNOWN_PROPERTIES for scale, _ in _fitting(item, column, "") if scale.unit]
    fix = f"the known units are: {', '.join(dict.fromkeys(units))}" if units else "it has no unit: leave --unit out"
    what = f"'{unit}' is no known unit of {column}, which is taken for {known.known.name}"
    raise UserError(what, where="--unit", fix=f"{fix}; rename the column if it is another quantity")


def _fitting(known: KnownProperty, column: str, unit: str) -> list[tuple[Scale, bool]]:
    """Return the scales a column may be given in, each with whether its unit is said; none where the name differs."""
    plain = re.sub(r"[^a-z0-9]+", "_", column.lower().replace("%", "_percent").replace("³", "3").replace("°", "deg"))
    plain = plain.strip("_")
    match = re.fullmatch(rf"{_BEFORE}(?:{known.names}){_AFTER}(?:_(?P<unit>.+))?", plain)
    if match is None:
        return []
    said = unit or next((name for name, texts in _UNITS.items() if re.fullmatch(texts, match["unit"] or "")), "")
    if match["unit"] and not said:
        return []  # tg_std, say, is another quantity
    if not said:
        return [(scale, False) for scale in known.scales]
    given = _plain_unit(said)
    return [(scale, True) for scale in known.scales if _plain_unit(scale.unit) == given]


def _plain_unit(unit: str) -> str:
    """Return a unit to compare by: C, degC and °C are one, as are g/cm3 and g/cm³."""
    plain = re.sub(r"[^a-z0-9]+", "_", unit.lower().replace("³", "3").replace("²", "2").replace("°", "deg")).strip("_")
    return next((name for name, texts in _UNITS.items() if unit == name or re.fullmatch(texts, plain)), plain)
