"""New polymers that can be made: candidates from monomers by polymerisation rules."""
