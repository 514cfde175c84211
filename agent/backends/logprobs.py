"""How likely the model held a token, and which ones it held likeliest."""

from dataclasses import dataclass
from typing import Any

MOST_LOGPROBS = 100


@dataclass(frozen=True, slots=True)
class LogProbabilities:
    """Natural logarithms: of the chosen token, and of the likeliest ones as (id, logarithm), in order."""

    chosen: float
    top: tuple[tuple[int, float], ...]


def log_probabilities(logits: Any, chosen: int, count: int) -> LogProbabilities:
    """What a row of logits, a numpy vector, says of token ``chosen`` and of the ``count`` likeliest ones.

    Ties go to the lower id.
    """
    import numpy as np

    values = logits.astype(np.float64)
    peak = values.max()
    total = float(peak + np.log(np.exp(values - peak).sum()))
    count = min(count, len(values))
    # A stable sort of all values would cost tens of milliseconds; the few best are parted from the others first.
    border = np.partition(values, len(values) - count)[len(values) - count] if count else np.inf
    best = np.flatnonzero(values >= border)
    best = best[np.argsort(-values[best], kind="stable")][:count]
    return LogProbabilities(
        float(values[chosen]) - total, tuple((int(token), float(values[token]) - total) for token in best)
    )
