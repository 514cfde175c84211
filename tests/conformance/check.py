"""Runs vector files against arriero: ``check.py [-v] [--vocab GGUF] FILE…``.

A file holds JSON lines, may be gzipped, and is told by its content: golden prompts, chat-template prompts,
parser, guard or tool-output vectors. Prints passed of total per renderer, status or variant. Exits 0 if all
that must pass do, 1 if not, 2 if a file cannot be read.
"""

import argparse
import gzip
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import golden
import guard
from compare import Encode, Outcome, compare

from arriero.prompts import PromptError, Segment

Row = dict[str, Any]

VOCABULARY = Path(__file__).parents[3] / "shared" / "data" / "llama31-vocab.gguf"
"""The Llama 3.1 vocabulary, looked for beside the project's root."""

OPTIONAL_STATUS = frozenset({"ambiguous"})
"""Parser lines on which careful readers disagree: reported, not required."""

DROPPED_TEXT = "deviates by design (text is never dropped)"
"""The published 1B guard template leaves out content that is no list of parts; we show it."""

IMAGE = ("<|image|>", 128256)
"""Control token of the vision models' vocabulary, which the text models' lacks."""


class BadFile(Exception):
    """A file cannot be read, or has no known shape."""


@dataclass
class Tally:
    """The lines of one group: how many passed, what failed, and which passed by a difference that we mean."""

    passed: int = 0
    total: int = 0
    failures: list[str] = field(default_factory=list)
    deviations: dict[str, list[str]] = field(default_factory=dict)
    required: bool = True

    def add(self, row: Row, outcome: Outcome) -> None:
        name = str(row.get("id"))
        self.total += 1
        if outcome.problem is not None:
            self.failures.append(f"{name} ({row.get('dim', row.get('template'))}): {outcome.problem}")
            return
        self.passed += 1
        if outcome.deviation is not None:
            self.deviations.setdefault(outcome.deviation, []).append(name)

    @property
    def fine(self) -> bool:
        return self.passed == self.total or not self.required


Tallies = dict[str, Tally]


def read_rows(path: Path) -> list[Row]:
    """The lines of a file; raises BadFile."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
    except (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadFile(f"{path}: {error}") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise BadFile(f"{path}: holds no vectors")
    return rows


def shape_of(row: Row) -> str:
    """Which kind of vector a line is; raises BadFile."""
    kind = str(row.get("kind", ""))
    if kind.startswith("guard_"):
        return "guard"
    if kind == "tool_output":
        return "tool_output"
    if "expected_status" in row and "raw" in row:
        return "parse"
    if "template" in row and "messages" in row:
        return "chat_template"
    if "renderer_key" in row and "input" in row:
        return "golden"
    raise BadFile(f"line {row.get('id')!r} has no known shape")


def check_rows(rows: Sequence[Row], encode: Encode | None) -> Tallies:
    """Tallies by group of all lines, of whatever shapes."""
    by_shape: dict[str, list[Row]] = {}
    for row in rows:
        by_shape.setdefault(shape_of(row), []).append(row)
    tallies: Tallies = {}
    for shape, group in by_shape.items():
        tallies |= _CHECKS[shape](group, encode)
    return tallies


def _check_golden(rows: Sequence[Row], encode: Encode | None) -> Tallies:
    tallies: Tallies = {}
    for row in rows:
        key = row.get("renderer_key") or f"chat-template {row['template']}"
        claimed = "template" in row or key in golden.CLAIMED
        tally = tallies.setdefault(f"golden {key}", Tally(required=claimed))
        if claimed:
            tally.add(row, _attempt(_golden, row, encode))
        else:
            tally.add(row, Outcome("this renderer is not claimed"))
    return tallies


def _attempt(check: Callable[[Row, Encode | None], Outcome], row: Row, encode: Encode | None) -> Outcome:
    """One line's outcome, where a crash is a failure of that line."""
    try:
        return check(row, encode)
    except Exception as error:
        return Outcome(f"crashed: {type(error).__name__}: {error}")


def _golden(row: Row, encode: Encode | None) -> Outcome:
    try:
        segments = golden.render_line(row)
    except PromptError as error:
        return Outcome(golden.check_refusal(row, error))
    if row.get("expected_error"):
        return Outcome(f"no error, though the reference raises {row['expected_error']!r}")
    return compare(row, segments, encode)


def _check_guard(rows: Sequence[Row], encode: Encode | None) -> Tallies:
    tallies: Tallies = {}
    for row in rows:
        tally = tallies.setdefault(f"{row['kind'].replace('_', ' ')} {row['renderer_key']}", Tally())
        tally.add(row, _attempt(_guard, row, encode))
    return tallies


def _guard(row: Row, encode: Encode | None) -> Outcome:
    if row["kind"] == "guard_output":
        return Outcome(guard.check_output(row))
    if "expected_error" in row:
        return Outcome(guard.check_refusal(row))
    try:
        segments = guard.render_guard(row)
    except PromptError as error:
        return Outcome(f"raised {error}")
    if not guard.drops_text(row):
        return compare(row, segments, encode)
    outcome = compare(row, guard.without_text(row, segments), encode)
    return Outcome(outcome.problem, DROPPED_TEXT)


def _check_elsewhere(module: str, function: str, title: str) -> Callable[[Sequence[Row], Any], Tallies]:
    def check(rows: Sequence[Row], _encode: Encode | None) -> Tallies:
        try:
            checker = getattr(importlib.import_module(module), function)
        except ImportError as error:
            return {f"{title} (not available: {error})": Tally(total=len(rows))}
        try:
            groups = checker(rows)
        except Exception as error:
            return {f"{title} (crashed: {type(error).__name__}: {error})": Tally(total=len(rows))}
        return {
            f"{title} {group}": Tally(passed, total, list(failures), required=group not in OPTIONAL_STATUS)
            for group, (passed, total, failures) in groups.items()
        }

    return check


_CHECKS: dict[str, Callable[[Sequence[Row], Encode | None], Tallies]] = {
    "golden": _check_golden,
    "chat_template": _check_golden,
    "guard": _check_guard,
    "parse": _check_elsewhere("parse_check", "check_parse", "parse"),
    "tool_output": _check_elsewhere("tool_output_check", "check_tool_output", "tool output"),
}


@cache
def load_encoder(path: Path) -> Encode:
    """What turns segments into ids, with the vocabulary of a GGUF file. Raises what the backend raises."""
    from arriero.agent.backends.vocab import Vocab

    vocab = Vocab.from_gguf(path)

    def encode(segments: Sequence[Segment]) -> list[int]:
        ids: list[int] = []
        for segment in segments:
            known = not segment.special or segment.text != IMAGE[0]
            ids += vocab.encode_segments([segment]) if known else [IMAGE[1]]
        return ids

    return encode


def report(tallies: Tallies, *, verbose: bool) -> Iterator[str]:
    """The lines to print for one file."""
    width = max(map(len, tallies), default=0)
    for name, tally in sorted(tallies.items()):
        mark = "ok  " if tally.passed == tally.total else "FAIL" if tally.required else "open"
        yield f"  {mark} {name:<{width}}  {tally.passed:>4} of {tally.total}"
        for reason, ids in tally.deviations.items():
            yield f"         {len(ids)} of them {reason}: {', '.join(ids)}"
        if verbose:
            yield from (f"         {failure}" for failure in tally.failures)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="vectors, .jsonl or .jsonl.gz")
    parser.add_argument("--vocab", type=Path, help="GGUF file with the Llama 3.1 vocabulary, for token ids")
    parser.add_argument("-v", "--verbose", action="store_true", help="list what fails")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit status."""
    arguments = _arguments(argv)
    path = arguments.vocab or VOCABULARY
    if arguments.vocab and not path.exists():
        print(f"{path}: no such file", file=sys.stderr)
        return 2
    encode = None
    fine = True
    for file in arguments.files:
        try:
            rows = read_rows(file)
            encode = load_encoder(path) if path.exists() else None
            tallies = check_rows(rows, encode)
        except BadFile as error:
            print(error, file=sys.stderr)
            return 2
        print(file)
        print(*report(tallies, verbose=arguments.verbose), sep="\n")
        fine = fine and all(tally.fine for tally in tallies.values())
    print("token ids: " + (f"checked with {path.name}" if encode else "unchecked, no vocabulary (--vocab)"))
    print("all that must pass does" if fine else "FAILED")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
