"""polyml: predict polymer properties from repeat units, honestly compared and tracked."""

__version__ = "0.1.0"
