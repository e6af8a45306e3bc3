"""What is audited, and by which bounds."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from polyml.data.sample import SampleSpec
from polyml.data.splits import SplitSpec


class AuditSpec(BaseModel):
    """How files are audited.

    Parameters
    ----------
    splits : tuple of SplitSpec
        The splits to look at, each file by itself.
    asked : bool
        Whether the user named the splits: then rows of one polymer on both sides of a split by rows are an error, not a
        warning.
    saved_splits : Path, optional
        A file of folds, as ``splits.csv`` of a comparison, for a single data file.
    source_column : str, optional
        Column that says where a row comes from; its sources are compared with each other.
    conflict, severe : float
        Values of one polymer conflict when they spread by more than this many standard deviations of the property;
        beyond ``severe`` it is an error.
    outlier : float
        Robust standard deviations beyond which a value is an outlier.
    shift : float
        Standard deviations of the property by which two sources must differ to matter in practice.
    sample : SampleSpec, optional
        Read some rows of each file only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    splits: tuple[SplitSpec, ...] = (SplitSpec(kind="kfold"), SplitSpec(kind="rows"))
    asked: bool = False
    saved_splits: Path | None = None
    source_column: str | None = None
    conflict: float = Field(0.5, gt=0)
    severe: float = Field(2.0, gt=0)
    outlier: float = Field(6.0, gt=0)
    shift: float = Field(0.2, ge=0)
    sample: SampleSpec | None = None
