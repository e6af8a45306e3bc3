from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from polyml.audit import Audit
from polyml.audit.labels import noise_floor
from polyml.audit.shift import unit_relation
from polyml.audit.units import mixup
from polyml.data.known_properties import recognise
from polyml.data.properties import Property

Look = Callable[..., Audit]
Write = Callable[..., Path]


def test_conflicting_labels_and_the_noise_floor(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    texts = polymers(40)
    values = np.linspace(250, 450, 40)
    repeated = [*texts, texts[3], texts[5]]
    found = look(write(psmiles=repeated, Tg=[*values, values[3] + 100, values[5] + 1]))
    conflict = checks(found)["conflicts Tg"]
    assert (conflict.count, conflict.severity) == (1, "warning")
    assert conflict.rows["lines"].tolist() == ["5;42"]
    worse = look(write(psmiles=repeated, Tg=[*values, values[3] + 300, values[5] + 1]))
    assert checks(worse)["conflicts Tg"].severity == "error"


def test_the_noise_floor_is_that_of_a_one_way_analysis_of_variance() -> None:
    rng = np.random.default_rng(3)
    keys = np.repeat(np.arange(200), 3).astype(str)
    truth = np.repeat(rng.normal(0, 5, 200), 3)
    y = truth + rng.normal(0, 2, 600)
    floor = noise_floor(y, keys)
    assert floor is not None
    groups = [y[keys == key] for key in np.unique(keys)]
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (600 - 200)
    assert floor["noise_sd"] == pytest.approx(np.sqrt(within))
    between = sum(3 * (g.mean() - y.mean()) ** 2 for g in groups) / (200 - 1)
    assert between / within == pytest.approx(stats.f_oneway(*groups).statistic)
    assert floor["noise_low"] < 2 < floor["noise_high"]
    assert floor["best_r2"] == pytest.approx(1 - within / y.var(ddof=1))
    # A perfect model that is scored on single measurements reaches it.
    assert np.sqrt(np.mean((y - truth) ** 2)) == pytest.approx(floor["best_rmse"], rel=0.1)


def test_impossible_values_are_errors_by_the_known_range(
    write: Write, look: Look, polymers: Callable, smooth_tg: Callable, checks: Callable
) -> None:
    texts = polymers(60)
    values = smooth_tg(texts)
    values[[7, 20]] = 3620.0, 20.0
    found = look(write(psmiles=texts, Tg=values))
    outside = checks(found)["outside range Tg"]
    assert outside.severity == "error"
    assert set(outside.rows["line"]) == {9, 22}
    declared = look(write(psmiles=texts, Tg=values), properties=[Property(name="Tg", lower=0, upper=5000)])
    assert "outside range Tg" not in checks(declared)


def test_a_value_unlike_its_near_identical_polymers_is_found(
    write: Write, look: Look, homologues: tuple[list[str], np.ndarray], checks: Callable
) -> None:
    texts, values = homologues
    assert "neighbours Tg" not in checks(look(write(psmiles=texts, Tg=values)))
    planted = values.copy()
    planted[71] += 90
    rows = checks(look(write(psmiles=texts, Tg=planted)))["neighbours Tg"].rows
    assert rows["line"].iloc[0] == 73
    assert abs(rows["expected"].iloc[0] - values[71]) < 25


def test_celsius_in_a_part_of_a_column_of_kelvin(
    write: Write, look: Look, homologues: tuple[list[str], np.ndarray], checks: Callable
) -> None:
    texts, values = homologues
    assert "units by neighbours Tg" not in checks(look(write(psmiles=texts, Tg=values)))
    planted = [3, 21, 44, 67, 90, 113, 146]
    celsius = values.copy()
    celsius[planted] -= 273.15
    hit = checks(look(write(psmiles=texts, Tg=celsius)))["units by neighbours Tg"]
    assert hit.severity == "error"
    assert "Celsius for kelvin" in hit.what
    assert set(hit.rows["line"]) == {row + 2 for row in planted}


def test_a_wrong_power_of_ten_by_the_neighbours(
    write: Write, look: Look, homologues: tuple[list[str], np.ndarray], checks: Callable
) -> None:
    texts, values = homologues
    density = values / 400
    density[[5, 33, 61, 100]] *= 1000
    hit = checks(look(write(psmiles=texts, strange=density)))["units by neighbours strange"]
    assert set(hit.rows["line"]) == {7, 35, 63, 102}


def test_repeats_in_two_units(
    write: Write, look: Look, polymers: Callable, smooth_tg: Callable, checks: Callable
) -> None:
    texts = polymers(60)
    values = smooth_tg(texts)
    found = look(write(psmiles=[*texts, texts[4]], Tg=[*values, values[4] - 273.15]))
    assert checks(found)["kelvin repeats Tg"].rows["lines"].tolist() == ["6;62"]
    perm = np.geomspace(0.1, 5000, 60).round(4)
    double = look(write(psmiles=[*texts, *texts[10:13]], O2=[*perm, *(perm[10:13] * 1000)]))
    assert checks(double)["power of ten repeats O2"].severity == "error"


def test_values_below_absolute_zero(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    texts = polymers(40)
    found = look(write(psmiles=texts, tg_k=np.linspace(-50, 150, 40)))
    assert "whole column" in checks(found, "error")["kelvin tg_k"].what
    celsius = look(write(psmiles=texts, Tg=np.linspace(-50, 150, 40)))
    assert not checks(celsius, "error")  # nobody said kelvin
    assert any("in °C" in note for note in celsius.notes)


def test_linear_and_logarithmic_columns(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    texts = polymers(50)
    spanning = np.geomspace(1e-3, 1e4, 50)
    assert "linear diffusivity" in checks(look(write(psmiles=texts, diffusivity=spanning)))
    assert "linear O2" not in checks(look(write(psmiles=texts, O2=spanning)))  # known: taken as log10
    assert "logarithm O2" in checks(look(write(psmiles=texts, O2=np.log10(spanning))))
    zero = look(write(psmiles=texts, O2=[0.0, *spanning[1:]]))
    assert checks(zero)["no logarithm O2"].rows["line"].tolist() == [2]


def test_placeholders_and_rounding(
    write: Write, look: Look, polymers: Callable, smooth_tg: Callable, checks: Callable
) -> None:
    texts = polymers(100)
    values = smooth_tg(texts)
    holes = values.copy()
    holes[::12] = 273.15
    assert checks(look(write(psmiles=texts, Tg=holes)))["placeholder Tg"].count == 9
    assert "rounded Tg" in checks(look(write(psmiles=texts, Tg=values.round(-1))))
    assert "rounded Tg" in checks(look(write(psmiles=texts, Tg=(values - 273.15).round(-1) + 273.15)))
    whole = checks(look(write(psmiles=texts, Tg=values.round(0))))
    assert not {"placeholder Tg", "rounded Tg"} & set(whole)
    constant = look(write(psmiles=texts, x=[2.0] * 100))
    assert checks(constant)["constant x"].severity == "warning"


def test_sources_with_an_offset(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    texts = polymers(60)
    rng = np.random.default_rng(0)
    values = rng.normal(400, 50, 60)
    first, second = write("a.csv", psmiles=texts, Tg=values), write("b.csv", psmiles=texts[:30], tg=values[:30] + 25)
    found = look(first, second)
    assert checks(found)["label shift glass transition temperature"].severity == "warning"
    assert found.tables["shift"].loc[0, ["shared", "offset"]].tolist() == [30, pytest.approx(25)]
    alike = look(first, write("b.csv", psmiles=texts[:30], tg=values[:30] + rng.normal(0, 2, 30)))
    assert not [name for name in checks(alike) if name.startswith("label shift")]

    sources = ["x"] * 60 + ["y"] * 30
    together = write("c.csv", psmiles=[*texts, *texts[:30]], Tg=[*values, *(values[:30] + 25)], lab=sources)
    split = look(together, spec={"source_column": "lab"})
    assert "[x]" in checks(split)["label shift glass transition temperature"].what


def test_two_files_in_two_units(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    texts = polymers(40)
    values = np.linspace(280, 480, 40)
    found = look(write("a.csv", psmiles=texts, Tg=values), write("b.csv", psmiles=texts[:20], Tg=values[:20] - 273.15))
    mixed = checks(found)["unit mix-up glass transition temperature"]
    assert mixed.severity == "error"
    assert "first - 273.15" in mixed.what
    assert unit_relation([1.0, 10, 100, 1000, 1e4], [0.0, 1, 2, 3, 4], temperature=False) == "second = log10(first)"


def test_ordinary_scatter_is_no_unit() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(200, 500, 2000)
    assert sum(mixup(a, a + rng.normal(0, 30), temperature=True) is not None for a in x) == 0
    perm = 10 ** rng.uniform(-1, 3, 2000)
    taken = [mixup(a, a * 10 ** rng.normal(0, 0.2), temperature=False) for a in perm]
    assert not any(taken)


@pytest.mark.parametrize(
    ("column", "values", "name", "unit"),
    [
        ("Tg", [300, 400], "glass transition temperature", "K"),
        ("tg_degC", [20, 100], "glass transition temperature", "°C"),
        ("exp_Tg(K)", [300], "glass transition temperature", "K"),
        ("Tm (°C)", [200], "melting temperature", "°C"),
        ("density", [0.9, 1.2], "density", "g/cm³"),
        ("Density (kg/m3)", [900, 1200], "density", "kg/m³"),
        ("bulk_modulus", [3e9], "bulk modulus", "Pa"),
        ("bulk_modulus", [3.1], "bulk modulus", "GPa"),
        ("egc", [4.5], "band gap", "eV"),
        ("Eea", [2.0], "electron affinity", "eV"),
        ("ip_ev", [6.0], "ionisation energy", "eV"),
        ("P_CO2", [20.0], "gas permeability", "Barrer"),
        ("O2 (Barrer)", [20.0], "gas permeability", "Barrer"),
        ("refractive_index", [1.5], "refractive index", ""),
        ("FFV", [0.36], "fractional free volume", ""),
        ("Cp", [3000], "specific heat capacity", "J/(kg K)"),
    ],
)
def test_columns_are_recognised_as_people_write_them(column: str, values: list[float], name: str, unit: str) -> None:
    found = recognise(column, values)
    assert found is not None
    assert (found.known.name, found.scale.unit) == (name, unit)


@pytest.mark.parametrize("column", ["tg_std_k", "id", "polymer_class", "Tg_predicted_by_us", "temperature_run"])
def test_other_columns_are_not(column: str) -> None:
    assert recognise(column, [1.0]) is None
