"""What is written replaces what polyml wrote before, and nothing else."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from polyml.data.files import check_replaceable, replaced_folder, whole_file
from polyml.data.writers import check_replaceable_table
from polyml.errors import UserError


def test_what_somebody_else_put_into_a_replaced_folder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "notes.txt").write_text("mine")
    (folder / "data.csv").write_text("mine")
    (folder / "old.json").write_text("old")
    with replaced_folder(folder, "a model", ("model.json", "old.json")) as new:
        (new / "model.json").write_text("new")
    assert sorted(path.name for path in folder.iterdir()) == ["data.csv", "mine", "model.json"]
    assert (folder / "mine" / "notes.txt").read_text() == (folder / "data.csv").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_cannot_be_written_keeps_everything(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old.json").write_text("old")
    with pytest.raises(UserError, match="cannot write a model"), replaced_folder(folder, "a model", ("old.json",)):
        raise OSError("no space left on device")
    assert (folder / "old.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (PermissionError(errno.EACCES, "Permission denied"), "that you may write to"),
        (OSError(errno.EROFS, "Read-only file system"), "that you may write to"),
    ],
)
def test_what_to_do_fits_what_went_wrong(tmp_path: Path, error: OSError, remedy: str) -> None:
    with pytest.raises(UserError, match=remedy), whole_file(tmp_path / "a.csv"):
        raise error
    assert not list(tmp_path.iterdir())


def test_a_link_is_followed_and_the_folder_in_which_one_works_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    (real / "notes.txt").write_text("mine")
    link.symlink_to(real)
    with replaced_folder(link, "a model", ("model.json",)) as new:
        (new / "model.json").write_text("new")
    assert link.is_symlink()
    assert sorted(path.name for path in real.iterdir()) == ["model.json", "notes.txt"]
    monkeypatch.chdir(real)
    with pytest.raises(UserError, match="in which you work"), replaced_folder(Path(), "a model", ()) as new:
        (new / "model.json").write_text("newer")
    assert (real / "model.json").read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [link, real]


def test_what_a_killed_process_was_writing_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".scores.csv.a1b2_c3d.csv").touch()
    check_replaceable(tmp_path, "mark", "a thing")
    (tmp_path / ".hidden").touch()
    with pytest.raises(UserError, match="something else"):
        check_replaceable(tmp_path, "mark", "a thing")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "none", "mark", "a thing")
    check_replaceable(tmp_path, "mark", "a thing")
    (tmp_path / "n12").mkdir()
    check_replaceable(tmp_path, "mark", "a thing", begun=r"n\d+")
    with pytest.raises(UserError, match="something else than a thing"):
        check_replaceable(tmp_path, "mark", "a thing")
    (tmp_path / "mark").touch()
    check_replaceable(tmp_path, "mark", "a thing")


@pytest.mark.parametrize("text", ["psmiles,Tg\n*CC*,300\n", "", "no table \x00"])
def test_a_table_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "out.csv"
    check_replaceable_table(path, ("line", "error"), "predictions")
    path.write_text("line,error,x\n1,,2\n")
    check_replaceable_table(path, ("line", "error"), "predictions")
    path.write_text(text)
    with pytest.raises(UserError, match="something else than predictions"):
        check_replaceable_table(path, ("line", "error"), "predictions")
    broken = tmp_path / "out.parquet"
    broken.write_text(text)
    with pytest.raises(UserError, match="something else than predictions"):
        check_replaceable_table(broken, ("line", "error"), "predictions")
