"""The version of the library, as `pyproject.toml` and `CITATION.cff` have it."""

__version__ = "0.1.0"
