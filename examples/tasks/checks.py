"""Checks that need more than one line; task files name them as checks.py::function."""


def adds_up(result):
    """The amounts of the lines make up the total; otherwise say by how much they do not."""
    missing = result.output["total"] - sum(line["amount"] for line in result.output["lines"])
    return None if abs(missing) < 0.005 else f"the lines do not add up to the total: {missing:.2f} is missing"


def two_sentences(result):
    """At most two sentences."""
    count = sum(result.text.count(mark) for mark in ".!?")
    return None if count <= 2 else f"there are {count} sentences, at most 2 are allowed"
