"""Exact periodic chemistry of repeat units."""

from polyml.chem.repeat_unit import RepeatUnit, canonicalize, ensure_units

__all__ = ["RepeatUnit", "canonicalize", "ensure_units"]
