"""Labels of polymers that were measured more than once: conflicts, and the noise floor they tell of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from polyml.audit.findings import Finding, counted
from polyml.audit.sources import AuditedFile, AuditedProperty
from polyml.audit.spec import AuditSpec
from polyml.data.duplicates import find_duplicates
from polyml.data.properties import Property

_ENOUGH = 5  # repeated polymers for a word on the noise
NOISE_COLUMNS = [
    "property", "files", "polymers", "values", "copies", "noise_sd", "noise_low", "noise_high", "sd",
    "best_rmse", "best_r2",
]  # fmt: skip


def conflict_findings(item: AuditedFile, spec: AuditSpec) -> list[Finding]:
    """Find polymers of a file whose values spread by more than the bounds."""
    found = []
    for p in item.properties:
        y = item.modelled(p)
        given = ~np.isnan(y)
        frame = item.frame.loc[given, ["line", "text", "key"]].rename(columns={"text": "psmiles"})
        frame[p.name] = item.values.loc[given, p.name] if p.item.is_class else y[given]
        frame = frame[frame["key"].duplicated(keep=False)]
        if frame.empty:
            continue
        # The bound is in standard deviations of the whole column, impossible values left out, and the report takes
        # those of its rows.
        sd = 1.0 if p.item.is_class else spread(item, p)
        bound = spec.conflict if p.item.is_class else spec.conflict * sd / (np.std(frame[p.name]) or 1.0)
        report = find_duplicates(frame, [_plain(p.item)], bound)
        rows = report[report["conflict"]].sort_values(f"spread_{p.name}", ascending=False)
        if rows.empty:
            continue
        values = frame.groupby("key")[p.name].agg(lambda cells: ";".join(_shown(cell) for cell in cells))
        rows = rows.assign(values=values.loc[rows["key"]].to_numpy())
        columns = ["count", "lines", "psmiles", "values", f"spread_{p.name}", "key"]
        found.append(_conflict(item.name, p, rows[columns].reset_index(drop=True), sd, spec))
    return found


def spread(item: AuditedFile, p: AuditedProperty) -> float:
    """Return the standard deviation of the plausible values on the modelled scale; of all where these have none."""
    y = item.plausible(p)
    sd = 0.0 if np.isnan(y).all() else float(np.nanstd(y))
    return sd if sd > 0 else float(np.nanstd(item.modelled(p)))


def _plain(item: Property) -> Property:
    """Return a property for values that are on the modelled scale already."""
    return item if item.is_class else Property(name=item.name)


def _shown(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _conflict(name: str, p: AuditedProperty, rows: pd.DataFrame, sd: float, spec: AuditSpec) -> Finding:
    why = "Labels of one polymer that disagree bound what any model can reach, and one of them may be wrong."
    fix = "look at the sources of these rows; polyml takes the mean on the modelled scale when it merges them"
    if p.item.is_class:
        what = f"{counted(len(rows), 'polymer')} with several classes of {p.name}"
        return Finding(f"conflicts {p.name}", "error", (name,), what, why, fix, len(rows), rows)
    distance = rows[f"spread_{p.name}"] / sd
    severity = "error" if (distance > spec.severe).any() else "warning"
    what = (
        f"{counted(len(rows), 'polymer')} with values of {p.item.model_label} that spread by more than "
        f"{spec.conflict:g} SD, {int((distance > spec.severe).sum())} of them by more than {spec.severe:g} SD "
        f"(of {sd:.3g}); the largest spread is {distance.max():.1f} SD"
    )
    return Finding(f"conflicts {p.name}", severity, (name,), what, why, fix, len(rows), rows)  # type: ignore[arg-type]


def noise_floor(y: np.ndarray, keys: Sequence[str] | np.ndarray) -> dict[str, float] | None:
    """Estimate the noise of labels from repeats, and the best score that it leaves.

    The pooled standard deviation within polymers, with its 95 % interval (chi-squared, as for normal errors). A perfect
    model that is scored on single measurements has this RMSE, and R² = 1 - (noise / SD)². Repeats with equal values
    count: where they are copies of one measurement the noise is underestimated, so their number is given (``copies``).

    Parameters
    ----------
    y : ndarray of shape (n,)
        Modelled scale; NaN is left out.
    keys : sequence of str

    Returns
    -------
    dict or None
        polymers, values, copies, noise_sd, noise_low, noise_high, sd, best_rmse, best_r2; None without repeats.

    Examples
    --------
    >>> floor = noise_floor(np.array([1.0, 3.0, 10.0, 10.0, 20.0]), ["a", "a", "b", "b", "c"])
    >>> floor["noise_sd"], floor["polymers"], floor["copies"]
    (1.0, 2, 1)
    """
    from scipy.stats import chi2

    frame = pd.DataFrame({"y": np.asarray(y, dtype=float), "key": np.asarray(keys)}).dropna()
    groups = frame.groupby("key")["y"]
    sizes = groups.transform("size")
    repeated = frame[sizes > 1]
    if repeated.empty:
        return None
    within = repeated.groupby("key")["y"]
    freedom = len(repeated) - within.ngroups
    squares = float(((repeated["y"] - within.transform("mean")) ** 2).sum())
    noise, sd = np.sqrt(squares / freedom), float(frame["y"].std())
    low, high = (np.sqrt(squares / chi2.ppf(level, freedom)) for level in (0.975, 0.025))
    return {
        "polymers": within.ngroups, "values": len(repeated), "copies": int((within.nunique() == 1).sum()),
        "noise_sd": float(noise), "noise_low": float(low), "noise_high": float(high), "sd": sd,
        "best_rmse": float(noise), "best_r2": float(1 - (noise / sd) ** 2) if sd > 0 else np.nan,
    }  # fmt: skip


def noise_table(files: Sequence[AuditedFile]) -> pd.DataFrame:
    """Return the noise floor of every property of each file, and of each property that several files have."""
    records = []
    by_quantity: dict[str, list[tuple[AuditedFile, AuditedProperty]]] = {}
    within: dict[tuple[str, str], float] = {}
    for item in files:
        for p in item.measured:
            by_quantity.setdefault(p.quantity, []).append((item, p))
            floor = noise_floor(item.plausible(p), item.frame["key"].to_numpy())
            if floor:
                within[item.name, p.name] = floor["polymers"]
                records.append({"property": p.name, "files": item.name, **floor})
    for quantity, places in by_quantity.items():
        if len(places) > 1 and len({(p.item.unit, p.item.transform) for _, p in places}) == 1:
            y = np.concatenate([item.plausible(p) for item, p in places])
            keys = np.concatenate([item.frame["key"].to_numpy() for item, _ in places])
            floor = noise_floor(y, keys)
            inside = sum(within.get((item.name, p.name), 0) for item, p in places)
            if floor and floor["polymers"] >= inside + _ENOUGH:
                records.append({"property": quantity, "files": " + ".join(item.name for item, _ in places), **floor})
    return pd.DataFrame(records, columns=NOISE_COLUMNS)


def noise_findings(table: pd.DataFrame) -> list[Finding]:
    """Say what the noise of the labels leaves to be reached."""
    found = []
    for row in _measured(table):
        copies = f"; {row['copies']:.0f} of them hold equal values, perhaps copies" if row["copies"] else ""
        between = "; the offsets between the files are a part of it" if " + " in row["files"] else ""
        files, rows = tuple(row["files"].split(" + ")), pd.DataFrame([row])
        pooled = (
            f"{row['property']}: {row['polymers']:.0f} polymers have several values; pooled standard deviation "
            f"{row['noise_sd']:.3g} (95 % {row['noise_low']:.3g} to {row['noise_high']:.3g})"
        )
        if not row["best_r2"] > 0:
            what = f"{pooled}, which is not less than that of all values ({row['sd']:.3g}); no floor can be given"
            why = "Repeats disagree more than polymers do: these labels tell no model anything, or units are mixed."
            fix = "mend the conflicts first, and the units where repeats stand apart by one"
            found.append(Finding("noise", "warning", files, what + between, why, fix, int(row["polymers"]), rows))
            continue
        what = (
            f"{pooled}, so a perfect model has RMSE {row['best_rmse']:.3g} and R² {row['best_r2']:.3f} on single "
            f"values{copies}{between}"
        )
        found.append(
            Finding(
                "noise", "info", files, what,
                "An error below this floor cannot be believed: it has learned the test values, not the polymers.",
                "compare the scores of models with it, not with zero", int(row["polymers"]), rows,
            )
        )  # fmt: skip
    return found


def _measured(table: pd.DataFrame) -> Iterable[dict]:
    return (row for row in table.to_dict("records") if row["noise_sd"] > 0 and row["polymers"] >= _ENOUGH)
