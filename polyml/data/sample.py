"""Read some rows of a large file only, drawn at random before any chemistry is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from polyml.data.properties import Property
from polyml.data.readers import cell_text
from polyml.errors import UserError

if TYPE_CHECKING:
    from polyml.data.rows import Row


class SampleSpec(BaseModel):
    """How many rows are drawn, each row at most once.

    Parameters
    ----------
    rows : int, optional
        Rows in all; with fewer in the file all are taken.
    per_class : int, optional
        Rows of each class.
    class_column : str, optional
        Where the classes stand for ``per_class``; the target, when not given.
    seed : int
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int | None = Field(None, ge=1)
    per_class: int | None = Field(None, ge=1)
    class_column: str | None = None
    seed: int = Field(1, ge=0)


def choose_rows(
    rows: Iterable[Row], spec: SampleSpec, properties: Sequence[Property], columns: Sequence[str]
) -> list[Row]:
    """Draw rows, in the order of the file.

    Raises
    ------
    UserError
        Rows of each class are asked for, and no column is named, or the target is no class.
    """
    held = list(rows)
    rng = np.random.default_rng(spec.seed)
    order = rng.permutation(len(held))
    if spec.per_class is not None:
        at = list(columns).index(_class_column(spec, properties))
        order = _first_of_each([cell_text(row.cells[at]) for row in held], order, spec.per_class)
    chosen = np.sort(order[: spec.rows] if spec.rows is not None else order)
    return [held[i] for i in chosen]


def _class_column(spec: SampleSpec, properties: Sequence[Property]) -> str:
    if spec.class_column is not None:
        return spec.class_column
    if not any(item.is_class for item in properties):
        what = f"the target '{properties[0].name}' is no class" if properties else "there is no target that is a class"
        raise UserError(what, where="sample.per_class", fix="name the column of the classes, or use sample.rows")
    return properties[0].name


def _first_of_each(labels: Sequence[str], order: np.ndarray, count: int) -> np.ndarray:
    seen: dict[str, int] = {}
    kept = []
    for i in order:
        seen[labels[i]] = seen.get(labels[i], 0) + 1
        if seen[labels[i]] <= count:
            kept.append(i)
    return np.array(kept, dtype=int)
