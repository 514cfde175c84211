"""Python as the interpreter will run it: IPython's own syntax undone, and fragments read as far as they can be."""

import ast
import io
import textwrap
import threading
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

_CONTINUES: Final = ("elif ", "else:", "else ", "except:", "except ", "finally:", "case ")
_MOST_FRAGMENTS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Parsed:
    """Code as syntax trees; ``whole`` is False where only statements out of it could be read."""

    trees: tuple[ast.Module, ...]
    whole: bool


def read_python(code: str) -> Parsed:
    """Parse a cell or a fragment of code.

    What Python cannot parse it cannot run either; its statements are then read one by one, since code may be a part
    of something. Lines keep their numbers as far as IPython's syntax allows. Raises RecursionError or MemoryError
    for code that is nested too deeply.
    """
    plain = _without_magic(code)
    for text in (plain, textwrap.dedent(plain)):
        tree = _parse(text)
        if tree is not None:
            return Parsed((tree,), whole=True)
    return Parsed(tuple(_statements(plain)), whole=False)


def _without_magic(code: str) -> str:
    """``!command``, ``%magic`` and ``%%cell`` as the calls that IPython makes of them."""
    if not any(mark in code for mark in "!%?"):
        return code
    try:
        transformer: Any = import_module("IPython.core.inputtransformer2")
    except ImportError:
        return code
    try:
        with _quiet():
            return str(transformer.TransformerManager().transform_cell(code))
    except Exception:  # it was not written for texts that are no cells
        return code


def _parse(code: str) -> ast.Module | None:
    try:
        with _quiet():
            return ast.parse(code)
    except (SyntaxError, ValueError):
        return None


_one_at_a_time: Final = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings about the code that is read: it is not ours. Filters belong to the process, hence the lock."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _statements(code: str) -> Iterator[ast.Module]:
    for number, text in enumerate(_logical_lines(code)):
        if number >= _MOST_FRAGMENTS:
            return
        line, statement = text
        tree = _parse(_completed(statement))
        if tree is not None:
            yield ast.increment_lineno(tree, line - 1)


def _logical_lines(code: str) -> Iterator[tuple[int, str]]:
    """Lines with those that their brackets join, each with the number of its first."""
    lines = code.splitlines()
    start = 0
    while start < len(lines):
        end = start + 1
        while end < min(len(lines), start + 40) and _is_open("\n".join(lines[start:end])):
            end += 1
        if _is_open("\n".join(lines[start:end])):
            end = start + 1
        yield start + 1, "\n".join(lines[start:end]).strip()
        start = end


def _is_open(text: str) -> bool:
    """Whether a bracket or a string is still to be closed."""
    if text.endswith("\\"):
        return True
    depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text.strip() + "\n").readline):
            if token.type == tokenize.OP:
                depth += (token.string in "([{") - (token.string in ")]}")
    except tokenize.TokenError:
        return True
    except SyntaxError:
        return False
    return depth > 0


def _completed(statement: str) -> str:
    """A statement that can stand alone: the head of a block gets a body, and what follows one gets a head."""
    if statement.startswith("@"):
        return f"{statement}\ndef _(): pass"
    if statement.startswith(_CONTINUES):
        head, _, rest = statement.partition(":")
        condition = head.removeprefix("elif ") if head.startswith("elif ") else "True"
        return f"if {condition}: {rest.strip() or 'pass'}"
    return f"{statement} pass" if statement.endswith(":") else statement
