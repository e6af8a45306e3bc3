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
from polyml.data.known_properties import check_unit, recognise
from polyml.data.properties import Property
from polyml.errors import UserError

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


def test_impossible_values_are_placeholders_and_not_celsius(
    write: Write, look: Look, polymers: Callable, smooth_tg: Callable, checks: Callable
) -> None:
    texts = polymers(60)
    for value in (-999.0, 0.0):
        values = smooth_tg(texts)
        values[::5] = value
        found = look(write(psmiles=texts, Tg=values))
        assert set(checks(found, "error")) == {"placeholder Tg"}
        assert checks(found)["placeholder Tg"].count == 12
    values = smooth_tg(texts)
    values[[3, 9, 20, 30]] = -999, 0, 3000, 25
    found = checks(look(write(psmiles=texts, Tg=values)), "error")
    assert set(found) == {"placeholder Tg", "outside range Tg"}
    assert found["placeholder Tg"].rows["line"].tolist() == [5, 11]
    assert found["outside range Tg"].rows["line"].tolist() == [22, 32]
    values[[3, 9]] = -40.0, 0.0  # -40 is no number of kelvin, but one of degrees Celsius: then 0 may be one too
    found = checks(look(write(psmiles=texts, tg_k=values)), "error")
    assert "placeholder tg_k" not in found
    assert found["kelvin tg_k"].rows["line"].tolist() == [5, 11]


def test_conflicts_are_measured_in_the_spread_of_plausible_values(
    write: Write, look: Look, polymers: Callable, checks: Callable
) -> None:
    texts = polymers(40)
    values = np.linspace(250, 450, 40)
    sd = values.std()
    spoiled = np.append(values, values[3] + 2.5 * sd)
    spoiled[[10, 20]] = -999, 3000
    conflict = checks(look(write(psmiles=[*texts, texts[3]], Tg=spoiled)))["conflicts Tg"]
    assert conflict.severity == "error"  # with the two impossible values the SD would be eight times as large
    assert conflict.rows["lines"].tolist() == ["5;42"]


def test_no_floor_is_given_where_repeats_disagree_more_than_polymers(
    write: Write, look: Look, polymers: Callable, checks: Callable
) -> None:
    texts = polymers(24)
    values = np.tile([300.0, 310.0], 12)
    again = values[:12] + np.where(np.arange(12) % 2, 150.0, -150.0)
    noise = checks(look(write(psmiles=[*texts, *texts[:12]], x=[*values, *again])))["noise"]
    assert noise.severity == "warning"
    assert "no floor can be given" in noise.what
    assert "RMSE" not in noise.what


def test_repeats_in_celsius_are_counted_though_they_scatter(
    write: Write, look: Look, polymers: Callable, smooth_tg: Callable, checks: Callable
) -> None:
    texts = polymers(60)
    values = smooth_tg(texts)
    scatter = np.random.default_rng(0).normal(0, 3, 15)
    celsius = checks(look(write(psmiles=[*texts, *texts[:15]], Tg=[*values, *(values[:15] - 273.15 + scatter)])))
    assert celsius["kelvin repeats Tg"].count == 15
    wide = np.random.default_rng(0).uniform(150, 400, 15)  # apart by anything: no unit
    found = checks(look(write(psmiles=[*texts, *texts[:15]], Tg=[*values, *(values[:15] + wide)])))
    assert "kelvin repeats Tg" not in found


def test_a_column_in_two_units_is_not_taken_for_celsius(
    write: Write, look: Look, homologues: tuple[list[str], np.ndarray], checks: Callable
) -> None:
    texts, values = homologues
    kelvin = values - 80
    mixed = np.where(np.arange(len(texts)) % 3 == 0, kelvin - 273.15, kelvin)
    found = look(write(psmiles=texts, Tg=mixed))
    unit = checks(found)["unit Tg"]
    assert unit.severity == "warning"
    assert set(unit.rows["Tg"]) == set(mixed[mixed < 100])
    assert any("unit cannot be told" in note for note in found.notes)
    said = checks(look(write(psmiles=texts, Tg=mixed), properties=[Property(name="Tg", unit="K")]))
    assert "unit Tg" not in said
    assert said["outside range Tg"].severity == "error"


def test_a_file_that_says_celsius_is_no_mix_up(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    texts = polymers(40)
    values = np.linspace(280, 480, 40)
    said = write("b.csv", psmiles=texts[:20], Tg_C=values[:20] - 273.15)
    found = checks(look(write("a.csv", psmiles=texts, Tg=values), said))
    assert found["different units glass transition temperature"].severity == "warning"
    both = checks(look(write("a.csv", psmiles=texts, tg_k=values), said))
    assert both["different units glass transition temperature"].severity == "info"
    wrong = write("b.csv", psmiles=texts[:20], Tg_K=values[:20] - 273.15)
    assert "unit mix-up glass transition temperature" in checks(look(write("a.csv", psmiles=texts, tg_k=values), wrong))


def test_a_small_but_systematic_offset_is_good_to_know(
    write: Write, look: Look, polymers: Callable, checks: Callable
) -> None:
    texts = polymers(60)
    rng = np.random.default_rng(0)
    values = rng.normal(400, 90, 60)
    first = write("a.csv", psmiles=texts, Tg=values)
    found = look(first, write("b.csv", psmiles=texts[:40], Tg=values[:40] + 12 + rng.normal(0, 2, 40)))
    shift = checks(found)["label shift glass transition temperature"]
    assert shift.severity == "info"
    assert "systematic offset of +12" in shift.what


def test_text_that_means_a_number_is_told(write: Write, look: Look, polymers: Callable, checks: Callable) -> None:
    texts = polymers(4)
    found = look(write(psmiles=texts, Tg=[">373", "263-270", "1,234", ""], batch=["1a", "PS 2", "x", "3"]))
    assert [name for name in checks(found) if name.startswith("text")] == ["text Tg"]
    assert checks(found)["text Tg"].rows["line"].tolist() == [2, 3, 4]
    assert "'>373', '263-270', '1,234'; the column is not audited" in checks(found)["text Tg"].what
    some = look(write(psmiles=polymers(30), Tg=[">373", *range(300, 329)]))
    assert checks(some)["text Tg"].count == 1
    assert "not audited" not in checks(some)["text Tg"].what


def test_units_that_are_unknown_are_refused() -> None:
    for column, unit in (("Tg", "degC"), ("Tg", "K"), ("density", "g/cm3"), ("my_property", "furlong")):
        check_unit(column, unit)
    with pytest.raises(UserError, match="furlong") as caught:
        check_unit("Tg", "furlong")
    assert "K, °C" in str(caught.value)


def test_logarithms_that_are_all_positive_are_told_and_no_power_of_ten_is(
    write: Write, look: Look, homologues: tuple[list[str], np.ndarray], checks: Callable
) -> None:
    texts, values = homologues
    rng = np.random.default_rng(2)
    logs = np.clip((values - values.min()) / np.ptp(values) * 3.2 + rng.normal(0, 0.3, len(values)), 0.01, 3.5)
    found = checks(look(write(psmiles=texts, O2=logs)))
    assert "as much where it is large as where it is small" in found["logarithm O2"].what
    assert not {"units by neighbours O2", "outside range O2"} & set(found)
    for real in (10.0**logs, 10.0 ** (logs - 3), 10.0 ** rng.normal(0.3, 0.2, len(logs))):
        assert "logarithm O2" not in checks(look(write(psmiles=texts, O2=real)))
    negative = checks(look(write(psmiles=texts, O2=logs - 2)))
    assert "not positive" in negative["logarithm O2"].what
    assert "outside range O2" not in negative


def test_one_negative_number_in_a_few_rows_is_a_placeholder(
    write: Write, look: Look, polymers: Callable, smooth_tg: Callable, checks: Callable
) -> None:
    texts = polymers(60)
    values = smooth_tg(texts)
    values[:3] = -1.0
    found = checks(look(write(psmiles=texts, tg_k=values)))
    assert found["placeholder tg_k"].count == 3
    assert "kelvin tg_k" not in found
    values[3] = -20.0  # another one: then all may be Celsius
    found = checks(look(write(psmiles=texts, tg_k=values)))
    assert found["kelvin tg_k"].count == 4
    assert "placeholder tg_k" not in found


def test_two_units_without_shared_polymers_are_named(
    write: Write, look: Look, polymers: Callable, checks: Callable
) -> None:
    texts = polymers(80)
    kelvin = write("a.csv", psmiles=texts[:40], tg_k=np.linspace(280, 480, 40))
    guessed = look(kelvin, write("b.csv", psmiles=texts[40:], Tg=np.linspace(-50, 150, 40)))
    found = checks(guessed)["different units glass transition temperature"]
    assert (found.severity, "is taken for K and" in found.what) == ("warning", True)
    said = look(kelvin, write("c.csv", psmiles=texts[40:], **{"Tg (°C)": np.linspace(-50, 150, 40)}))
    assert checks(said)["different units glass transition temperature"].severity == "info"
