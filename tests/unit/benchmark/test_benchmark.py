from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polyml.benchmark import Suite, load_suite, render_report, run_suite, scores_frame, write_ranks
from polyml.data.catalog import embedded_path, list_suites
from polyml.errors import UserError
from polyml.sections import parse_document

FOLDS = 3


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with the values of two gases in a file each; some polymers are in both."""
    table = pd.read_csv(embedded_path("gas_permeability")).head(60)
    folder = tmp_path / "data"
    folder.mkdir()
    table[["psmiles", "O2"]].dropna().to_csv(folder / "oxygen.csv", index=False)
    table.iloc[:40][["psmiles", "N2"]].dropna().to_csv(folder / "nitrogen.csv", index=False)
    return folder


def suite(**changes: Any) -> Suite:
    tree = {
        "name": "gases",
        "title": "Two gases",
        "sets": [
            {"name": "oxygen", "files": ["oxygen.csv"], "targets": [{"name": "O2", "transform": "log10"}]},
            {"name": "nitrogen", "files": ["nitrogen.csv"], "targets": ["N2"]},
            {"name": "both", "files": ["oxygen.csv", "nitrogen.csv"], "targets": ["O2", "N2"]},
        ],
        "comparisons": [
            {
                "name": "single",
                "title": "One gas at a time",
                "sets": ["oxygen", "nitrogen"],
                "split": {"kind": "rows", "folds": FOLDS},
                "models": [
                    "mean",
                    "pca_ridge",
                    {"key": "ridge", "name": "plain", "params": {"features": "ecfp_count"}},
                ],
                "reference": "plain",
                "published": [{"name": "Paper", "source": "A 1, 1", "protocol": "theirs", "scores": {"O2": 0.5}}],
            },
            {
                "name": "joint",
                "title": "Both gases",
                "sets": ["both"],
                "split": {"folds": FOLDS},
                "models": ["mean", "pca_ridge"],
                "reference": "mean",
                "known_properties": True,
            },
        ],
    }
    return parse_document(Suite, {**tree, **changes}, where="suite", kind="suite")


def test_a_suite_runs_and_its_report_says_what_was_scored(data: Path, tmp_path: Path) -> None:
    chosen, out = suite(), tmp_path / "out"
    told: list[str] = []
    finished = run_suite(chosen, data, out, jobs=1, report=told.append)
    assert [line.split(":")[0] for line in told] == ["single, oxygen", "single, nitrogen", "joint, both"]

    scores = scores_frame(finished)
    assert set(scores["folds"]) == {FOLDS}
    folds = pd.read_csv(out / "single" / "oxygen" / "results.csv")
    own = folds[(folds["model"] == "mean") & (folds["metric"] == "rmse")]["score"]
    row = scores[(scores["set"] == "oxygen") & (scores["model"] == "mean") & (scores["metric"] == "rmse")].iloc[0]
    assert row["score"] == pytest.approx(own.mean())
    assert row["score_sd"] == pytest.approx(own.std())

    text = render_report(chosen, finished, "polyml benchmark gases --data FOLDER")
    assert "Made by `polyml benchmark gases --data FOLDER`" in text
    assert f"{row['score']:.3f} ± {row['score_sd']:.3f}" in text
    assert "Protocol **honest**: rows shuffled as in published work" in text
    assert "its other measured properties are given" in text
    assert "| Paper | 0.5 | theirs | A 1, 1 |" in text
    other = replace(finished[0], results={"nitrogen": finished[0].results["nitrogen"]})
    assert "Published" not in render_report(chosen, [other], "command")  # the paper has no figure of nitrogen
    measured = {name: len(pd.read_csv(data / f"{name}.csv")) for name in ("oxygen", "nitrogen")}
    assert f"O2 {measured['oxygen']} (log10(O2)), N2 {measured['nitrogen']};" in text

    rmse = scores[(scores["comparison"] == "single") & (scores["metric"] == "rmse")]
    wide = rmse.pivot(index="model", columns="property", values="score")
    ratio = np.exp(np.log(wide.loc["mean"] / wide.loc["plain"]).mean())
    assert next(line for line in text.splitlines() if line.startswith("| `mean`")).endswith(f"| {ratio:.3f} |")
    lead = wide["O2"].min()
    assert f"**{lead:.3f}** ±" in text

    write_ranks(finished, out)
    ranks = pd.read_csv(out / "ranks.csv")
    assert list(ranks["comparison"]) == ["single"] * 3 + ["joint"] * 2
    single = ranks[ranks["comparison"] == "single"].set_index("model")
    assert single["average_rank"].to_dict() == pytest.approx(wide.rank().mean(axis=1).to_dict())
    assert set(single["data_sets"]) == {2}
    best = single.index[0]
    assert (
        f"`{best}` has the best average rank by RMSE over the 2 properties, {wide.rank().mean(axis=1).min():.2f} of 3"
        in text
    )
    assert "Not distinguishable from it (Nemenyi, critical difference 2.34)" in text  # 2.343 sqrt(3 * 4 / (6 * 2))
    assert "(no test for fewer than three models)" in text
    assert text.count("The properties are of the same polymers") == 1  # of the joint comparison alone
    assert text.count("of the polymers of a data set stand in another") == 1  # of the other
    page = (out / "ranks.html").read_text()
    assert page.count("critical difference 2.34") == 1
    assert "One gas at a time: average rank by RMSE over 2 properties" in page


def test_one_property_has_no_ranks_over_data_sets(data: Path, tmp_path: Path) -> None:
    chosen = suite().restricted(sets=["oxygen"])
    finished = run_suite(chosen, data, tmp_path / "out", jobs=1)
    write_ranks(finished, tmp_path / "out")
    assert not (tmp_path / "out" / "ranks.csv").exists()
    assert "average rank" not in render_report(chosen, finished, "command")


def test_several_files_are_joined_polymer_by_polymer(data: Path, tmp_path: Path) -> None:
    run_suite(suite().restricted(sets=["both"]), data, tmp_path / "out", jobs=1)
    joined = pd.read_csv(tmp_path / "out" / "data" / "both.csv")
    parts = [pd.read_csv(data / f"{name}.csv") for name in ("oxygen", "nitrogen")]
    assert len(joined) == sum(map(len, parts))
    folds = pd.read_csv(tmp_path / "out" / "joint" / "both" / "splits.csv")
    assert folds["key"].is_unique
    assert len(folds) < len(joined)


def test_what_is_finished_is_not_run_again(data: Path, tmp_path: Path) -> None:
    first = run_suite(suite().restricted(models=["mean"]), data, tmp_path / "out", jobs=1)
    again = run_suite(suite(), data, tmp_path / "out", jobs=1)
    for name in ("oxygen", "nitrogen"):
        assert first[0].results[name].computed == 2 * FOLDS  # the reference takes part
        assert (again[0].results[name].reused, again[0].results[name].computed) == (2 * FOLDS, FOLDS)


def test_a_missing_file_is_named_before_anything_is_trained(data: Path, tmp_path: Path) -> None:
    (data / "nitrogen.csv").unlink()
    with pytest.raises(UserError, match=r"needs files that are missing: nitrogen.csv(.|\n)*--data"):
        run_suite(suite(), data, tmp_path / "out")
    with pytest.raises(UserError, match="no such folder of benchmark data"):
        run_suite(suite(), data / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(reference="svm"), "'svm' is none of the models: mean, pca_ridge"),
        (lambda c: c.update(sets=["bot"]), "unknown data set 'bot'(.|\n)*both"),
        (lambda c: c.update(metric="rsme"), "unknown metric of a regression 'rsme'(.|\n)*rmse"),
        (lambda c: c.update(metric="mcc"), "mcc"),
        (lambda c: c.update(sets=["both", "oxygen"]), "'O2' is a target of two data sets(.|\n)*two comparisons"),
        (
            lambda c: c.update(published=[{"name": "A", "source": "B", "protocol": "C", "scores": {"O3": 1.0}}]),
            "unknown property of published scores 'O3'(.|\n)*O2",
        ),
        (lambda c: c.update(name="single"), "two entries are called single"),
        (lambda c: c.update(refrence="mean"), "unknown suite key 'comparisons.1.refrence'(.|\n)*reference"),
    ],
)
def test_a_suite_that_does_not_fit_is_refused(change: Callable[[dict], object], message: str) -> None:
    tree = suite().model_dump(mode="json", exclude_defaults=True)
    change(tree["comparisons"][1])
    with pytest.raises(UserError, match=message):
        parse_document(Suite, tree, where="suite", kind="suite")


def test_unknown_names_of_a_restriction_are_refused() -> None:
    with pytest.raises(UserError, match=r"unknown data set 'oxigen'(.|\n)*oxygen"):
        suite().restricted(sets=["oxigen"])
    with pytest.raises(UserError, match=r"unknown model 'men'(.|\n)*mean"):
        suite().restricted(models=["men"])
    with pytest.raises(UserError, match="no comparison has both"):
        suite().restricted(sets=["both"], models=["plain"])


def test_a_restriction_keeps_the_comparisons_that_have_what_is_named() -> None:
    left = suite().restricted(models=["plain"]).comparisons
    assert [(item.name, [spec.label for spec in item.models]) for item in left] == [("single", ["plain"])]
    left = suite().restricted(sets=["nitrogen", "both"], models=["pca_ridge"]).comparisons
    assert [(item.sets, len(item.models)) for item in left] == [(["nitrogen"], 2), (["both"], 2)]


@pytest.mark.parametrize("name", list_suites())
def test_the_suites_that_come_with_polyml_name_models_that_exist(name: str) -> None:
    from polyml.pipeline.steps import check_models

    for comparison in load_suite(name).comparisons:
        check_models(comparison.models)


def test_the_dft_suite_compares_the_whole_catalog() -> None:
    from polyml.models.catalog import MODELS

    single = load_suite("dft").comparisons[0]
    # The first has a table of its own, the second predicts as what it wraps, the third with one property as gp.
    apart = ("completion", "conformal", "gp_coregional")
    assert [spec.label for spec in single.models[:2]] == ["ridge_ecfp", "gp_electronic"]
    assert [spec.label for spec in single.models[2:]] == [key for key in MODELS if key not in apart]
    assert not any(spec.params for spec in single.models[2:])


def test_completion_of_the_dft_suite_has_the_plain_baseline() -> None:
    completion = load_suite("dft").comparisons[2]
    assert completion.known_properties
    assert "mean" in [spec.label for spec in completion.models]


def test_models_that_know_tested_polymers_are_refused_or_stamped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(*_: object, **__: object) -> None:
        raise UserError("the encoder has learned labels of 3 tested polymers")

    for place in ("polyml.models.pretrained.check_unseen", "polyml.evaluation.plan.check_unseen"):
        monkeypatch.setattr(place, known)
    chosen = suite().restricted(sets=["oxygen"], models=["mean"])
    with pytest.raises(UserError, match="has learned labels"):
        run_suite(chosen, data, tmp_path / "out", jobs=1)
    allowed = [item.model_copy(update={"allow_leaks": True}) for item in chosen.comparisons]
    finished = run_suite(chosen.model_copy(update={"comparisons": allowed}), data, tmp_path / "out", jobs=1)
    assert list(finished[0].results["oxygen"].options["protocol"]) == ["leaky"]
    assert "Protocol **leaky**" in render_report(chosen, finished, "polyml benchmark gases")


@pytest.mark.parametrize(("best", "places"), [(0.41, 3), (0.0093, 5), (21.1, 1), (692.0, 0), (0.0, 3), (1e-9, 6)])
def test_errors_have_the_digits_of_their_size(best: float, places: int) -> None:
    from polyml.benchmark.report import _decimals

    assert _decimals(best) == places
