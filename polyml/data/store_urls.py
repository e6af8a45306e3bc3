"""What a URL means: the file system of a store, through pyarrow or fsspec, and the path in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote

from polyml.errors import UserError

_GOOGLE_RETRIES = 20  # seconds
_OF_PYARROW = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")


@dataclass(frozen=True)
class Stored:
    """Something in a store; nothing is asked of the store before it is used.

    Attributes
    ----------
    url : str
        As it was given: a password, and options for reaching the store, may be in it.
    inside : str
        What is meant in the folder of this URL, as the store names it; empty for the URL itself.
    """

    url: str
    inside: str = ""

    @property
    def shown(self) -> str:
        """Its URL in messages and tables: without passwords and options."""
        return joined(_without_secrets(self.url), self.inside)

    def __str__(self) -> str:
        return self.shown

    @property
    def path(self) -> str:
        """Where it is, as the store has it."""
        return joined(_located(self.url)[1], self.inside)

    @property
    def system(self) -> Any:
        """The file system, as fsspec has it."""
        return _located(self.url)[0]


def joined(folder: str, inside: str) -> str:
    """Return a path or URL of something in a folder; of the folder itself where nothing is named."""
    return f"{folder.rstrip('/')}/{inside}" if folder and inside else folder or inside


@contextmanager
def told(what: str, url: str) -> Iterator[None]:
    """Say what a store refuses."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # every store has errors of its own
        first = (str(error).splitlines() or [type(error).__name__])[0]
        fix = "check the URL, the credentials, and what they allow"
        raise UserError(f"cannot {what}: {first}", where=url, fix=fix) from error


def _without_secrets(url: str) -> str:
    """Return a URL without its options, and without a user whose password is told.

    Examples
    --------
    >>> _without_secrets("s3://key:secret@bucket/run?region=here"), _without_secrets("abfs://box@account/run")
    ('s3://bucket/run', 'abfs://box@account/run')
    """
    scheme, mark, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    user, _, server = host.rpartition("@")
    return f"{scheme}{mark}{server if ':' in user else host}{slash}{path}"


@cache
def _located(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, as fsspec has it, and the path in it.

    What pyarrow reads has one file system for all URLs of a bucket, as each costs a client with its own connections.

    Raises
    ------
    UserError
        Neither pyarrow nor fsspec know such a URL, or the store cannot be reached.
    """
    with told("reach it", _without_secrets(url)):
        scheme, _, rest = url.partition("://")
        if scheme in _OF_PYARROW:
            rest, mark, options = rest.partition("?")
            host, _, path = rest.partition("/")
            if (
                scheme in ("gs", "gcs") and "retry_limit_seconds" not in options
            ):  # its own limit is a quarter of an hour
                mark, options = "?", "&".join(filter(None, (options, f"retry_limit_seconds={_GOOGLE_RETRIES}")))
            found = _of_pyarrow(f"{scheme}://{host}/{mark}{options}")
            if found is not None:
                system, base = found
                return system, joined(base, unquote(path).strip("/"))
        return _of_fsspec(url)


@cache
def _of_pyarrow(store: str) -> tuple[Any, str] | None:
    """Return the file system of a bucket, and the path of the bucket in it; None where this pyarrow has none."""
    import pyarrow as pa
    import pyarrow.fs
    from fsspec.implementations.arrow import ArrowFSWrapper

    try:
        system, path = pyarrow.fs.FileSystem.from_uri(store)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return ArrowFSWrapper(system), path


def _of_fsspec(url: str) -> tuple[Any, str]:
    import fsspec

    shown = _without_secrets(url)
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UserError(f"this URL needs more: {error}", where=shown, fix="install it with pip") from None
    except ValueError as error:
        fix = "name a folder or file, or a URL such as s3://bucket/run"
        raise UserError(f"nothing is known of such a URL: {error}", where=shown, fix=fix) from None
    return system, str(path)
