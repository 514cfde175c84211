import pytest

from arriero.agent.cli.quotes import is_open, is_quoted, unquoted


@pytest.mark.parametrize(
    ("entry", "quoted", "still_open"),
    [
        ("plain", False, False),
        ('""', False, False),
        ('"""', True, True),
        ('""""', True, True),
        ('"""""', True, True),
        ('""""""', True, False),
        ('  """one', True, True),
        ('"""one\ntwo', True, True),
        ('"""one\ntwo"""', True, False),
        ('"""one\n"""two', True, True),
        ('a """one', False, False),
    ],
)
def test_what_is_quoted_and_what_is_still_open(entry: str, quoted: bool, still_open: bool) -> None:
    assert (is_quoted(entry), is_open(entry)) == (quoted, still_open)


def test_what_stands_between() -> None:
    assert unquoted('"""\none\n  two\n"""') == "one\n  two"
    assert unquoted('"""one"""') == "one"
    assert unquoted('"""not closed') == "not closed"
