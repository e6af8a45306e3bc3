from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from polyml import __version__
from polyml.cli.main import app
from polyml.data.catalog import suite_folder

VERBS = sorted(get_command(app).commands)  # type: ignore[attr-defined]
HEAVY = (
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "rdkit",
    "scipy",
    "sklearn",
    "torch",
    "lightning",
    "mlflow",
    "plotly",
)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from polyml.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.rpartition("LOADED")[2].split()
    assert "typer" in loaded
    assert not set(HEAVY) & set(loaded)


def test_all_verbs_are_there() -> None:
    assert {
        "run", "compare", "tune", "train", "predict", "screen", "canonicalize", "data", "featurize", "explore",
        "models", "ui", "learning-curve", "pretrain", "benchmark", "audit", "candidates",
    } == set(VERBS)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert f"polyml {verb}" in result.output.partition("Examples")[2]


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_whole_on_a_narrow_terminal(verb: str) -> None:
    """Names that are cut cannot be typed: no option, choice or default ends in an ellipsis at 80 columns."""
    text = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "80"}).output
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    words = set(text.replace("│", " ").split())
    command = get_command(app).commands[verb]  # type: ignore[attr-defined]
    assert {name for option in command.params for name in option.opts if name.startswith("-")} <= words


def test_help_of_benchmark_names_the_suites_that_come_with_polyml() -> None:
    suites = sorted(path.stem for path in suite_folder().glob("*.yaml"))
    text = CliRunner().invoke(app, ["benchmark", "--help"]).output
    assert f"{', '.join(suites[:-1])} or {suites[-1]}." in " ".join(text.replace("│", " ").split())


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.output.strip() == f"polyml {__version__}"


@pytest.mark.parametrize("arguments", [["comapre"], ["compare"], ["compare", "x.csv", "--bogus"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
