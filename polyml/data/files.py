"""Write files and folders whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from polyml.errors import UserError

_TEMPORARY = r"\..+\.[a-z0-9_]{8}(\.\w+)?"  # what whole_file writes to, and leaves where its process is killed


@contextmanager
def whole_file(path: Path | str, *, durable: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and move it into place when the block ends well.

    Parameters
    ----------
    path : Path or str
        The final file. Its folder is made when missing.
    durable : bool
        Wait until the content is on the disk before the file gets its name, so that not even a power cut leaves a file
        of this name that is not whole.

    Raises
    ------
    UserError
        The folder cannot be made or the disk is full or read-only; nothing is left half-written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes files private; a result is as readable as any other file of the user.
        temporary.chmod(0o666 & ~_umask())
        if durable:
            _flush(temporary)
        temporary.replace(path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        raise cannot_write(error, path) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def cannot_write(error: OSError, path: Path) -> UserError:
    """Build the error for a file or folder that cannot be written."""
    return UserError(f"cannot write: {error.strerror or error}", where=str(path), fix=_remedy(error))


def _remedy(error: OSError) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file stands where a folder is needed: choose another output folder"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return "choose an output folder that you may write to"
    if isinstance(error, FileNotFoundError):
        return "choose another output folder"
    return "free some space, or choose another output folder"


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    with suppress(PermissionError):  # Windows lets nobody open a folder, and keeps names safe by itself
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all; what JSON does not know is written as its text."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n", encoding="utf-8")


def check_replaceable(folder: Path, mark: str, what: str, *, begun: str = "", whole: bool = False) -> None:
    """Refuse to write over a folder that holds something else.

    Parameters
    ----------
    folder : Path
    mark : str
        The file that a folder of this kind always has.
    what : str
        What such a folder holds, for the message.
    begun : str
        Regular expression of names that may stand in a folder of this kind before it has the mark.
    whole : bool
        Whether the folder itself is to be replaced (:func:`replaced_folder`), not files in it.

    Raises
    ------
    UserError
        It is a file, or it is not empty and has no such file; or the folder itself cannot be replaced.
    """
    if whole:
        _refuse_working_folder(folder)
    if not folder.exists() or (folder / mark).is_file():
        return
    if folder.is_file():
        raise UserError("a file stands where a folder is needed", where=str(folder), fix="name another folder")
    allowed = rf"{begun or '(?!)'}|{_TEMPORARY}"
    if any(not re.fullmatch(allowed, item.name) for item in folder.iterdir()):
        raise UserError(
            f"here is something else than {what}", where=str(folder), fix="name another folder, or empty this one"
        )


@contextmanager
def replaced_folder(folder: Path, what: str, own: Collection[str]) -> Iterator[Path]:
    """Give a new folder to write into, and put it in the place of ``folder`` when all went well.

    A reader sees the old folder or the new one, never half of it. What somebody else has put into the old folder stays.

    Parameters
    ----------
    folder : Path
    what : str
        What it holds, for the message.
    own : collection of str
        Names of the files and folders in it that are replaced.

    Raises
    ------
    UserError
        It cannot be written; the old one is kept.
    """
    folder = folder.resolve()  # what a link names is replaced, not the link
    _refuse_working_folder(folder)
    new = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.new")
    old = new.with_suffix(".old")
    try:
        new.mkdir(parents=True)
        yield new
        if folder.exists():
            folder.replace(old)
        new.replace(folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.replace(folder)
        told = f"cannot write {what}: {error.strerror or error}"
        raise UserError(told, where=str(folder), fix=_remedy(error)) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _give_back(old, folder, own, what)


def _refuse_working_folder(folder: Path) -> None:
    if Path.cwd().is_relative_to(folder.resolve()):
        fix = "name a folder inside of it with -o"
        raise UserError("the folder in which you work cannot be replaced", where=str(folder), fix=fix)


def _foreign(folder: Path, own: Collection[str]) -> list[Path]:
    return [item for item in folder.iterdir() if item.name not in own] if folder.is_dir() else []


def _give_back(old: Path, folder: Path, own: Collection[str], what: str) -> None:
    """Bring what is not of polyml from the replaced folder into the new one, and remove the rest."""
    try:
        for item in _foreign(old, own):
            if not (folder / item.name).exists():
                item.replace(folder / item.name)
    except OSError as error:
        raise UserError(
            f"{what} is written, but your own files could not be moved to it: {error.strerror or error}",
            where=str(folder),
            fix=f"they are in {old}: move them yourself",
        ) from error
    if not _foreign(old, own):
        shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_file(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
