"""Rows of a batch: inputs for one task each, and a key by which a row is known wherever it stands."""

import csv
import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import TaskError

MAX_FILE = 200_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``number`` is its place in the file, from 1; ``label`` is what people know it by."""

    number: int
    label: str
    inputs: dict[str, Any]
    key: str


def read_rows(path: Path, inputs: set[str], salt: str) -> list[Row]:
    """The rows of a file of JSON lines, of a JSON list, or of CSV with a header.

    A column ``id`` that the task has no input for only names the row. The key is a hash of the id, else of the
    content, with ``salt``; of equal rows each has a key of its own. Raises TaskError with the line.
    """
    values = _csv(path) if path.suffix.lower() == ".csv" else _json(path)
    seen: Counter[str] = Counter()
    rows: list[Row] = []
    for number, value in enumerate(values, 1):
        label = value.get("id")
        given = value if "id" in inputs else {name: item for name, item in value.items() if name != "id"}
        said = json.dumps(value if label is None else {"id": label}, sort_keys=True, default=str)
        seen[said] += 1
        if label is not None and seen[said] > 1:
            raise TaskError(f"{path}: row {number}: another row has the id {label!r}")
        mark = hashlib.sha256(f"{salt}\n{said}\n{seen[said]}".encode()).hexdigest()[:24]
        rows.append(Row(number, str(number if label is None else label), given, mark))
    if not rows:
        raise TaskError(f"{path}: there are no rows")
    return rows


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise TaskError(f"{path}: rows may take {MAX_FILE / 1e6:g} MB; split the file")
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise TaskError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise TaskError(f"{path}: is not text in UTF-8") from None


def _csv(path: Path) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise TaskError(f"{path}:{reader.line_num}: not CSV: {error}") from None
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise TaskError(f"{path}: row {number} has more or fewer fields than the header")
    return [dict(row) for row in rows]


def _json(path: Path) -> list[dict[str, Any]]:
    text = _text(path)
    if text.lstrip().startswith("["):
        return [
            _mapping(value, f"{path}: row {number}")
            for number, value in enumerate(_loads(text, str(path)), 1)
        ]
    lines = enumerate(text.split("\n"), 1)
    return [
        _mapping(_loads(line, f"{path}:{number}"), f"{path}:{number}")
        for number, line in lines
        if line.strip()
    ]


def _loads(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{where}: not JSON: {error}") from None


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TaskError(f"{where}: a row is an object with the task's inputs")
    return value
