"""A trained predictor on disk: the model, what it predicts, what it learned from, and how it was judged.

A bundle is a folder: ``bundle.json`` (a :class:`~polyml.bundle_format.BundleFile`), ``training.parquet`` and
``model/``. Nothing in it is pickled, and every file is checked against its SHA-256 when the bundle is read.

Predictions are in user units. A property that is modelled as log10 comes back as the median (``10 ** mean``), the ends
of its interval are transformed, and its standard deviation stays in the modelled scale: 0.3 means a factor of two.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from polyml.bundle_format import (
    BundleFile,
    content_digest,
    file_digests,
    may_replace,
    read_content,
    replaced_folder,
    verify_files,
)
from polyml.chem import RepeatUnit, ensure_units
from polyml.data.properties import Property
from polyml.errors import PolymlError, RepeatUnitError, UserError
from polyml.models.base import PolymerModel, Prediction

if TYPE_CHECKING:
    import pandas as pd

    from polyml.data.readers import CandidateChunk

_PACKAGES = ("polyml-chem", "numpy", "rdkit", "scikit-learn", "torch", "lightgbm")
_SIMILARITY_FEATURES = "ecfp"
_BLOCK = 256  # polymers compared with the whole training set at once; bounds the memory
Parsed = list[tuple[int, RepeatUnit]]  # position in the input, and the unit
T = TypeVar("T")


@dataclass
class Bundle:
    """A trained model together with all that is needed to use it and to trust it.

    Attributes
    ----------
    model : PolymerModel
        Fitted, from the catalog.
    properties : tuple of Property
        What the model predicts, in the order of its columns.
    keys, psmiles : tuple of str
        Canonical key and text of the polymers it was trained on.
    values : ndarray of shape (n, t)
        Their measured properties in user units, NaN where not measured.
    data_digest : str
        Digest of the data set.
    seed : int
    scores : dict, optional
        The model's row of the leaderboard and the protocol behind it.
    versions : dict
        Versions of the packages that trained the model.
    digest : str
        Names the saved bundle by content; empty before it was saved.
    folder : Path, optional
        Where it was saved to or loaded from last.
    """

    model: PolymerModel
    properties: tuple[Property, ...]
    keys: tuple[str, ...]
    psmiles: tuple[str, ...]
    values: np.ndarray
    data_digest: str
    seed: int
    scores: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=lambda: package_versions())
    digest: str = ""
    folder: Path | None = None

    def __post_init__(self) -> None:
        self.properties, self.keys, self.psmiles = tuple(self.properties), tuple(self.keys), tuple(self.psmiles)
        self.values = np.asarray(self.values, dtype=float).reshape(len(self.keys), len(self.properties))

    @property
    def names(self) -> list[str]:
        """Names of the properties."""
        return [item.name for item in self.properties]

    def save(self, folder: str | Path) -> Path:
        """Write the bundle; a reader sees the old folder or the new one, never half of it.

        Raises
        ------
        UserError
            When the folder holds something that is not a bundle, or cannot be written.
        """
        folder = Path(folder)
        if folder.exists() and not may_replace(folder):
            raise UserError(
                "the folder is not empty and holds no bundle", where=str(folder), fix="name another folder, or empty it"
            )
        with replaced_folder(folder) as new:
            (new / "model").mkdir()
            self.model.save(new / "model")
            self._training_frame().to_parquet(new / "training.parquet", index=False)
            content = BundleFile(
                model=self.model.key,
                properties=list(self.properties),
                n_training=len(self.keys),
                data_digest=self.data_digest,
                seed=self.seed,
                versions=self.versions,
                scores=self.scores,
                files=file_digests(new),
            )
            (new / "bundle.json").write_text(content.model_dump_json(indent=2) + "\n", encoding="utf-8")
        self.digest, self.folder = content_digest(content), folder
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Bundle:
        """Read a bundle and check every file of it.

        Raises
        ------
        UserError
            When the folder is no bundle, was made by a newer polyml, names a model this version does not have, or a
            file of it is missing or was changed.
        """
        from polyml.models.catalog import model_class

        folder = Path(folder)
        content = read_content(folder)
        verify_files(folder, content)
        model = model_class(content.model).load(folder / "model")
        frame = _read_training(folder, content)
        return cls(
            model=model,
            properties=tuple(content.properties),
            keys=tuple(frame["key"]),
            psmiles=tuple(frame["psmiles"]),
            values=frame.iloc[:, 2:].to_numpy(dtype=float),
            data_digest=content.data_digest,
            seed=content.seed,
            scores=content.scores,
            versions=content.versions,
            digest=content_digest(content),
            folder=folder,
        )

    def predict(self, psmiles: Sequence[str | RepeatUnit]) -> Prediction:
        """Predict the distribution of every property, in user units (see the module for log10 properties).

        Raises
        ------
        RepeatUnitError
            For the first text that is no repeat unit; :meth:`predict_frame` keeps it as a row instead.
        """
        units = ensure_units(psmiles)
        shape = (len(units), len(self.properties))
        if not units:
            return Prediction(*(np.empty(shape) for _ in range(4)))
        found = self.model.predict_dist(units)  # type: ignore[arg-type]  # models pass parsed units through
        mean, std, lower, upper = (
            np.asarray(part, dtype=float).reshape(shape) for part in (found.mean, found.std, found.lower, found.upper)
        )
        return Prediction(self.to_user(mean), std, self.to_user(lower), self.to_user(upper))

    def predict_mean(self, units: Sequence[RepeatUnit]) -> np.ndarray:
        """Predict the properties alone, in user units, shape (n, t): the fast way, for many polymers."""
        found: Any = self.model.predict(units)  # type: ignore[arg-type]
        return self.to_user(np.asarray(found, dtype=float).reshape(len(units), len(self.properties)))

    def to_user(self, modelled: np.ndarray) -> np.ndarray:
        """Turn columns in the modelled scale, shape (n, t), into user units."""
        return np.column_stack([item.from_model(modelled[:, i]) for i, item in enumerate(self.properties)])

    def predict_frame(self, psmiles: Sequence[str]) -> pd.DataFrame:
        """Predict one row an input, in order; a text that is refused gets its reason in the column ``error``.

        Returns
        -------
        DataFrame
            Columns ``psmiles``; ``<property>``, ``<property>_std``, ``<property>_lower`` and ``<property>_upper`` for
            each property; ``nearest_similarity`` (Tanimoto similarity to the nearest training polymer); ``error``.
        """
        import pandas as pd

        parsed, refused = parse_all(psmiles)
        good, results, faults = in_batches(self.predict, parsed)
        errors = {row: error.what for row, error in refused.items()} | {
            row: str(fault) for row, fault in faults.items()
        }
        rows = [row for row, _ in good]
        columns: dict[str, Any] = {"psmiles": list(psmiles)}
        for t, name in enumerate(self.names):
            for suffix, part in zip(SUFFIXES, ("mean", "std", "lower", "upper"), strict=True):
                values = np.concatenate([getattr(result, part)[:, t] for result in results] or [np.empty(0)])
                columns[name + suffix] = _spread(values, rows, len(psmiles))
        similarity = self.nearest([unit for _, unit in good])[0]
        columns["nearest_similarity"] = _spread(similarity, rows, len(psmiles))
        columns["error"] = pd.Series([errors.get(row, "") for row in range(len(psmiles))], dtype=str)
        return pd.DataFrame(columns)

    def nearest(self, psmiles: Sequence[str | RepeatUnit]) -> tuple[np.ndarray, np.ndarray]:
        """Find the nearest training polymer of each polymer.

        Returns
        -------
        similarity : ndarray of shape (n,)
            Tanimoto similarity of the binary periodic ECFP: 1 for the same set of environments.
        index : ndarray of shape (n,)
            Row of that polymer among :attr:`psmiles`.
        """
        units = ensure_units(psmiles)
        known = self._training_bits
        if not units or not len(known):
            return np.full(len(units), np.nan), np.full(len(units), -1)
        blocks = [_tanimoto(_binary_features(units[i : i + _BLOCK]), known) for i in range(0, len(units), _BLOCK)]
        index = np.concatenate([block.argmax(axis=1) for block in blocks])
        return np.concatenate([block.max(axis=1) for block in blocks]).astype(float), index

    @cached_property
    def _training_bits(self) -> np.ndarray:
        return _binary_features(ensure_units(self.psmiles))

    def _training_frame(self) -> pd.DataFrame:
        import pandas as pd

        values = {f"value:{name}": self.values[:, i] for i, name in enumerate(self.names)}
        return pd.DataFrame({"key": list(self.keys), "psmiles": list(self.psmiles), **values})


SUFFIXES = ("", "_std", "_lower", "_upper")


def predict_file(
    bundle: Bundle,
    source: str | Path,
    out: str | Path,
    *,
    smiles_column: str | None = None,
    chunk_size: int = 2000,
) -> dict[str, int]:
    """Predict every row of a file, in constant memory.

    Parameters
    ----------
    bundle : Bundle
    source : str or Path
        CSV, TSV, .smi, Parquet, ``-`` for standard input, or the name of an embedded set.
    out : str or Path
        CSV or Parquet file, by the end of its name; it appears when it is whole. Every input row is in it, in order:
        its line in the input, the columns of :meth:`Bundle.predict_frame`, then the other columns of the input.
    smiles_column : str, optional
        Column of the repeat units when its name does not tell.

    Returns
    -------
    dict
        Rows ``predicted`` and ``refused``.
    """
    from polyml.data.files import whole_file
    from polyml.data.readers import count_rows, read_candidates
    from polyml.progress import progress_bar

    if Path(out).suffix.lower() not in _WRITERS:
        raise UserError("unknown kind of output file", where=str(out), fix=f"let it end in {' or '.join(_WRITERS)}")
    chunks = read_candidates(source, smiles_column, chunk_size=chunk_size)
    total = count_rows(source) if str(source) != "-" else None
    counts = {"predicted": 0, "refused": 0}
    with (
        whole_file(out) as temporary,
        _WRITERS[Path(out).suffix.lower()](temporary) as write,
        progress_bar("predicting", total) as bar,
    ):
        for chunk in chunks:
            frame = _predict_chunk(bundle, chunk)
            write(frame)
            refused = int((frame["error"] != "").sum())
            counts["refused"] += refused
            counts["predicted"] += len(frame) - refused
            bar.advance(bar.task_ids[0], len(chunk))
    return counts


def _predict_chunk(bundle: Bundle, chunk: CandidateChunk) -> pd.DataFrame:
    from polyml.data.readers import cell_text

    frame = bundle.predict_frame(chunk.psmiles)
    predicted = [name for name in frame if name not in ("psmiles", "error")]
    for row, (reason, detail) in enumerate(chunk.faults):
        if reason:  # the line itself is broken, whatever its SMILES may say
            frame.loc[row, predicted] = np.nan
            frame.loc[row, "error"] = f"{reason}: {detail}"
    frame.insert(0, "line", chunk.lines)
    for name, cells in chunk.columns.items():
        while name in frame:
            name += "_input"
        frame[name] = [cell_text(cell) for cell in cells]
    return frame


@contextmanager
def _csv_writer(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield lambda frame: frame.to_csv(file, index=False, header=file.tell() == 0, lineterminator="\n")


@contextmanager
def _parquet_writer(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        writers: list[pq.ParquetWriter] = []

        def write(frame: pd.DataFrame) -> None:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            if not writers:
                writers.append(stack.enter_context(pq.ParquetWriter(path, table.schema)))
            writers[0].write_table(table)

        yield write


_WRITERS = {".csv": _csv_writer, ".parquet": _parquet_writer}


def parse_all(psmiles: Sequence[str]) -> tuple[Parsed, dict[int, RepeatUnitError]]:
    """Parse every text.

    Returns
    -------
    parsed : list of (int, RepeatUnit)
        Position and unit of what could be read.
    refused : dict of int to RepeatUnitError
        Why the text at a position was refused.
    """
    parsed: Parsed = []
    refused: dict[int, RepeatUnitError] = {}
    parse = RepeatUnit.parse
    for row, text in enumerate(psmiles):
        try:
            parsed.append((row, parse(text)))
        except RepeatUnitError as error:
            refused[row] = error
        except Exception as error:  # RDKit can fail in its own ways; one text must never cost the others
            refused[row] = RepeatUnitError(describe(error), reason="failed")
    return parsed, refused


def in_batches(call: Callable[[list[RepeatUnit]], T], parsed: Parsed) -> tuple[Parsed, list[T], dict[int, PolymlError]]:
    """Call on all units at once; where that fails, halve the batch until the units at fault stand alone.

    Returns
    -------
    good : list of (int, RepeatUnit)
        Those that went well, in order.
    results : list
        What ``call`` returned for them, batch by batch.
    faults : dict of int to PolymlError
        Why it failed for the others, by position.

    Raises
    ------
    PolymlError
        When it fails for each of several units: then the fault is not theirs.
    """
    good: Parsed = []
    results: list[T] = []
    faults: dict[int, PolymlError] = {}
    pending = [parsed] if parsed else []
    while pending:
        batch = pending.pop()
        try:
            results.append(call([unit for _, unit in batch]))
            good.extend(batch)
        except Exception as error:  # whatever one unit does to a library must not cost the others
            if len(batch) == 1:
                faults[batch[0][0]] = PolymlError(describe(error))
            else:
                half = len(batch) // 2
                pending += [batch[half:], batch[:half]]
    if len(faults) > 1 and not good:
        raise PolymlError(f"the model fails on every polymer: {next(iter(faults.values()))}")
    return good, results, faults


def describe(error: Exception) -> str:
    """Return an error of a library as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a model's numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a source tree that is not installed, or a package this model does without
            continue
    return found


def _binary_features(units: Sequence[RepeatUnit]) -> np.ndarray:
    from polyml.features.catalog import make_featurizer

    features = np.asarray(make_featurizer(_SIMILARITY_FEATURES).transform(units))
    return (features > 0).astype(np.float32)


def _tanimoto(bits: np.ndarray, known: np.ndarray) -> np.ndarray:
    shared = bits @ known.T
    union = bits.sum(axis=1)[:, None] + known.sum(axis=1)[None, :] - shared
    return np.divide(shared, union, out=np.ones_like(shared), where=union > 0)


def _spread(values: np.ndarray, rows: Sequence[int], length: int) -> np.ndarray:
    full = np.full(length, np.nan)
    full[list(rows)] = values
    return full


def _read_training(folder: Path, content: BundleFile) -> pd.DataFrame:
    import pandas as pd

    frame = pd.read_parquet(folder / "training.parquet")
    expected = ["key", "psmiles", *(f"value:{item.name}" for item in content.properties)]
    if list(frame.columns) != expected or len(frame) != content.n_training:
        raise UserError("training.parquet does not fit bundle.json", where=str(folder))
    return frame
