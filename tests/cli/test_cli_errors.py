"""Bad input: exit code 2, no traceback, a message that names the thing, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from polyml.cli.failures import explain
from polyml.cli.main import app
from polyml.errors import PolymlError, UserError

GOOD = "psmiles,Tg\n*CC*,200\n*CC(C)*,260\n*CC(c1ccccc1)*,373\n*CCO*,206\n*CC(C#N)*,370\n*CC(Cl)*,354\n"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def compare(content: str | bytes, *extra: str, target: str = "Tg") -> Result:
    Path("in.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return run("compare", "in.csv", "--target", target, "--models", "mean", "--no-track", "-o", "out", *extra)


def check(result: Result, *words: str) -> None:
    text = " ".join(result.output.split())
    assert result.exit_code == 2, text
    assert "Traceback" not in text
    for word in words:
        assert word in text


@pytest.mark.usefixtures("workdir")
class TestBadFiles:
    def test_missing_file(self) -> None:
        check(run("compare", "nowhere.csv", "--target", "Tg", "-o", "out"), "nowhere.csv")

    def test_folder_for_a_file(self) -> None:
        Path("in").mkdir()
        check(run("compare", "in", "--target", "Tg", "-o", "out"), "folder")

    def test_empty_file(self) -> None:
        check(compare(""), "in.csv", "empty")

    def test_header_only(self) -> None:
        check(compare("psmiles,Tg\n"), "no rows")

    def test_missing_column_lists_the_columns(self) -> None:
        check(compare(GOOD, target="Tgg"), "Tgg", "did you mean 'Tg'", "psmiles")
        assert not Path("out").exists()

    def test_no_smiles_column(self) -> None:
        check(compare("name,Tg\nPE,200\n"), "SMILES", "--smiles-column")

    def test_text_in_every_number(self) -> None:
        check(compare("psmiles,Tg\n*CC*,high\n*CCO*,low\n"), "not a number", "line 2")

    def test_labels_for_numbers(self) -> None:
        check(compare("psmiles,kind\n*CC*,soft\n*CCO*,hard\n", target="kind"), "holds classes", "--class kind")
        assert "--class" not in compare("psmiles,Tg\n*CC*,195 K\n*CCO*,206 K\n").output

    def test_negative_permeability_under_log10(self) -> None:
        check(compare("psmiles,Tg\n*CC*,-1\n*CCO*,-2\n", "--log10", "Tg"), "not positive", "-1")

    def test_no_structure_is_usable(self) -> None:
        check(compare("psmiles,Tg\nC1CC,1\nCC,2\n*CC,3\n*C(*)*,4\n"), "no row is usable")

    def test_very_long_line(self) -> None:
        check(compare("psmiles,Tg\n*" + "C" * 100_000 + "*,1\n"), "no row is usable")

    def test_not_utf8(self) -> None:
        check(compare(GOOD.encode() + b"*C\xff\xfeC*,1\n"), "UTF-8", "line 8")

    def test_duplicate_columns(self) -> None:
        check(compare("psmiles,Tg,Tg\n*CC*,1,2\n*CCO*,1,2\n"), "Tg")

    def test_constant_target(self) -> None:
        check(compare("psmiles,Tg\n*CC*,5\n*CCO*,5\n*CCN*,5\n"), "constant", "'Tg'")

    def test_fewer_rows_than_folds(self) -> None:
        check(compare(GOOD, "--folds", "10"), "10 folds")

    def test_one_fold(self) -> None:
        check(compare(GOOD, "--folds", "1"), "--folds")

    def test_unknown_split(self) -> None:
        check(compare(GOOD, "--split", "random"), "--split", "scaffold")

    def test_unknown_model_names_the_nearest(self) -> None:
        Path("in.csv").write_text(GOOD)
        check(run("compare", "in.csv", "-t", "Tg", "--models", "lightgmb", "-o", "out"), "did you mean 'lightgbm'")

    def test_unknown_parameter(self) -> None:
        Path("in.csv").write_text(GOOD)
        arguments = ("train", "in.csv", "-t", "Tg", "-m", "extra_trees", "--param", "n_estimator=3", "-o", "out")
        check(run(*arguments), "did you mean 'n_estimators'")

    def test_impossible_value_of_a_parameter(self) -> None:
        Path("in.csv").write_text(GOOD)
        arguments = ("train", "in.csv", "-t", "Tg", "-m", "svm", "--param", "C=abc", "--no-track", "-o", "out")
        check(run(*arguments), "C must be a number, got 'abc'", "polyml models svm")
        assert not Path("out").exists()

    def test_numbers_with_their_unit_in_the_cell(self) -> None:
        check(compare("psmiles,Tg\n*CC*,195 K\n*CCO*,206 K\n*CC(C)*,260\n"), "1 usable", "line 2", "'195 K'")

    def test_a_repeat_unit_for_a_file(self) -> None:
        check(run("predict", "model", "*CC(*)C(=O)OC", "-o", "out.csv"), "model")
        Path("in.csv").write_text(GOOD)
        run("train", "in.csv", "-t", "Tg", "-m", "mean", "--no-calibrate", "--no-track", "-o", "model")
        check(run("predict", "model", "*CC(*)C(=O)OC", "-o", "out.csv"), "standard input")

    def test_output_over_the_input(self) -> None:
        Path("in.csv").write_text(GOOD)
        run("train", "in.csv", "-t", "Tg", "-m", "mean", "--no-calibrate", "--no-track", "-o", "model")
        check(run("predict", "model", "in.csv", "-o", "in.csv"), "input file")
        check(run("featurize", "in.csv", "-o", "./in.csv"), "input file")
        assert Path("in.csv").read_text() == GOOD

    def test_a_file_for_the_output_folder(self) -> None:
        Path("out").write_text("mine")
        check(compare(GOOD, "--folds", "2"), "folder is needed")
        assert Path("out").read_text() == "mine"

    def test_option_for_no_target(self) -> None:
        check(compare(GOOD, "--log10", "Tb"), "--log10", "Tb")

    def test_no_target(self) -> None:
        Path("in.csv").write_text(GOOD)
        check(run("compare", "in.csv", "-o", "out"), "--target")

    def test_unknown_model_to_predict_with(self) -> None:
        Path("in.csv").write_text(GOOD)
        check(run("predict", "nomodel", "in.csv", "-o", "out.csv"), "nomodel")
        assert not Path("out.csv").exists()

    def test_wrong_kind_of_output(self) -> None:
        Path("in.csv").write_text(GOOD)
        check(run("featurize", "in.csv", "-o", "out.xlsx"), ".parquet")

    def test_too_few_polymers_to_calibrate_on(self) -> None:
        Path("in.csv").write_text(GOOD)
        result = run("train", "in.csv", "-t", "Tg", "-m", "mean", "-o", "out")
        check(result, "Tg: ", "values to calibrate a 90 % interval on", "at least 9", "--no-calibrate")
        assert not Path("out").exists()
        assert not Path("mlruns").exists()

    def test_register_without_tracking(self) -> None:
        Path("in.csv").write_text(GOOD)
        arguments = ("train", "in.csv", "-t", "Tg", "-m", "mean", "--no-track", "--register", "x", "-o", "out")
        check(run(*arguments), "tracking is off")
        assert not Path("out").exists()


@pytest.mark.usefixtures("workdir")
def test_harmless_oddities_are_read() -> None:
    """Windows line ends, a byte order mark and one bad row among good ones."""
    text = "\ufeff" + GOOD.replace("\n", "\r\n") + "*C,9\r\n"
    result = compare(text, "--folds", "2", "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert "attachment point" in Path("out/rejects.csv").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
@pytest.mark.usefixtures("workdir")
def test_read_only_folder() -> None:
    Path("locked").mkdir(mode=0o555)
    Path("in.csv").write_text(GOOD)
    result = run("compare", "in.csv", "-t", "Tg", "--models", "mean", "--no-track", "-o", "locked/out")
    check(result, "locked")


@pytest.mark.usefixtures("workdir")
def test_a_file_where_the_folder_should_be() -> None:
    Path("out").write_text("mine")
    check(compare(GOOD, "--folds", "2", "--jobs", "1"), "out")
    assert Path("out").read_text() == "mine"


class TestExplain:
    def test_ctrl_c_ends_with_130_and_promises_no_more_than_was_kept(self) -> None:
        failure = explain(KeyboardInterrupt())
        assert failure is not None
        assert failure.code == 130
        assert "stopped" in failure.lines[0]
        assert "kept" not in failure.lines[0]
        said = explain(KeyboardInterrupt("3 folds are kept; give the same command again"))
        assert said is not None
        assert "3 folds are kept" in said.lines[0]

    @pytest.mark.parametrize(
        ("error", "code", "word"),
        [
            (UserError("bad", where="here", fix="mend"), 2, "mend"),
            (PolymlError("inner"), 1, "inner"),
            (OSError(28, "No space left", "big.csv"), 2, "big.csv: the disk is full"),
            (OSError(30, "Read-only", "big.csv"), 2, "read-only"),
            (ZeroDivisionError("odd"), 1, "--debug"),
        ],
    )
    def test_messages_and_codes(self, error: Exception, code: int, word: str) -> None:
        failure = explain(error)
        assert failure is not None
        assert failure.code == code
        assert word in " ".join(failure.lines)

    def test_markup_in_a_message_is_shown_as_written(self) -> None:
        failure = explain(UserError("[1*]CC[2*] is odd"))
        assert failure is not None
        assert r"\[1*]" in failure.lines[0] or "[1*]" in failure.lines[0]


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("screen.constraints=[O3 > 1]", ["constraint 1", "O3", "did you mean"]),
        ("compare.ratios=[[O2, Xe]]", ["ratio O2/Xe", "Xe"]),
        ("screen.candidates=nowhere.csv", ["nowhere.csv"]),
        ("train.params.feature=ecfp", ["did you mean 'features'"]),
        ("featurize.features=[nope]", ["nope", "ecfp_count"]),
        ("screen.prefilter=[]", ["go together"]),
        ("train.model=winer", ["train.model", "did you mean 'winner'?"]),
        ("split.kind=kfld", ["--set split.kind=kfld", "did you mean 'kfold'? known: kfold, repeated_kfold"]),
        ("split.folds=1", ["split.folds", "out of range (got 1)", "give a number of at least 2"]),
        ("split.folds=many", ["not a whole number (got 'many')", "write a whole number"]),
        ("compare.rope=2", ["compare.rope", "give a number below 1"]),
        ("train.calibrate=perhaps", ["not true or false", "write true or false"]),
        ("compare.models=[]", ["compare.models", "give at least 1"]),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_runs(override: str, words: list[str]) -> None:
    check(run("run", "gas_membranes", "--set", override, "--set", "tracking.enabled=false"), *words)
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize(
    "option",
    [("--folds", "1"), ("--seed", "-1"), ("--repeats", "0"), ("--jobs", "0"), ("--split", "random"), ("--unit", "K")],
)
def test_values_of_options_that_do_not_fit(option: tuple[str, str]) -> None:
    check(compare(GOOD, *option), option[0])
    assert not Path("out").exists()


@pytest.mark.usefixtures("workdir")
def test_options_of_a_split_are_called_by_their_names() -> None:
    check(compare(GOOD, "--split", "time"), "--split-column")
    check(compare(GOOD, "--split", "folds.csv", "--split-digest", "01"), "--split-digest", "at least 8 characters")
    check(compare(GOOD, "--split", "folds.csv"), "folds.csv: there is no such file of folds", "splits.csv")
    check(compare(GOOD, "--split", "time"), "error: a split of kind time needs --split-column: the column")
    check(compare(GOOD, "--split-column", "year"), "error: --split-column is for a split of kind leave_one_group_out")
    check(compare(GOOD, "--split-digest", "0123abcd"), "error: --split-digest is for a split of kind fixed, not kfold")


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("kind", ["leave_one_cluster_out", "extrapolation", "rows", "folds.csv"])
def test_a_split_without_repeats_says_how_to_mend_it(kind: str) -> None:
    Path("folds.csv").write_text("psmiles,fold\n*CC*,0\n")
    result = compare(GOOD, "--split", kind, "--repeats", "2")
    check(result, ": leave --repeats out")
    assert "repeated_kfold" not in result.output


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("kind", ["group", "fixed"])
def test_an_unknown_split_is_told_what_can_be_asked_for(kind: str) -> None:
    result = compare(GOOD, "--split", kind)
    check(result, f"--split: '{kind}' is no kind of split", "leave_one_group_out, time", "or name a splits.csv")
    assert "fixed, rows" not in " ".join(result.output.split())


@pytest.mark.usefixtures("workdir")
def test_a_model_that_fails_ends_with_an_error_once_all_is_written() -> None:
    result = compare(GOOD, "--models", "mean,conformal", "--folds", "2")  # three polymers to calibrate on
    text = " ".join(result.output.split())
    assert result.exit_code == 1, text
    assert "1 of 2 models failed: conformal:" in text
    assert "to calibrate a 90 % interval on" in text
    assert Path("out/leaderboard.csv").is_file()
    assert Path("out/errors/conformal.txt").is_file()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs limits of POSIX")
@pytest.mark.parametrize("name", ["gas.csv", "gas.parquet"])
def test_a_disk_that_takes_no_more_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"import sys\nsys.argv = ['polyml', 'data', 'gas_permeability', '-o', {str(tmp_path / name)!r}]\n"
        "from polyml.cli.main import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_python_m_polyml_and_no_arguments_print_the_help() -> None:
    for arguments in ([], ["--help"]):
        done = subprocess.run([sys.executable, "-m", "polyml", *arguments], capture_output=True, text=True, check=False)
        assert "canonicalize" in done.stdout
        assert "Traceback" not in done.stderr


def test_a_warning_of_polyml_is_a_note_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    import polyml.config
    from polyml.cli.main import show_warning

    others: list[str] = []
    show = show_warning(lambda message, *args, **kwargs: others.append(str(message)))
    show(UserWarning("xgboost [extra] is left out"), UserWarning, polyml.config.__file__, 1)
    show(UserWarning("of a library"), UserWarning, warnings.__file__, 1)
    assert capsys.readouterr().err == "note: xgboost [extra] is left out\n"
    assert others == ["of a library"]


@pytest.mark.usefixtures("workdir")
def test_a_parameter_of_some_models_alone_and_a_split_nearly_right() -> None:
    for_all = compare(GOOD, "--models", "mean,ridge", "--param", "alpha=1")
    check(for_all, "'alpha' is not one of mean", "every model named")
    check(compare(GOOD, "--split", "clusters"), "did you mean 'cluster'?")
