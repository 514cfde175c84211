"""A folder's index: kept up to date by what has changed, and asked for the passages that fit a query best."""

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar

from arriero.tools._pdf import INSTALL_HELP, PdfError
from arriero.tools._places import cache_folder
from arriero.tools.base import ToolError

from . import store
from .read import is_binary, is_pdf, parts, read_file
from .walk import Found, walk

T = TypeVar("T")

MAX_TEXT = 5_000_000
"""Bytes of a text file that are indexed; the rest of it is left out."""

MAX_PDF = 50_000_000
"""Largest PDF read, in bytes."""

MAX_WORDS = 32
"""Words of a query that are looked for."""

_PIECE: Final = re.compile(r"[^\W_]+")
_COMMON: Final = 1000
"""A word in so many passages does not tell them apart, where the query has others."""
_BATCH: Final = 100
_RACY: Final = 2_000_000_000
"""A file changed so few nanoseconds before it was read may change again within one tick of its clock."""

_TODO: Final = (
    "INSERT INTO temp.todo SELECT seen.path, seen.changed, seen.size FROM temp.seen LEFT JOIN file USING (path)"
    " WHERE file.path IS NULL OR file.changed<>seen.changed OR file.size<>seen.size OR NOT file.settled"
)
_FIND: Final = (
    "SELECT words.text, passage.places, file.path FROM"
    " (SELECT rowid, rank FROM words WHERE words MATCH ? AND rank MATCH 'bm25(1.0, 0.5)' ORDER BY rank LIMIT ?)"
    " AS best JOIN words ON words.rowid=best.rowid JOIN passage ON passage.id=best.rowid"
    " JOIN file ON file.id=passage.file ORDER BY best.rank"
)


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far indexing has come: files done, files to do, and the one just done."""

    done: int
    total: int
    path: str


@dataclass(slots=True)
class IndexReport:
    """What one update did, in files; ``problems`` names at most 100 files that could not be read, and why."""

    files: int = 0
    added: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unreadable: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage found: ``line`` for text, ``page`` for PDF, of the line that fits the query best."""

    path: str
    text: str
    line: int | None = None
    page: int | None = None

    @property
    def place(self) -> str:
        """Path and place as an answer would cite it."""
        return f"{self.path}:{self.line}" if self.page is None else f"{self.path}, page {self.page}"


class DocumentIndex:
    """The full-text index of one folder.

    ``path`` is where it is kept: by default a file of its own for each folder, in ``$ARRIERO_HOME/cache`` or the
    user's cache directory.
    A damaged index is made anew. Several processes may use one index at once. Raises ToolError for a folder
    that is none.
    """

    def __init__(self, folder: str | os.PathLike[str], *, path: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder).expanduser().resolve()
        self._require_folder()
        self.path = _default_path(self.folder) if path is None else Path(path)
        self._busy = threading.Lock()

    def refresh(
        self,
        on_progress: Callable[[IndexProgress], None] = lambda progress: None,
        *,
        stop: threading.Event | None = None,
    ) -> IndexReport:
        """Take in what was added, changed, moved or removed since the last time.

        ``on_progress`` is called in this thread; after ``stop`` is set the update ends at the next file, and
        what it has done is kept. Raises ToolError where the folder or the index cannot be used.
        """
        self._require_folder()
        with self._busy:
            return self._repaired(
                lambda base: _Update(base, self.folder, on_progress, stop).run(), fill=False
            )

    def find(self, query: str, limit: int = 5) -> list[Passage]:
        """The passages that fit best, best first: those with all words of the query, then those with any.

        Nothing in a query has a special meaning, and nothing is found before the first refresh. Raises ToolError
        where the index cannot be used.
        """
        plain = query.encode("utf-8", "replace").decode().replace("\0", " ")
        words = [word for word in plain.split() if any(map(str.isalnum, word))][:MAX_WORDS]
        if not words:
            return []
        return self._repaired(lambda base: _find(base, words, limit), fill=True)

    def _repaired(self, work: Callable[[sqlite3.Connection], T], *, fill: bool) -> T:
        """Do it; with a damaged index, once more with a new one, which may have to be filled first."""
        try:
            with store.opened(self.path) as base:
                return work(base)
        except store.Damaged:
            store.remove(self.path)
        try:
            with store.opened(self.path) as base:
                if fill:
                    _Update(base, self.folder, lambda progress: None, None).run()
                return work(base)
        except store.Damaged as error:
            raise ToolError(f"the index of the documents cannot be used ({error})") from None

    def _require_folder(self) -> None:
        if not os.access(self.folder, os.R_OK | os.X_OK) or not self.folder.is_dir():
            raise ToolError(f"{self.folder} is not a folder that can be read")


class _Update:
    """One pass over the folder."""

    def __init__(
        self,
        base: sqlite3.Connection,
        folder: Path,
        on_progress: Callable[[IndexProgress], None],
        stop: threading.Event | None,
    ) -> None:
        self._base = base
        self._top = os.fsencode(folder)
        self._on_progress = on_progress
        self._stop = stop or threading.Event()
        self._report = IndexReport()

    def run(self) -> IndexReport:
        base = self._base
        base.execute("CREATE TEMP TABLE seen (path BLOB PRIMARY KEY, changed INTEGER, size INTEGER)")
        base.execute("CREATE TEMP TABLE todo (path BLOB, changed INTEGER, size INTEGER)")
        base.execute("BEGIN")
        base.executemany("INSERT OR IGNORE INTO temp.seen VALUES (?,?,?)", self._seen())
        base.execute(_TODO)
        base.execute("COMMIT")
        self._report.files = _count(base, "temp.seen")
        total, done = _count(base, "temp.todo"), 0
        while done < total and not self._stop.is_set():
            done = self._batch(done, total)
        if not self._stop.is_set():
            self._forget_missing()
        base.execute("DROP TABLE temp.seen")
        base.execute("DROP TABLE temp.todo")
        return self._report

    def _seen(self) -> Iterator[tuple[bytes, int, int]]:
        for found in walk(os.fsdecode(self._top)):
            if self._stop.is_set():
                return
            yield found.path, found.changed, found.size

    def _batch(self, done: int, total: int) -> int:
        """Index the next files in one transaction; returns how many are done in all."""
        rows = self._base.execute(
            "SELECT path, changed, size FROM temp.todo WHERE rowid>? ORDER BY rowid LIMIT ?", (done, _BATCH)
        ).fetchall()
        self._base.execute("BEGIN IMMEDIATE")
        try:
            for row in rows:
                if self._stop.is_set():
                    break
                self._index(Found(*row))
                done += 1
                self._on_progress(IndexProgress(done, total, _shown(row[0])))
        finally:
            # What was indexed stays, whatever a progress display raises.
            self._base.execute("COMMIT")
        return done

    def _index(self, found: Found) -> None:
        base = self._base
        old = base.execute("SELECT id, hash FROM file WHERE path=?", (found.path,)).fetchone()
        body, problem = self._body(found)
        mark = b"" if body is None else blake2b(body, digest_size=16).digest()
        settled = bool(mark) and time.time_ns() - found.changed > _RACY
        if old is not None and mark and old[1] == mark:
            kept = (found.changed, found.size, settled, old[0])
            base.execute("UPDATE file SET changed=?, size=?, settled=? WHERE id=?", kept)
            return
        if old is None and mark and (moved := self._moved(mark, found.path)) is not None:
            kept_moved = (found.path, found.changed, found.size, settled, moved)
            base.execute("UPDATE file SET path=?, changed=?, size=?, settled=? WHERE id=?", kept_moved)
            self._rename_words(moved, found.path)
            self._report.moved += 1
            return
        if old is not None:
            self._forget(old[0])
        row = (found.path, found.changed, found.size, mark, settled)
        number = base.execute(
            "INSERT INTO file (path, changed, size, hash, settled) VALUES (?,?,?,?,?)", row
        ).lastrowid
        assert number is not None
        if body is not None and not problem:
            problem = self._fill(number, found.path, body)
        if problem:
            self._fail(number, found.path, problem)
        elif old is None:
            self._report.added += 1
        else:
            self._report.changed += 1

    def _body(self, found: Found) -> tuple[bytes | None, str]:
        """The bytes to index and why not to; no bytes where they could not be read."""
        pdf = is_pdf(found.path)
        if pdf and found.size > MAX_PDF:
            return None, f"larger than {MAX_PDF // 1_000_000} MB"
        try:
            body = read_file(os.path.join(self._top, found.path), MAX_PDF if pdf else MAX_TEXT)
        except OSError as error:
            return None, error.strerror or str(error)
        return body, "binary" if not pdf and is_binary(body) else ""

    def _fill(self, number: int, path: bytes, body: bytes) -> str:
        """Store the passages of a file; returns why it could not be read, else an empty text."""
        name = _shown(path)
        try:
            for part in parts(path, body):
                places = _packed(part.places)
                row = self._base.execute("INSERT INTO passage (file, places) VALUES (?,?)", (number, places))
                self._base.execute(
                    "INSERT INTO words (rowid, text, name) VALUES (?,?,?)", (row.lastrowid, part.text, name)
                )
        except PdfError as error:
            return str(error)
        return ""

    def _fail(self, number: int, path: bytes, problem: str) -> None:
        # Where a package is missing the file is tried again the next time.
        self._base.execute("UPDATE file SET problem=? WHERE id=?", (problem, number))
        if problem == INSTALL_HELP:
            self._base.execute("UPDATE file SET settled=0, hash=x'' WHERE id=?", (number,))
        if problem == "binary":
            return
        self._report.unreadable += 1
        if len(self._report.problems) < 100:
            self._report.problems.append((_shown(path), problem))

    def _moved(self, mark: bytes, path: bytes) -> int | None:
        """The file with the same content and kind of name that is no longer where it was."""
        rows = self._base.execute(
            "SELECT id, path FROM file WHERE hash=? AND path NOT IN (SELECT path FROM temp.seen)", (mark,)
        )
        kind = os.path.splitext(path)[1]
        return next((int(number) for number, old in rows if os.path.splitext(old)[1] == kind), None)

    def _rename_words(self, number: int, path: bytes) -> None:
        inside = "SELECT id FROM passage WHERE file=?"
        self._base.execute(
            f"UPDATE words SET name=? WHERE rowid IN ({inside})",  # noqa: S608
            (_shown(path), number),
        )

    def _forget_missing(self) -> None:
        base = self._base
        gone = base.execute("SELECT id FROM file WHERE path NOT IN (SELECT path FROM temp.seen)").fetchall()
        for start in range(0, len(gone), _BATCH):
            base.execute("BEGIN IMMEDIATE")
            for (number,) in gone[start : start + _BATCH]:
                self._forget(number)
            base.execute("COMMIT")
        self._report.removed = len(gone)

    def _forget(self, number: int) -> None:
        base = self._base
        base.execute("DELETE FROM words WHERE rowid IN (SELECT id FROM passage WHERE file=?)", (number,))
        base.execute("DELETE FROM passage WHERE file=?", (number,))
        base.execute("DELETE FROM file WHERE id=?", (number,))


def _find(base: sqlite3.Connection, words: list[str], limit: int) -> list[Passage]:
    # A word such as gold_price is first looked for as a phrase, then in its pieces.
    pieces = list(dict.fromkeys(piece for word in words for piece in _PIECE.findall(word)))[:MAX_WORDS]
    rows = base.execute(_FIND, (" AND ".join(map(_quoted, words)), limit)).fetchall()
    if len(rows) < limit and len(pieces) > 1:
        # To rank every passage with an "and" in it would take most of the time and change little.
        telling = [piece for piece in pieces if not _is_common(base, piece)] or pieces
        # One that was found already is found again among these.
        rows += base.execute(_FIND, (" OR ".join(map(_quoted, telling)), limit)).fetchall()
    return [_passage(*row, pieces=pieces) for row in list(dict.fromkeys(rows))[:limit]]


def _is_common(base: sqlite3.Connection, piece: str) -> bool:
    found = "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?"
    row = base.execute(f"SELECT count(*) FROM ({found})", (_quoted(piece), _COMMON)).fetchone()  # noqa: S608
    return int(row[0]) >= _COMMON


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _passage(text: str, places: str, path: bytes, *, pieces: list[str]) -> Passage:
    lines = text.split("\n")
    # A stem, roughly: the index finds "prices" for "price" too.
    stems = [piece.casefold()[: max(4, len(piece) - 3)] for piece in pieces]
    fits = [sum(stem in line.casefold() for stem in stems) for line in lines]
    best = fits.index(max(fits))
    place = _unpacked(places, len(lines))[best]
    if is_pdf(path):
        return Passage(_shown(path), text.strip(), page=place)
    return Passage(_shown(path), text.strip("\n"), line=place)


def _packed(places: tuple[int, ...]) -> str:
    first = places[0]
    if places == tuple(range(first, first + len(places))):
        return str(first)
    return ",".join(map(str, places))


def _unpacked(places: str, count: int) -> list[int]:
    if "," in places:
        return [int(place) for place in places.split(",")]
    return list(range(int(places), int(places) + count))


def _count(base: sqlite3.Connection, table: str) -> int:
    return int(base.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "replace")


def _default_path(folder: Path) -> Path:
    name = blake2b(os.fsencode(folder), digest_size=12).hexdigest()
    return cache_folder() / "documents" / f"{name}.sqlite3"
