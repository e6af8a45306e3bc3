"""The files that a user means: one file, a folder, a pattern, a list of these, or the name of an embedded set."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from polyml.data.catalog import EMBEDDED, data_path
from polyml.data.files import sha256_file
from polyml.data.places import DataFile, data_file, url_of
from polyml.data.stores import StoreFile
from polyml.data.streams import COMPRESSIONS, FORMATS, PARQUET_ENDINGS, text_format
from polyml.errors import UserError

Source = str | Path | Sequence[str | Path]
_NO_DATA = frozenset({"readme", "license", "licence", "changelog"})
"""Names that are texts about data, whatever their ending."""


class SourceFile(NamedTuple):
    """One file of a source, and its name as the user would write it."""

    path: DataFile
    name: str


def candidate_files(source: Source) -> list[DataFile]:
    """Return the files of a source, in the order in which their rows are read.

    Parameters
    ----------
    source : str, Path, or list or tuple of these
        A file; a folder, for all data files below it, apart from those that are hidden, whose names start with ``_`` or
        that are called README, LICENSE or CHANGELOG; a pattern such as ``parts/*.parquet`` or ``parts/**/*.csv``; a URL
        of any of these, ``s3://bucket/parts/*.parquet`` say; the name of an embedded set; ``-`` for standard input.
        The files of a folder or pattern are sorted by path, those of a list come as it has them.

    Raises
    ------
    UserError
        A file is missing, a folder holds no data file, no file matches a pattern, or a file comes twice.

    Examples
    --------
    >>> [path.name for path in candidate_files("candidates")]
    ['candidates.parquet']
    """
    return [file.path for file in source_files(source)]


def source_files(source: Source) -> list[SourceFile]:
    """Return the files of a source with their names: relative to a folder or the fixed part of a pattern.

    In a list, where such names could be the same, they are the paths as the user would write them.

    Raises
    ------
    UserError
        See :func:`candidate_files`.
    """
    if isinstance(source, str | Path):
        found = _expand(source)
    else:
        found = [SourceFile(path, _readable(path.as_posix())) for item in source for path, _ in _expand(item)]
        if not found:
            raise UserError("no file is named", where="the list of files", fix="name at least one file")
    _check_twice(found)
    return found


def file_digests(files: Sequence[DataFile]) -> list[str]:
    """Return what tells each file from another: the digest of its content.

    A stream is known by its name alone, and a file under a URL by that, its size and its time: nothing is fetched.
    """
    return [_digest(path) for path in files]


def _digest(path: DataFile) -> str:
    if isinstance(path, Path):
        return sha256_file(path) if path.is_file() else f"stream {path}"
    found = path.stat()
    return f"{path}, {found.st_size} bytes, time {found.st_mtime:.0f}"


def is_parquet(path: DataFile) -> bool:
    """Return whether a file is Parquet by its name."""
    return path.suffix.lower() in PARQUET_ENDINGS


def is_data(path: DataFile) -> bool:
    """Return whether a name ends as that of a data file."""
    return is_parquet(path) or text_format(path) is not None


def _expand(source: str | Path) -> list[SourceFile]:
    """Return the files, with their names relative to a folder or the fixed part of a pattern."""
    try:
        return _expanded(source)
    except OSError as error:
        fix = "give the path of a file, a folder, a pattern, a URL, or the name of an embedded set"
        raise UserError(f"this is no path: {error.strerror}", where=f"{str(source)[:60]}...", fix=fix) from error


def _expanded(source: str | Path) -> list[SourceFile]:
    if url_of(source) is not None:
        place = data_file(source)
        if isinstance(place, StoreFile):
            return _stored(place)
        source = place
    path, text = Path(source), str(source)
    if path.is_dir() and text not in EMBEDDED:
        files = sorted(_below(path), key=Path.as_posix)
        found = [SourceFile(file, _relative(file, path)) for file in files]
        _check_folder(found, text)
        return found
    if any(sign in text for sign in "*?[") and not path.exists():
        root, files = _matches(text)
        return [SourceFile(file, _relative(file, root)) for file in files]
    file = data_path(source)
    return [SourceFile(file, _readable(file.name))]


def _stored(place: StoreFile) -> list[SourceFile]:
    """Return the files of a folder or pattern under a URL, or the file itself."""
    fixed, options, rest = _split_pattern(place.url)
    place = place.asked()
    if rest and not place.is_file():
        asked = any(part.startswith("_") for part in rest.split("/"))
        found = [SourceFile(*file) for file in StoreFile(fixed + options).below(rest)]
        found = [file for file in found if asked or not _is_hidden(file.name)]
        if not found:
            raise UserError("no file matches the pattern", where=str(place), fix="check the folder")
        _check_known([file.path for file in found], str(place))
        return found
    if place.is_file():
        return [SourceFile(place, place.name)]
    if not place.is_dir():
        raise UserError("there is no such file or folder", where=str(place), fix="check the URL")
    found = [SourceFile(*file) for file in place.below()]
    found = [file for file in found if is_data(file.path) and not _is_hidden(file.name) and not _is_text(file.path)]
    _check_folder(found, str(place))
    return found


def _split_pattern(url: str) -> tuple[str, str, str]:
    """Return the fixed folder of a pattern, the options of the URL with their question mark, and the pattern.

    Examples
    --------
    >>> _split_pattern("s3://bucket/parts/*/a.csv?region=here")
    ('s3://bucket/parts', '?region=here', '*/a.csv')
    """
    text, mark, options = url.partition("?")
    parts = text.split("/")
    signs = [at for at, part in enumerate(parts) if at > 2 and any(sign in part for sign in "*[")]
    first = signs[0] if signs else len(parts)
    return "/".join(parts[:first]), mark + options, "/".join(parts[first:])


def _is_hidden(name: str) -> bool:
    """Return whether a file, or a folder that it is in, is hidden or set aside, by its name relative to the source."""
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _is_text(path: DataFile) -> bool:
    """Return whether a file is a text about data."""
    return path.name.partition(".")[0].lower() in _NO_DATA


def _below(folder: Path) -> Iterator[Path]:
    """Find the data files below a folder; links to folders are followed, each folder once."""
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        fix = "check its permissions"
        raise UserError(f"the folder cannot be read: {error.strerror}", where=str(error.filename), fix=fix) from error

    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        place = os.path.realpath(root)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in names:
            path = Path(root, name)
            if not _is_hidden(name) and not _is_text(path) and is_data(path):
                yield path


def _matches(pattern: str) -> tuple[Path, list[Path]]:
    # Path.glob gives hidden files too, and takes no absolute pattern.
    files = sorted({Path(name) for name in glob.glob(pattern, recursive=True)}, key=Path.as_posix)  # noqa: PTH207
    fixed = Path(pattern).parts[:-1]
    signs = [at for at, part in enumerate(fixed) if any(sign in part for sign in "*?[")]
    root = Path(*fixed[: signs[0]] if signs else fixed)
    asked = any(part.startswith("_") for part in Path(_relative(Path(pattern), root)).parts)
    files = [path for path in files if not path.is_dir() and (asked or not _set_aside(path, root))]
    if not files:
        if "/" in pattern and is_data(Path(pattern)):
            raise UserError("no file matches the pattern", where=pattern, fix="check the folder")
        fix = f"check the folder; a single repeat unit goes in by standard input: echo '{pattern}' | polyml VERB ... -"
        raise UserError("this is a repeat unit, or a pattern that no file matches", where=pattern, fix=fix)
    _check_known([path for path in files if path.is_file()], pattern)
    return root, files


def _check_known(files: Sequence[DataFile], pattern: str) -> None:
    unknown = [path for path in files if not is_data(path)]
    if unknown:
        fix = f"write a narrower pattern, as '*.csv'; polyml reads {FORMATS}"
        raise UserError(f"the pattern matches a file of unknown format: {unknown[0]}", where=pattern, fix=fix)


def _set_aside(path: Path, root: Path) -> bool:
    return any(part.startswith("_") for part in Path(_relative(path, root)).parts)


def _relative(path: Path, root: Path) -> str:
    return _readable(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix())


def _readable(name: str) -> str:
    """Return a name as text that can be written: on a disk it may be any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _check_twice(files: list[SourceFile]) -> None:
    seen: dict[str, DataFile] = {}
    for path, _ in files:
        place = os.path.realpath(path) if isinstance(path, Path) and str(path) != "-" else str(path)
        if place in seen:
            what = "the same file comes twice"
            also = f"it is also {seen[place]}" if seen[place] != path else "it is named twice"
            raise UserError(what, where=str(path), fix=f"{also}; leave one out")
        seen[place] = path


def _check_folder(files: list[SourceFile], folder: str) -> None:
    """Refuse a folder without data, or with a file and the same file compressed: its rows would come twice."""
    if not files:
        fix = f"give a folder with data files; polyml reads {FORMATS}"
        raise UserError("the folder holds no data file", where=folder, fix=fix)
    known = {file.name for file in files}
    for path, name in files:
        plain = name.removesuffix(path.suffix)
        if path.suffix.lower() in COMPRESSIONS and plain in known:
            fix = f"remove one of them, or name the files that are meant; {path.name} may be another copy"
            what = f"{plain.rpartition('/')[2]} is here both plain and compressed"
            raise UserError(what, where=str(path), fix=fix)
