from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from polyml.data.properties import Property
from polyml.data.splits import SplitSpec
from polyml.data.table_reader import read_table
from polyml.domain import ApplicabilityDomain
from polyml.evaluation.compare import Compared, compare
from polyml.evaluation.domain import COLUMNS, bin_edges, error_by_domain, scores_of_folds, with_scores
from polyml.report.domain import error_against_similarity, error_by_similarity

POLYMERS = ["*CC*", "*CC(*)C", "*CC(*)CC", "*CC(*)CCC", "*OCC*", "*OCCC*", "*CC(*)c1ccccc1", "*[Si](C)(C)O*"]


class Task:
    """What is read of a fold."""

    def __init__(self, fold, train, test):
        self.repeat, self.fold = 0, fold
        self.train, self.test = (pd.DataFrame({"key": part, "psmiles": part}) for part in (train, test))


def test_each_polymer_is_compared_with_the_training_part_of_its_own_fold():
    tasks = [Task(0, POLYMERS[:4], POLYMERS[4:]), Task(1, POLYMERS[4:], POLYMERS[:4])]
    found = scores_of_folds([*tasks, tasks[0]])  # a second model on the same fold adds nothing
    assert len(found) == len(POLYMERS)
    for task in tasks:
        own = found[found["fold"] == task.fold].set_index("key")
        expected = ApplicabilityDomain.fit(list(task.train["psmiles"])).judge(list(task.test["psmiles"]))
        np.testing.assert_allclose(own.loc[task.test["key"], "domain_score"], expected.score)
        assert own.loc[task.test["key"], "domain"].tolist() == expected.verdict.tolist()
        assert (own["nearest_similarity"] < 1).all()  # with the whole table each would find itself


def predictions(model="ridge", n=100):
    """Errors that fall as the score rises: the score of row i is i/n, its error 1 - i/n."""
    score = np.arange(n) / n
    y = np.linspace(0, 5, n)
    return pd.DataFrame(
        {
            "model": model, "repeat": 0, "fold": 0, "key": [f"k{i}" for i in range(n)], "psmiles": "*CC*",
            "property": "Tg", "y_true": y, "y_pred": y + (1 - score) * np.where(np.arange(n) % 2, 1, -1),
            "std": 0.1, "lower": y - 10, "upper": np.where(score < 0.5, y - 5, y + 10),
            "nearest_similarity": score, "domain_score": score,
            "domain": np.where(score < 0.1, "outside", np.where(score < 0.2, "edge", "inside")),
        }
    )  # fmt: skip


def test_errors_and_coverage_of_each_part():
    table = error_by_domain(predictions())
    fifths = table[table["by"] == "score"]
    assert fifths["group"].tolist() == ["1", "2", "3", "4", "5"]
    assert fifths["n"].tolist() == [20] * 5
    expected = [np.sqrt(np.mean((1 - np.arange(i, i + 20) / 100) ** 2)) for i in range(0, 100, 20)]
    np.testing.assert_allclose(fifths["rmse"], expected)
    np.testing.assert_allclose(fifths["coverage"], [0, 0, 0.5, 1, 1])
    assert fifths["score_from"].tolist() == [0.0, 0.2, 0.4, 0.6, 0.8]
    np.testing.assert_allclose(table["rank_correlation"], -1.0)
    verdicts = table[table["by"] == "domain"].set_index("group")
    assert verdicts["n"].to_dict() == {"inside": 80, "edge": 10, "outside": 10}
    assert verdicts.loc["outside", "mae"] == pytest.approx(np.mean(1 - np.arange(10) / 100))


def test_all_models_share_the_parts_and_each_has_its_own_correlation():
    other = predictions("mean").assign(y_pred=lambda frame: frame["y_true"] + frame["domain_score"])
    table = error_by_domain(pd.concat([predictions(), other], ignore_index=True))
    wide = table[table["by"] == "score"].pivot(index="group", columns="model", values="score_from")
    assert (wide["ridge"] == wide["mean"]).all()
    assert table.groupby("model")["rank_correlation"].first().round(6).to_dict() == {"ridge": -1.0, "mean": 1.0}


def test_a_class_has_an_accuracy_and_few_rows_have_one_part():
    frame = predictions(n=12).assign(y_true=1.0, y_pred=np.where(np.arange(12) < 3, 0.0, 1.0))
    table = error_by_domain(frame, classes=True)
    assert "rmse" not in table
    assert table[table["by"] == "score"]["accuracy"].tolist() == [0.75]
    assert error_by_domain(pd.DataFrame()).columns.tolist() == COLUMNS
    assert bin_edges(np.ones(50)).tolist() == []


def test_values_that_were_not_measured_do_not_count():
    frame = predictions()
    frame.loc[:49, "y_true"] = np.nan
    assert error_by_domain(frame)["score_from"].min() == 0.5


def test_scores_join_every_row_of_a_polymer():
    frame = predictions(n=4).drop(columns=["nearest_similarity", "domain_score", "domain"])
    frame = pd.concat([frame, frame.assign(property="O2")], ignore_index=True)
    scores = predictions(n=4)[["repeat", "fold", "key", "nearest_similarity", "domain_score", "domain"]]
    joined = with_scores(frame, scores)
    assert joined["domain_score"].tolist() == [0.0, 0.25, 0.5, 0.75] * 2
    assert joined.index.equals(frame.index)


def test_the_pictures_show_what_the_table_says():
    frame = predictions()
    table = error_by_domain(frame)
    one = error_against_similarity(frame, table, "ridge: Tg", "K")
    assert len(one.data[0].x) == 100
    np.testing.assert_allclose(np.unique(one.data[1].y), np.sort(table.loc[table["by"] == "score", "rmse"]))
    assert "-1.00" in one.layout.title.text
    many = error_by_similarity(table, "Tg (K)")
    assert [trace.name for trace in many.data] == ["ridge"]
    assert len(many.data[0].x) == 5


def test_errors_stand_beside_the_novelty_of_the_models_that_give_it():
    known = predictions("autoencoder").assign(novelty=lambda frame: 3 * (1 - frame["domain_score"]))
    table = error_by_domain(pd.concat([predictions(), known], ignore_index=True))
    fifths = table[table["by"] == "novelty"]
    assert set(fifths["model"]) == {"autoencoder"}
    assert fifths["rmse"].is_monotonic_increasing
    np.testing.assert_allclose(fifths["rank_correlation"], 1.0)
    assert fifths["score_to"].iloc[-1] == 3.0
    figure = error_against_similarity(known, table[table["model"] == "autoencoder"], by="novelty")
    assert "rank correlation +1.00" in figure.layout.title.text
    assert (len(figure.data[0].x), len(figure.data[1].x)) == (100, 10)


def test_a_comparison_keeps_the_novelty_of_test_polymers(tmp_path):
    lines = [f"*{'C' * n}{x}*,{n},{n * n}" for n in range(1, 13) for x in ("O", "S", "C(C)", "N")]
    (tmp_path / "data.csv").write_text("\n".join(["smiles,O2,N2", *lines]))
    table = read_table(tmp_path / "data.csv", [Property(name=name, transform="log10") for name in ("O2", "N2")])
    small = {"n_components": 8, "width": 16, "max_epochs": 8, "features": "ecfp_count"}
    specs = [Compared("ridge"), Compared("autoencoder", params=small)]
    results = compare(table, specs, SplitSpec(folds=3), tmp_path / "out", jobs=1, ratios=["O2/N2"])
    found = results.predictions.set_index("model")["novelty"]
    assert found["ridge"].isna().all()
    assert (found["autoencoder"] > 0).all()
    assert set(results.error_by_domain()["by"]) >= {"score", "novelty"}
