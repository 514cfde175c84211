"""Public evaluation suites: read as they are published, run through a model or replayed from their own answers."""

from .bfcl import Case, SuiteError, categories, load
from .scoring import replay, run_model
from .tally import Score, Tally

__all__ = ["Case", "Score", "SuiteError", "Tally", "categories", "load", "replay", "run_model"]
