"""How good a policy is: labelled texts as they are published, and the rates at which its screens judge them."""

from .datasets import Case, DatasetError, read_cases
from .measuring import ROLES, Judged, Rates, evaluate, latency, report, wilson

__all__ = [
    "ROLES",
    "Case",
    "DatasetError",
    "Judged",
    "Rates",
    "evaluate",
    "latency",
    "read_cases",
    "report",
    "wilson",
]
