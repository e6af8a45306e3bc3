"""The report of a benchmark suite in Markdown: what was scored how, the tables, the published figures beside them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from polyml import __version__
from polyml.benchmark.run import Finished
from polyml.benchmark.suite import ComparisonSpec, PublishedSpec, Suite
from polyml.data.files import whole_file
from polyml.evaluation.metrics import METRICS
from polyml.evaluation.ranks import RankComparison, compare_ranks
from polyml.evaluation.summary import listed, p_value

_MANY = 0.05  # share of polymers that data sets have in common which is worth a word
_LIBRARIES = ("rdkit", "scikit-learn", "torch", "torch-geometric")


def scores_frame(finished: Iterable[Finished]) -> pd.DataFrame:
    """Return the scores of a suite as one tidy table.

    Returns
    -------
    DataFrame
        comparison, set, model, property, metric, score and score_sd (mean and standard deviation over folds), folds.
    """
    parts = []
    for item in finished:
        for name, results in item.results.items():
            groups = results.frame.groupby(["model", "property", "metric"], sort=False)["score"]
            part = groups.agg(["mean", "std", "size"]).reset_index()
            part = part.rename(columns={"mean": "score", "std": "score_sd", "size": "folds"})
            part.insert(0, "set", name)
            part.insert(0, "comparison", item.spec.name)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def rank_models(finished: Iterable[Finished]) -> dict[str, RankComparison]:
    """Rank the models of each comparison over its data sets, by the score that is shown first.

    Every property counts as a data set, as it has a column in the report; comparisons of one property are left out.
    The scores are the means over folds of the report.
    """
    found = {}
    for item in finished:
        scores = scores_frame([item])
        own = scores[scores["metric"] == item.spec.metric]
        wide = own.pivot(index="model", columns=["set", "property"], values="score")
        wide = wide.reindex(index=list(dict.fromkeys(own["model"])))
        if wide.shape[1] > 1 and len(wide) > 1:
            found[item.spec.name] = compare_ranks(wide, item.spec.metric)
    return found


def write_ranks(finished: Sequence[Finished], folder: Path) -> None:
    """Write ``ranks.csv`` and, with the diagrams, ``ranks.html`` beside the report.

    ``ranks.csv`` has one row a comparison and model: comparison, metric, model, average_rank, behind_best,
    distinguishable_from_best; and of the comparison data_sets, critical_difference, friedman and
    friedman_p. Nothing is written where no comparison has two properties and two models.
    """
    from polyml.report.critical_difference import critical_difference_diagram
    from polyml.report.html import figures_page

    specs = {item.spec.name: item.spec for item in finished}
    tables, figures = [], {}
    for name, found in rank_models(finished).items():
        table = found.table()
        table.insert(0, "metric", specs[name].metric)
        table.insert(0, "comparison", name)
        tests = ("data_sets", "critical_difference", "friedman", "friedman_p")
        tables.append(table.assign(**{column: getattr(found, column) for column in tests}))
        heading = f"{specs[name].title}: average rank by {METRICS[specs[name].metric].title}"
        diagram = critical_difference_diagram(found.ranks, found.groups(), found.critical_difference)
        figures[f"{heading} over {found.data_sets} properties"] = diagram
    if not tables:
        return
    with whole_file(folder / "ranks.csv") as temporary:
        pd.concat(tables, ignore_index=True).to_csv(temporary, index=False, lineterminator="\n")
    with whole_file(folder / "ranks.html") as temporary:
        temporary.write_text(figures_page("Average ranks and critical differences", figures), "utf-8")


def render_report(suite: Suite, finished: Sequence[Finished], command: str) -> str:
    """Return the report.

    Parameters
    ----------
    suite : Suite
    finished : sequence of Finished
        From :func:`polyml.benchmark.run.run_suite`.
    command : str
        The command that makes it, for the reader to repeat.
    """
    scores = scores_frame(finished)
    ranks = rank_models(finished)
    lines = [f"# {suite.title}", "", f"Made by `{command}`; change the suite, not this page.", ""]
    lines += [suite.text.strip(), ""] if suite.text else []
    for item in finished:
        lines += _comparison(item, scores[scores["comparison"] == item.spec.name], ranks.get(item.spec.name))
    versions = next(iter(finished[0].results.values())).options["versions"]
    told = ", ".join(f"{name} {versions[name]}" for name in _LIBRARIES if name in versions)
    lines += [f"polyml {__version__}, Python {versions['python']}, {told}; seed {suite.seed}."]
    return "\n".join(lines) + "\n"


def _comparison(item: Finished, scores: pd.DataFrame, ranks: RankComparison | None) -> list[str]:
    spec = item.spec
    lines = [f"## {spec.title}", ""]
    lines += [spec.text.strip(), ""] if spec.text else []
    lines += [*_protocols(item), "", *_sizes(item), ""]
    for metric in dict.fromkeys([spec.metric, "r2"]):
        own = scores[scores["metric"] == metric]
        lines += _table(spec, own, metric) if len(own) else []
    lines += _ranks(item, ranks) if ranks is not None else []
    lines += _published(spec, set(scores["property"]))
    failures = {label: why.error for results in item.results.values() for label, why in results.failures.items()}
    if failures:
        lines += ["Not scored: " + "; ".join(f"`{label}`: {why}" for label, why in failures.items()) + ".", ""]
    return lines


def _protocols(item: Finished) -> list[str]:
    """Say how the scores were made; once, where it is the same for all data sets."""
    told: dict[str, list[str]] = {}
    for data_set, results in item.results.items():
        for name, words in results.options["protocol"].items():
            told.setdefault(f"Protocol **{name}**: {words}", []).append(data_set)
    return [f"{line}." if len(told) == 1 else f"- {line} ({', '.join(names)})." for line, names in told.items()]


def _sizes(item: Finished) -> list[str]:
    """Count the measured values of each property."""
    counts = {}
    for results in item.results.values():
        split = results.options["split"]
        own = results.frame.drop_duplicates(["model", "metric", "property", "repeat", "fold"])
        own = own[(own["model"] == own["model"].iloc[0]) & (own["metric"] == own["metric"].iloc[0])]
        for name, rows in own.groupby("property", sort=False):
            scale = results.scales[name]
            counts[name] = f"{name} {int(rows['n_test'].sum() / split['repeats'])}" + (f" ({scale})" if scale else "")
    return [f"Measured values: {', '.join(counts.values())}; {split['folds']} folds of kind `{split['kind']}`."]


def _table(spec: ComparisonSpec, scores: pd.DataFrame, metric: str) -> list[str]:
    """Lay out one metric: a row a model, best first, a column a property, the best of each in bold."""
    mean = scores.pivot_table(index="model", columns="property", values="score", sort=False)
    spread = scores.pivot_table(index="model", columns="property", values="score_sd", sort=False)
    order = summary(mean, metric, spec.reference)
    lead = mean.max() if METRICS[metric].direction == "maximize" else mean.min()
    title = "ratio" if _is_ratio(metric) else "mean"
    note = f" `ratio` is the geometric mean over the properties of a score over that of `{spec.reference}`."
    lines = [f"**{METRICS[metric].title}**, mean ± standard deviation over the folds.{note * _is_ratio(metric)}", ""]
    lines += ["| | " + " | ".join([*mean.columns, title]) + " |", "|---" * (len(mean.columns) + 2) + "|"]
    digits = [_decimals(float(best)) if _is_ratio(metric) else 3 for best in lead]
    for label in order.index:
        numbers = zip(mean.loc[label], spread.loc[label], lead, digits, strict=True)
        cells = [_cell(float(score), float(sd), float(best), places) for score, sd, best, places in numbers]
        lines.append(f"| `{label}` | " + " | ".join([*cells, f"{order[label]:.3f}"]) + " |")
    return [*lines, ""]


def summary(mean: pd.DataFrame, metric: str, reference: str) -> pd.Series:
    """Sum up the scores of each model over properties, best first.

    An error is divided by that of the reference, property by property, and the geometric mean is taken, so that the
    units and the spread of a property do not matter; a score without a unit is averaged.

    Parameters
    ----------
    mean : DataFrame
        Models by properties.
    metric : str
    reference : str

    Examples
    --------
    >>> errors = pd.DataFrame({"gap": [1.0, 0.5], "nc": [0.1, 0.2]}, index=["ridge", "svm"])
    >>> summary(errors, "rmse", "ridge").to_dict()
    {'ridge': 1.0, 'svm': 1.0}
    """
    if _is_ratio(metric):
        factors = (mean / mean.reindex(index=[reference]).iloc[0]).map(np.log)
        return np.exp(factors.mean(axis=1, skipna=False)).sort_values(kind="stable", na_position="last")
    averages = mean.mean(axis=1, skipna=False)
    return averages.sort_values(ascending=METRICS[metric].direction == "minimize", kind="stable", na_position="last")


def _is_ratio(metric: str) -> bool:
    return METRICS[metric].unit != "none"


def _decimals(best: float) -> int:
    """Return how many decimals show three digits of the best score: errors have the size of their property."""
    return min(6, max(0, 2 - math.floor(math.log10(best)))) if best > 0 else 3


def _cell(score: float, spread: float, lead: float, places: int) -> str:
    if math.isnan(score):
        return "–"
    text = f"**{score:.{places}f}**" if score == lead else f"{score:.{places}f}"
    return f"{text} ± {spread:.{places}f}"


def _ranks(item: Finished, ranks: RankComparison) -> list[str]:
    """Say which models cannot be told from the one that ranks best over the properties."""
    best, title = ranks.ranks.index[0], METRICS[item.spec.metric].title
    over = f"over the {ranks.data_sets} properties"
    lead = f"`{best}` has the best average rank by {title} {over}, {ranks.ranks.iloc[0]:.2f} of {len(ranks.ranks)}"
    told = "no test for fewer than three models"
    if not math.isnan(ranks.friedman_p):
        told = f"Friedman {p_value(ranks.friedman_p)}"
    ties = [f"`{name}`" for name in ranks.tied_with_best()]
    near = f"Not distinguishable from it (Nemenyi, critical difference {ranks.critical_difference:.2f}): "
    text = f"{lead} ({told}). {near}{listed(ties) if ties else 'none'}."
    if len(item.results) == 1:
        text += " The properties are of the same polymers, which these tests take for independent data sets."
    elif (share := _shared([set(found.predictions["key"]) for found in item.results.values()])) > _MANY:
        text += (
            f" Up to {share:.0%} of the polymers of a data set stand in another; the tests take them for independent."
        )
    if ranks.left_out:
        text += f" Without a score on each: {', '.join(f'`{name}`' for name in ranks.left_out)}."
    return [text, ""]


def _shared(sets: Sequence[set[str]]) -> float:
    """Return the largest share of the polymers of a data set that stand in some other one."""
    others = [set[str]().union(*sets[:place], *sets[place + 1 :]) for place in range(len(sets))]
    return max(len(own & other) / max(len(own), 1) for own, other in zip(sets, others, strict=True))


def _published(spec: ComparisonSpec, scored: Collection[str]) -> list[str]:
    """Lay out the figures of others for the properties that were scored here."""
    published = [item for item in spec.published if {*item.scores} & {*scored}]
    if not published:
        return []
    names = list(dict.fromkeys(name for item in published for name in item.scores if name in scored))
    lines = [f"Published {METRICS[spec.metric].title}, each by its own protocol:", ""]
    lines += ["| | " + " | ".join([*names, "protocol", "source"]) + " |", "|---" * (len(names) + 3) + "|"]
    for item in published:
        lines.append(f"| {item.name} | " + " | ".join([*_figures(item, names), item.protocol, item.source]) + " |")
    return [*lines, ""]


def _figures(item: PublishedSpec, names: Sequence[str]) -> list[str]:
    return [f"{item.scores[name]:g}" if name in item.scores else "–" for name in names]
