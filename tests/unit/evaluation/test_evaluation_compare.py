"""compare() with small stand-in models: what it keeps, what it refuses, how it goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from polyml.data.properties import Property
from polyml.data.splits import SplitSpec
from polyml.data.table import PolymerTable
from polyml.data.table_reader import read_table
from polyml.errors import UserError, unknown_name
from polyml.evaluation.compare import Compared, compare
from polyml.evaluation.one_fold import fold_seed, read_fold
from polyml.models.base import PolymerModel, Prediction

TIMES = ["fit_seconds", "predict_seconds"]
SPLIT = SplitSpec(kind="kfold", folds=4)


class Stub(PolymerModel):
    """Predicts from the length of the text, plus noise that follows random_state."""

    key, family, title, input_kind = "stub", "stand-in", "Stand-in", "none"

    noise: float = 0.0
    features: str = ""
    random_state: int | None = None

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> Stub:
        x = np.array([len(text) for text in psmiles], dtype=float)
        self.lines_ = [np.polyfit(x[~np.isnan(c)], c[~np.isnan(c)], 1) for c in np.asarray(y).T]
        self.history_ = [{"epoch": 0, "train_loss": 1.0}, {"epoch": 1, "train_loss": 0.5}]
        return self

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        x = np.array([len(text) for text in psmiles], dtype=float)
        mean = np.column_stack([np.polyval(line, x) for line in self.lines_])
        return mean + self.noise * np.random.default_rng(self.random_state).normal(size=mean.shape)

    def predict_dist(self, psmiles: Sequence[str]) -> Prediction:
        mean = self.predict(psmiles)
        return Prediction.gaussian(mean, np.full_like(mean, 0.5))

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Stub:
        raise NotImplementedError


class Broken(Stub):
    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> Stub:
        raise RuntimeError("the loss is not finite\nsecond line")


class FailsLater(Stub):
    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        return np.full((len(psmiles), len(self.lines_)), np.nan)


class Wide(Stub):
    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        return np.zeros((len(psmiles), 7))


class Interrupted(Stub):
    """Ctrl-C in the third fold that this process trains."""

    count = 0

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> Stub:
        Interrupted.count += 1
        if Interrupted.count == 3 and "POLYML_TEST_INTERRUPT" in os.environ:
            raise KeyboardInterrupt
        return super().fit(psmiles, y)


class Memoriser(Stub):
    """Knows the polymers it was trained on by key, and complains when it meets one again."""

    def fit(self, psmiles: Sequence[str], y: np.ndarray) -> Stub:
        from polyml.chem import canonicalize

        self.seen_ = {canonicalize(text) for text in psmiles}
        super().fit(psmiles, y)
        del self.history_  # or it would be asked for its training polymers, to see whether it overfits
        return self

    def predict(self, psmiles: Sequence[str]) -> np.ndarray:
        from polyml.chem import canonicalize

        known = [text for text in psmiles if canonicalize(text) in self.seen_]
        if known:
            raise AssertionError(f"trained on a test polymer: {known[0]}")
        return super().predict(psmiles)


STUBS = {
    "stub": Stub,
    "broken": Broken,
    "nan": FailsLater,
    "wide": Wide,
    "interrupted": Interrupted,
    "memoriser": Memoriser,
}


def make_stub(key: str, **params: Any) -> PolymerModel:
    if key not in STUBS:
        raise unknown_name("model", key, STUBS)
    return STUBS[key](**params)


def polymers(n: int = 24) -> list[str]:
    return ["*" + "C" * (1 + i % 5) + "O" * (i % 2) + "C(" + "C" * (1 + i) + ")*" for i in range(n)]


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def table(tmp_path: Path) -> PolymerTable:
    texts = polymers()
    rng = np.random.default_rng(3)
    length = np.array([len(text) for text in texts])
    o2 = 10 ** (0.05 * length + rng.normal(0, 0.1, len(texts)))
    n2 = 10 ** (0.04 * length - 0.5 + rng.normal(0, 0.1, len(texts)))
    n2[[2, 7]] = np.nan
    path = write_csv(tmp_path / "gas.csv", pd.DataFrame({"psmiles": texts, "O2": o2, "N2": n2}))
    return read_table(path, [Property(name=name, unit="Barrer", transform="log10") for name in ("O2", "N2")])


def run(table: PolymerTable, folder: Path, *specs: Compared, **options: Any) -> Any:
    options = {"jobs": 1, "factory": make_stub, "ratios": ["O2/N2"]} | options
    return compare(table, specs, options.pop("split", SPLIT), folder, **options)


STUB, NOISY = Compared(key="stub"), Compared(key="stub", name="noisy", params={"noise": 0.3})


def test_results_are_tidy_and_complete(table: PolymerTable, tmp_path: Path) -> None:
    results = run(table, tmp_path / "out", STUB, NOISY)
    frame = results.frame
    head = ["run", "model", "features", "split", "fold", "repeat", "property", "metric", "score", "seed", *TIMES]
    assert list(frame.columns)[: len(head)] == head
    assert len(frame) == 2 * 4 * 3 * 3  # models, folds, properties with the ratio, metrics
    assert set(frame["property"]) == {"O2", "N2", "O2/N2"}
    assert not frame.duplicated(["model", "fold", "repeat", "property", "metric"]).any()
    sizes = frame.drop_duplicates(["fold", "property"]).set_index(["fold", "property"])
    assert sizes["n_test"].groupby("property").sum().to_dict() == {"N2": 22, "O2": 24, "O2/N2": 22}
    assert (sizes["n_test"] + sizes["n_train"]).groupby("property").max().to_dict() == {"N2": 22, "O2": 24, "O2/N2": 22}
    assert set(frame["seed"]) == {fold_seed(1, 0, fold) for fold in range(4)}


def test_scores_follow_from_the_predictions_that_are_kept(table: PolymerTable, tmp_path: Path) -> None:
    results = run(table, tmp_path / "out", STUB)
    kept = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert len(kept) == 24 * 3
    part = kept[(kept["fold"] == 1) & (kept["property"] == "N2")].dropna(subset="y_true")
    by_hand = float(np.sqrt(((part["y_true"] - part["y_pred"]) ** 2).mean()))
    row = results.frame.query("fold == 1 and property == 'N2' and metric == 'rmse'")
    assert row["score"].iloc[0] == pytest.approx(by_hand)
    assert set(zip(kept["key"], kept["fold"], strict=True)) == set(
        zip(results.splits["key"], results.splits["fold"], strict=True)
    )
    wide = kept.pivot(index="key", columns="property", values="y_pred")
    assert (wide["O2"] - wide["N2"]).to_numpy() == pytest.approx(wide["O2/N2"].to_numpy())
    truth = dict(zip(table.keys, table.y[:, 0], strict=True))
    o2 = kept[kept["property"] == "O2"]
    assert o2["y_true"].to_numpy() == pytest.approx([truth[key] for key in o2["key"]])


def test_every_file_is_written_and_nothing_half_written(table: PolymerTable, tmp_path: Path) -> None:
    run(table, tmp_path / "out", STUB, Compared(key="broken"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {
        "results.csv",
        "leaderboard.csv",
        "paired_tests.csv",
        "domain.csv",
        "uncertainty.csv",
        "splits.csv",
        "rejects.csv",
        "warnings.csv",
        "duplicates.csv",
    }
    assert names == tables | {"predictions.parquet", "compare.json", "folds", "errors"}
    spreads = pd.read_csv(tmp_path / "out" / "uncertainty.csv")
    assert set(spreads["model"]) == {"stub"}
    assert spreads["n"].iloc[0] == np.isfinite(table.y[:, 0]).sum()  # all folds together
    widths = spreads.set_index("property")["interval_width"]
    assert widths[["O2", "N2"]].to_numpy() == pytest.approx(2 * 1.6448536 * 0.5)
    assert np.isnan(widths["O2/N2"])
    options = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert options["status"] == "finished"
    assert options["data"]["digest"] == table.digest
    assert options["versions"]["polyml"]
    assert not list((tmp_path / "out").rglob(".*"))


def test_the_leaderboard_is_sorted_by_r2_and_failed_models_stand_last(table: PolymerTable, tmp_path: Path) -> None:
    results = run(table, tmp_path / "out", Compared(key="broken"), NOISY, STUB)
    board = results.leaderboard()
    assert list(board["model"]) == ["stub", "noisy", "broken"]
    assert list(board["status"]) == ["ok", "ok", "failed"]
    assert results.best() == "stub"
    assert board["error"].iloc[2] == "RuntimeError: the loss is not finite second line"
    assert np.isnan(board["rmse"].iloc[2])
    report = (tmp_path / "out" / "errors" / "broken.txt").read_text()
    assert "Traceback" in report
    assert "the loss is not finite" in report
    folds = results.frame.query("model == 'stub' and metric == 'r2' and property in ['O2', 'N2']")
    means = folds.groupby("fold")["score"].mean()
    assert board["r2"].iloc[0] == pytest.approx(means.mean())
    assert board["r2_sd"].iloc[0] == pytest.approx(means.std())
    assert "broken" not in set(results.frame["model"])


@pytest.mark.parametrize(("key", "message"), [("nan", "not finite numbers"), ("wide", "expected")])
def test_useless_predictions_are_a_failure(table: PolymerTable, tmp_path: Path, key: str, message: str) -> None:
    results = run(table, tmp_path / "out", STUB, Compared(key=key))
    assert message in results.failures[key].error
    assert (results.failures[key].repeat, results.failures[key].fold) == (0, 0)


def test_all_models_failing_is_an_error_that_says_why(table: PolymerTable, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="every model failed; broken: RuntimeError: the loss is not finite"):
        run(table, tmp_path / "out", Compared(key="broken"))


def test_an_interrupted_comparison_goes_on_and_gives_the_same_files(
    table: PolymerTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = (Compared(key="interrupted", params={"noise": 0.2}), NOISY)
    whole = run(table, tmp_path / "whole" / "out", *specs)
    monkeypatch.setenv("POLYML_TEST_INTERRUPT", "1")
    monkeypatch.setattr(Interrupted, "count", 0)
    folder = tmp_path / "parts" / "out"
    with pytest.raises(KeyboardInterrupt, match="2 of 8 folds are finished"):
        run(table, folder, *specs)
    assert not (folder / "results.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in (folder / "folds").iterdir()}
    assert len(kept) == 2
    resumed = run(table, folder, *specs)
    assert (resumed.reused, resumed.computed) == (2, 6)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert (whole.reused, whole.computed) == (0, 8)
    texts = [pd.read_csv(f / "results.csv").drop(columns=TIMES).to_csv() for f in (folder, tmp_path / "whole" / "out")]
    assert texts[0] == texts[1]
    for name in ("splits.csv", "paired_tests.csv", "predictions.parquet"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / "out" / name).read_bytes()


def test_only_what_differs_is_computed_again(table: PolymerTable, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run(table, folder, STUB, NOISY)
    again = run(table, folder, STUB, NOISY, metrics=("mae",))
    assert (again.reused, again.computed) == (8, 0)
    changed = run(table, folder, STUB, Compared(key="stub", name="noisy", params={"noise": 0.1}))
    assert (changed.reused, changed.computed) == (4, 4)
    assert run(table, folder, STUB, seed=2).computed == 4
    assert run(table, folder, STUB, seed=2, split=SplitSpec(kind="kfold", folds=4, seed=9)).computed == 4


def test_a_damaged_fold_is_computed_again(table: PolymerTable, tmp_path: Path) -> None:
    run(table, tmp_path / "out", STUB)
    (tmp_path / "out" / "folds" / "stub-r0-f1.parquet").write_bytes(b"PAR1 half")
    assert run(table, tmp_path / "out", STUB).computed == 1


def test_the_environment_says_how_many_processes(table: PolymerTable, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("POLYML_JOBS", "none")
    with pytest.raises(UserError, match="POLYML_JOBS"):
        run(table, tmp_path / "out", STUB, jobs=None)


def test_the_numbers_do_not_depend_on_the_number_of_jobs(table: PolymerTable, tmp_path: Path) -> None:
    one = run(table, tmp_path / "a" / "out", NOISY, Compared(key="broken"), STUB, jobs=1)
    two = run(table, tmp_path / "b" / "out", NOISY, Compared(key="broken"), STUB, jobs=2)
    pd.testing.assert_frame_equal(one.frame.drop(columns=TIMES), two.frame.drop(columns=TIMES), check_exact=True)
    pd.testing.assert_frame_equal(one.predictions, two.predictions, check_exact=True)
    assert one.failures["broken"].error == two.failures["broken"].error


def test_no_model_meets_a_test_polymer_in_training(tmp_path: Path) -> None:
    # Every polymer is written in two frames, and the rows are not merged: only grouping by key keeps them together.
    texts = [text for n in range(1, 9) for text in (f"*O{'C' * n}S*", f"*{'C' * n}SO*")]
    frame = pd.DataFrame({"psmiles": texts, "Tg": np.arange(len(texts), dtype=float)})
    path = write_csv(tmp_path / "tg.csv", frame)
    table = read_table(path, [Property(name="Tg", unit="K")], merge_duplicates=False)
    assert (len(table), len(set(table.keys))) == (16, 8)
    results = run(table, tmp_path / "out", Compared(key="memoriser"), ratios=())
    assert results.failures == {}
    # The same model on a split by rows is caught, so the check above can fail.
    rows = Memoriser().fit(texts[::2], table.y[::2])
    with pytest.raises(AssertionError, match="trained on a test polymer"):
        rows.predict(texts[1::2])


def test_history_and_intervals_are_kept(table: PolymerTable, tmp_path: Path) -> None:
    results = run(table, tmp_path / "out", STUB)
    frame, record = read_fold(tmp_path / "out" / "folds" / "stub-r0-f2.parquet")
    assert record.history[1] == {"epoch": 1, "train_loss": 0.5}
    wide = frame.dropna(subset=["y_true"])
    by_property = [r2_score(part["y_true"], part["y_pred"]) for _, part in wide.groupby("property")]
    assert record.test_score == pytest.approx(np.mean(by_property))
    assert record.train_score is not None
    assert record.train_score != record.test_score
    measured = results.predictions[results.predictions["property"] == "O2"]
    assert (measured["lower"] < measured["y_pred"]).all()
    assert (frame["std"] == 0.5).all()


def test_a_random_state_of_the_user_is_kept(table: PolymerTable, tmp_path: Path) -> None:
    results = run(table, tmp_path / "out", Compared(key="stub", params={"random_state": 0}))
    assert set(results.frame["seed"]) == {0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["rmsd"]}, "unknown metric of a regression 'rmsd'"),
        ({"ratios": ["O2/CO2"]}, "unknown property 'CO2'"),
        ({"protocol": "hasty"}, "unknown protocol 'hasty'"),
        ({"jobs": 0}, "at least 1"),
        ({"split": SplitSpec(folds=25)}, "25 folds need at least 25"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    table: PolymerTable, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(table, tmp_path / "out", STUB, **options)
    assert not (tmp_path / "out").exists()


def test_wrong_models_are_refused(table: PolymerTable, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'stub'"):
        run(table, tmp_path / "out", Compared(key="stubb"))
    with pytest.raises(UserError, match="two models are called 'stub'"):
        run(table, tmp_path / "out", STUB, Compared(key="stub", params={"noise": 1.0}))
    with pytest.raises(UserError, match="no model to compare"):
        run(table, tmp_path / "out")


def test_a_constant_target_and_a_fold_without_values_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"psmiles": polymers(12), "Tg": 300.0, "Tm": [400.0, 410.0, *[np.nan] * 10]})
    path = write_csv(tmp_path / "tg.csv", frame)
    with pytest.raises(UserError, match="'Tg' is constant"):
        run(read_table(path, [Property(name="Tg")]), tmp_path / "out", STUB, ratios=())
    frame["Tg"] = np.arange(12.0)
    sparse = read_table(write_csv(path, frame), [Property(name="Tg"), Property(name="Tm")])
    with pytest.raises(UserError, match="part has no value of 'Tm'"):
        run(sparse, tmp_path / "out", STUB, ratios=())
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_refused(table: PolymerTable, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        run(table, tmp_path / "out", STUB)


def test_a_calibration_names_the_property_that_has_too_few_values(tmp_path: Path) -> None:
    texts = [f"*{'C' * n}{end}*" for n in range(2, 14) for end in ("O", "S")]
    values = np.arange(24.0)
    frame = pd.DataFrame({"psmiles": texts, "gap": values, "seldom": np.where(values % 3 == 0, values, np.nan)})
    frame.to_csv(tmp_path / "few.csv", index=False)
    data = read_table(tmp_path / "few.csv", [Property(name="gap"), Property(name="seldom")])
    specs = [Compared("mean"), Compared("conformal", params={"base": "mean"})]
    results = compare(data, specs, SPLIT, tmp_path / "out", jobs=1)
    assert results.failures["conformal"].error.startswith("seldom: ")
    assert "values to calibrate a 90 % interval on" in results.failures["conformal"].error
