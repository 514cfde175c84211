"""What is asked of a journal."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from arriero.agent.conversation import Conversation
from arriero.agent.events import ArtifactRef, Event, EventAdapter, Usage
from arriero.prompts import Message

from .contents import get, get_messages, unpacked_tokens
from .errors import UnknownSession
from .eventlog import unpacked_events
from .records import CallInfo, Generation, RunInfo, SessionInfo
from .restore import chain, conversation_of, setup_from

T = TypeVar("T")

LAST: Final = "last"
_SHORTEST: Final = 4  # characters of an id that may stand for it

_SESSION: Final = (
    "SELECT id, name, title, model, weights, created, updated, "
    "(SELECT count(*) FROM run WHERE run.session = session.id), "
    "(SELECT ended IS NULL OR stop_reason = 'approval' FROM run WHERE run.session = session.id "
    "ORDER BY run.rowid DESC LIMIT 1), forked_from FROM session"
)
_RUN: Final = (
    "SELECT id, session, prompt, model, weights, dialect, template, settings, versions, started, ended, "
    "stop_reason, error, usage FROM run"
)


def sessions(db: sqlite3.Connection, limit: int | None) -> list[SessionInfo]:
    """See ``Journal.sessions``."""
    # A fork has no entries of its own at first: it was made of its head, and so comes before what that was.
    latest = "coalesce((SELECT max(entry.id) FROM entry WHERE entry.session = session.id), head)"
    order = f"ORDER BY {latest} DESC, rowid DESC LIMIT ?"
    return [_info(row) for row in db.execute(f"{_SESSION} {order}", (-1 if limit is None else limit,))]


def session(db: sqlite3.Connection, name: str) -> SessionInfo:
    """See ``Journal.session``."""
    row = db.execute(f"{_SESSION} WHERE name=? OR id=?", (name, name)).fetchone()
    if row:
        return _info(row)
    ids = _beginning(db, _SESSION, name)
    found = sessions(db, 1) if name == LAST else [_info(one) for one in ids]
    return _one(found, name, "session", "arriero sessions list")


def head(db: sqlite3.Connection, session_id: str) -> int | None:
    """The last entry of a session."""
    found: int | None = db.execute("SELECT head FROM session WHERE id=?", (session_id,)).fetchone()[0]
    return found


def conversation(db: sqlite3.Connection, session_id: str) -> Conversation:
    """See ``Journal.conversation``."""
    setup, last = db.execute("SELECT setup, head FROM session WHERE id=?", (session_id,)).fetchone()
    kept = conversation_of(db, session_id, setup_from(db, setup), chain(db, last))
    row = db.execute(
        "SELECT prompt FROM run WHERE session=:id AND ended IS NULL AND prompt NOT NULL AND "
        "rowid=(SELECT max(rowid) FROM run WHERE session=:id) AND "
        "id NOT IN (SELECT run FROM entry WHERE session=:id)",
        {"id": session_id},
    ).fetchone()
    kept.unasked = get(db, row[0]).decode() if row else None
    return kept


def before(db: sqlite3.Connection, run_id: str) -> Conversation:
    """See ``Journal.before``."""
    session_id, setup = db.execute(
        "SELECT session.id, session.setup FROM run JOIN session ON session.id = run.session WHERE run.id=?",
        (run_id,),
    ).fetchone()
    row = db.execute("SELECT parent FROM entry WHERE run=? ORDER BY id LIMIT 1", (run_id,)).fetchone()
    return conversation_of(db, session_id, setup_from(db, setup), chain(db, row[0] if row else None))


def runs(db: sqlite3.Connection, session_id: str | None, limit: int | None) -> list[RunInfo]:
    """See ``Journal.runs``."""
    rows = db.execute(
        f"{_RUN} WHERE :id IS NULL OR session=:id ORDER BY rowid DESC LIMIT :limit",
        {"id": session_id, "limit": -1 if limit is None else limit},
    )
    return [_run(db, row) for row in rows.fetchall()]


def run(db: sqlite3.Connection, name: str) -> RunInfo:
    """See ``Journal.run``."""
    if name == LAST:
        return _one(runs(db, None, 1), name, "run", "arriero logs")
    return _one([_run(db, row) for row in _beginning(db, _RUN, name)], name, "run", "arriero logs")


def admitted(db: sqlite3.Connection, run_id: str) -> str | None:
    """See ``Journal.admitted``."""
    row = db.execute("SELECT messages FROM entry WHERE run=? AND kind='turn'", (run_id,)).fetchone()
    said = get_messages(db, row[0]) if row else ()
    return said[-1].content if said else None


def compactions(db: sqlite3.Connection, run_id: str) -> list[tuple[tuple[Message, ...], tuple[Message, ...]]]:
    """See ``Journal.compactions``."""
    rows = db.execute(
        "SELECT entry.id, parent, entry.session, setup FROM entry JOIN session ON session.id = entry.session "
        "WHERE run=? AND kind='compacted' ORDER BY entry.id",
        (run_id,),
    ).fetchall()

    def messages(last: int, session_id: str, setup: int) -> tuple[Message, ...]:
        found = conversation_of(db, session_id, setup_from(db, setup), chain(db, last))
        return tuple(found.messages)

    return [
        (messages(before, session_id, setup), messages(after, session_id, setup))
        for after, before, session_id, setup in rows
    ]


def events(db: sqlite3.Connection, run_id: str) -> list[tuple[float, Event]]:
    """See ``Journal.events``."""
    answers = {
        call_id: get_messages(db, answer)[0].content
        for call_id, answer in db.execute("SELECT id, answer FROM call WHERE run=?", (run_id,)).fetchall()
        if answer is not None
    }
    results = db.execute("SELECT messages FROM entry WHERE run=? AND kind='results' ORDER BY id", (run_id,))
    for (told,) in results.fetchall():
        # What the model read then: of a call that waited, a later run may have made something else.
        answers |= {one.tool_call_id: one.content for one in get_messages(db, told) if one.tool_call_id}
    kept: defaultdict[str, list[ArtifactRef]] = defaultdict(list)
    for call_id, name, mime, content in db.execute(
        "SELECT call, name, mime, content FROM artifact WHERE run=? ORDER BY call, number", (run_id,)
    ).fetchall():
        kept[call_id].append(ArtifactRef(name=name, mime=mime, data=get(db, content)))
    found: list[tuple[float, Event]] = []
    for (lines,) in db.execute("SELECT lines FROM event WHERE run=? ORDER BY seq", (run_id,)).fetchall():
        for moment, values in unpacked_events(lines):
            values["run_id"] = run_id
            if values["type"] == "tool_call_finished":
                values["content"] = answers.get(values["call_id"], "")
                values["artifacts"] = tuple(kept[values["call_id"]])
            found.append((moment, EventAdapter.validate_python(values)))
    return found


def calls(db: sqlite3.Connection, run_id: str) -> list[CallInfo]:
    """See ``Journal.calls``."""
    rows = db.execute(
        "SELECT id, name, effect, state, arguments, answer, ok, seconds FROM call WHERE run=? "
        "ORDER BY started, id",
        (run_id,),
    )
    return [
        CallInfo(
            id=row[0],
            name=row[1],
            effect=row[2],
            state=row[3],
            arguments=json.loads(get(db, row[4])),
            answer=None if row[5] is None else get_messages(db, row[5])[0].content,
            ok=None if row[6] is None else bool(row[6]),
            seconds=row[7],
        )
        for row in rows.fetchall()
    ]


def generations(db: sqlite3.Connection, run_id: str) -> list[Generation]:
    """See ``Journal.generations``."""
    rows = db.execute(
        "SELECT number, prompt_tokens, seed, max_tokens, ids, texts, stop FROM generation WHERE run=? "
        "ORDER BY number",
        (run_id,),
    )
    return [
        Generation(
            number=row[0],
            prompt_tokens=row[1],
            seed=row[2],
            max_tokens=row[3],
            ids=tuple(unpacked_tokens(row[4])),
            texts=tuple(json.loads(row[5])),
            stop=row[6],
        )
        for row in rows
    ]


def _beginning(db: sqlite3.Connection, select: str, name: str) -> list[Any]:
    if len(name) < _SHORTEST or not name.isalnum():
        return []
    return db.execute(f"{select} WHERE id >= ? AND id < ? LIMIT 2", (name, name + "g")).fetchall()


def _one(found: Sequence[T], name: str, what: str, command: str) -> T:
    if not found:
        raise UnknownSession(f"there is no {what} {name!r}; {command} shows them")
    if len(found) > 1:
        raise UnknownSession(f"several ids begin with {name!r}; write more of it")
    return found[0]


def _info(row: tuple[Any, ...]) -> SessionInfo:
    return SessionInfo(
        id=row[0],
        name=row[1],
        title=row[2],
        model=row[3],
        weights=row[4],
        created=row[5],
        updated=row[6],
        runs=row[7],
        interrupted=bool(row[8]),
        forked_from=row[9],
    )


def _run(db: sqlite3.Connection, row: tuple[Any, ...]) -> RunInfo:
    prompt, settings, versions, usage = row[2], row[7], row[8], row[13]
    return RunInfo(
        id=row[0],
        session=row[1],
        prompt=None if prompt is None else get(db, prompt).decode(),
        model=row[3],
        weights=row[4],
        dialect=row[5],
        template=row[6],
        sampling=json.loads(settings)["sampling"],
        limits=json.loads(settings)["limits"],
        answer=json.loads(settings).get("answer"),
        versions=json.loads(versions),
        started=row[9],
        ended=row[10],
        stop_reason=row[11],
        error=row[12],
        usage=Usage() if usage is None else Usage.model_validate_json(usage),
    )
