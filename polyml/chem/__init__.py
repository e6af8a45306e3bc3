"""Exact periodic chemistry of repeat units."""

from polyml.chem.constitution import constitution, constitution_names, constitution_of_key
from polyml.chem.repeat_unit import RepeatUnit, canonicalize, ensure_units

__all__ = ["RepeatUnit", "canonicalize", "constitution", "constitution_names", "constitution_of_key", "ensure_units"]
