"""What is wrong with a piece of code."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One weakness: the rule that found it, its CWE, the line (from 1) and one sentence about it.

    ``source`` is the scanner: ``python`` and ``shell`` are ours, ``regex`` and ``semgrep`` are Code Shield's rules.
    """

    rule: str
    cwe: str
    line: int
    message: str
    source: str
