"""Full-text search (FTS5). Messages are indexed when somebody searches, so that a run does not pay for it."""

import sqlite3

from . import reading
from .contents import get_messages
from .records import Found
from .restore import chain

_EXCERPT = 16  # words around what was found


def index_new(db: sqlite3.Connection) -> None:
    """Take in what was written since the last search."""
    (last,) = db.execute("SELECT entry FROM indexed").fetchone()
    rows = db.execute("SELECT id, messages FROM entry WHERE id > ? ORDER BY id", (last,)).fetchall()
    for entry, messages in rows:
        for message in get_messages(db, messages):
            if message.role != "system" and message.content:
                db.execute(
                    "INSERT INTO found (text, role, entry) VALUES (?, ?, ?)",
                    (message.content, message.role, entry),
                )
    if rows:
        db.execute("UPDATE indexed SET entry=?", (rows[-1][0],))


def search(db: sqlite3.Connection, words: str, limit: int) -> list[Found]:
    """See ``Journal.search``."""
    # Quoted, so that nothing a person types is an operator of the query language.
    query = " ".join('"{}"'.format(word.replace('"', '""')) for word in words.split())
    if not query:
        return []
    rows = db.execute(
        "SELECT entry, role, snippet(found, 0, '[', ']', '…', ?) FROM found WHERE found MATCH ? ORDER BY rank "
        "LIMIT ?",
        (_EXCERPT, query, limit),
    ).fetchall()
    hits: list[Found] = []
    for entry, role, excerpt in rows:
        row = db.execute("SELECT session FROM entry WHERE id=?", (entry,)).fetchone()
        if row:
            info = reading.session(db, row[0])
            numbers = {one.id: one.number for one in chain(db, reading.head(db, info.id))}
            hits.append(Found(info, numbers.get(entry, 0), role, excerpt))
    return hits
