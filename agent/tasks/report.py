"""Reports of a batch: one HTML page without scripts, and JUnit XML for machines."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from jinja2 import Environment, PackageLoader

from ..drawing import STYLE, drawing
from .records import ARTIFACTS, Done, Record, Records, write_whole
from .task import Task

HTML, JUNIT = "report.html", "junit.xml"
PAGE = 1000  # rows; some 4 MB of HTML, which a browser still opens at once
MAX_IMAGE = 2_000_000  # bytes; a larger one is only named
MAX_TEXT = 20_000  # characters of one text on the page
_IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_html(
    task: Task, records: Records, rows: Sequence[Done], missing: int, *, page_rows: int = PAGE
) -> None:
    """Pages that open anywhere: every row with its prompts, calls, checks, verdicts, times and plots.

    Up to ``page_rows`` rows it is one file; of more rows the first page says which are not ok, and where they are.
    """
    environment = Environment(loader=PackageLoader("arriero.agent.tasks", "."), autoescape=True)
    environment.filters |= {"shown": _shown, "drawing": drawing}
    template = environment.get_template("report.html")
    parts = [rows[first : first + page_rows] for first in range(0, len(rows), page_rows)] or [rows]
    names = [page_name(number) for number in range(1, len(parts) + 1)]
    statuses = Counter(row.status for row in rows)
    for name, part in zip(names, parts, strict=True):
        page = template.generate(
            task=task,
            style=STYLE,
            count=len(rows),
            records=records.read(part),
            missing=missing,
            statuses=statuses,
            images=lambda key: _images(records.folder / ARTIFACTS / key),
            pages=names,
            here=name,
            amiss=_amiss(records, parts) if len(parts) > 1 and name == HTML else (),
        )
        write_whole(records.folder / name, (piece.encode("utf-8", "replace") for piece in page))
    for old in records.folder.glob("report-*.html"):
        if old.name not in names:
            old.unlink(missing_ok=True)


def page_name(number: int) -> str:
    """The file of a page, counted from 1."""
    return HTML if number == 1 else f"report-{number}.html"


def _amiss(records: Records, parts: Sequence[Sequence[Done]]) -> Iterator[tuple[str, Record]]:
    """The first rows that are not ok, each with its page."""
    found = [
        (page_name(number), row) for number, part in enumerate(parts, 1) for row in part if row.status != "ok"
    ][:PAGE]
    yield from zip((name for name, _ in found), records.read(row for _, row in found), strict=True)


def write_junit(task: Task, records: Records, rows: Sequence[Done], missing: int) -> None:
    """A test case for each row; a row that has not run is a skipped one."""
    failures = sum(row.status == "failed" for row in rows)
    errors = sum(row.status not in ("ok", "failed") for row in rows)
    suite = ElementTree.Element(
        "testsuite",
        name=task.name,
        tests=str(len(rows) + missing),
        failures=str(failures),
        errors=str(errors),
        skipped=str(missing),
    )
    seconds = 0.0
    for record in records.read(rows):
        result = record.result
        seconds += result.seconds
        name = f"{record.row}: {record.label}" if record.label != str(record.row) else record.label
        case = ElementTree.SubElement(
            suite, "testcase", classname=task.name, name=_xml(name), time=f"{result.seconds:.3f}"
        )
        if result.status != "ok":
            kind = "failure" if result.status == "failed" else "error"
            ElementTree.SubElement(
                case, kind, type=result.status, message=_xml(result.error or result.status)
            )
    suite.set("time", f"{seconds:.3f}")
    for _ in range(missing):
        ElementTree.SubElement(
            ElementTree.SubElement(suite, "testcase", classname=task.name, name="not run"), "skipped"
        )
    write_whole(records.folder / JUNIT, [ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)])


def _images(folder: Path) -> list[tuple[str, str]]:
    """Plots as data addresses, so that the page needs no other file."""
    found = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        kind = _IMAGES.get(path.suffix.lower())
        if kind and path.stat().st_size <= MAX_IMAGE:
            found.append((path.name, f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"))
    return found


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    return (
        text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}\n[… {len(text) - MAX_TEXT} characters more …]"
    )


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
