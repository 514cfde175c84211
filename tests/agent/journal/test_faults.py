"""Journals that cannot be used: newer, damaged, full, somebody else's; and a clock that goes backwards."""

import asyncio
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from arriero.agent import Agent
from arriero.agent.backends import FunctionModel, ScriptedModel
from arriero.agent.events import TextDelta
from arriero.agent.journal import Journal, JournalError, JournalFormatError
from arriero.agent.journal.eventlog import packed_events, unpacked_events
from arriero.agent.journal.writer import Writer
from arriero.tools import tool

CALL = '{"name": "act", "parameters": {}}<|eom_id|>'


def result_of(path: Path, *answers: str, **options: Any) -> Any:
    with Agent(ScriptedModel(answers or ["Hi.<|eot_id|>"]), journal=path, guards=None, **options) as agent:
        return agent.run_sync("Hello")


def test_a_newer_journal_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    result_of(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    result = result_of(path)
    assert result.stop_reason == "error"
    assert "has format 99 and this arriero knows up to 1: update arriero" in result.error
    with pytest.raises(JournalFormatError, match="update arriero"):
        Journal(path).sessions()


@pytest.mark.parametrize("damage", ["header", "middle", "text"])
def test_a_damaged_journal_is_told_apart(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "journal.db"
    for _ in range(3):
        result_of(path)
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[:100] = os.urandom(100)
    elif damage == "middle":
        data[4096:] = b"\xff" * (len(data) - 4096)
    else:
        data[:] = b"just a text file " * 400
    path.write_bytes(data)
    with pytest.raises(JournalFormatError, match="is damaged or no journal"):
        Journal(path).sessions()
    result = result_of(path)
    assert result.stop_reason == "error"
    assert "move it away to begin a new one" in result.error


@pytest.mark.parametrize("damage", [b"\0\xff", b"[1]", b"[[1,{}]]", b'[[1,{"type":"no"}]]'])
def test_a_row_that_cannot_be_read_is_said_to_be_one(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal.db"
    result_of(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE event SET lines=?", (damage,))
    db.close()
    with pytest.raises(JournalError, match="holds something unreadable"):
        Journal(path).events("last")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE mine (x)")
    db.commit()
    db.close()
    with pytest.raises(JournalFormatError, match="no journal of arriero"):
        Journal(path).sessions()
    assert result_of(path).stop_reason == "error"


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = result_of(tmp_path / "file" / "journal.db")
    assert result.stop_reason == "error"
    assert "cannot be opened" in result.error


def test_no_effect_starts_once_the_journal_is_full(tmp_path: Path) -> None:
    acted: list[int] = []

    @tool(effect="once")
    async def act() -> str:
        """Act."""
        acted.append(len(acted))
        return os.urandom(60_000).hex()

    journal = Journal(tmp_path / "journal.db", max_bytes=400_000)
    model = FunctionModel(lambda prompt: CALL)
    with Agent(model, tools=[act], journal=journal, guards=None) as agent:
        conversation = agent.conversation()
        result = agent.run_sync("Go", conversation=conversation)
        assert result.stop_reason == "error"
        assert "is full; make room" in (result.error or "")
        assert 1 <= len(acted) < 8
        kept = [call for call in journal.calls(result.run_id) if call.state == "finished"]
        assert len(acted) - len(kept) <= 1
        # With room again the conversation is kept whole, what could not be written before included.
        journal.close()
        roomy = Journal(tmp_path / "journal.db")
        agent.journal, model.function = roomy, lambda prompt: "Fine.<|eot_id|>"
        assert agent.run_sync("And now?", conversation=conversation).stop_reason == "final"
        assert roomy.conversation(conversation.id).messages == conversation.messages
        assert roomy.conversation(conversation.id).tokens == conversation.tokens
        assert len(roomy.conversation(conversation.id).turns) == 2
        roomy.close()


def test_a_clock_that_goes_backwards_changes_no_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for question in ("first", "second"):
        with Agent(ScriptedModel(["x<|eot_id|>"]), session="s", journal=path) as agent:
            agent.run_sync(question)
        db = sqlite3.connect(path)
        with db:
            # As if what came first had been written in a later year.
            db.execute("UPDATE run SET started = started + 1e9")
            db.execute("UPDATE entry SET time = time + 1e9")
        db.close()
    journal = Journal(path)
    assert [run.prompt for run in journal.runs()] == ["second", "first"]
    assert [m.content for m in journal.conversation("s").messages if m.role == "user"] == ["first", "second"]
    moments = [(9e9, TextDelta(run_id="r", seq=1, text="a")), (1.0, TextDelta(run_id="r", seq=2, text="b"))]
    assert [event["text"] for _, event in unpacked_events(packed_events(moments))] == ["ab"]


def test_text_that_has_no_utf8_is_kept_with_a_mark(tmp_path: Path) -> None:
    @tool(effect="once")
    async def act() -> str:
        """Act."""
        return "half \udc80 a character"

    journal = Journal(tmp_path / "journal.db")
    result = result_of(journal.path, CALL, "Done.<|eot_id|>", tools=[act])
    assert result.stop_reason == "final"
    assert journal.calls("last")[0].answer == "half � a character"
    assert journal.events("last")


def test_one_job_that_fails_does_not_take_others_along(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "journal.db")

    def fails(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO indexed VALUES (7)")
        raise ValueError("no")

    good = [writer.submit(lambda db: db.execute("INSERT INTO indexed VALUES (1)").rowcount) for _ in range(3)]
    bad = writer.submit(fails)
    good += [writer.submit(lambda db: db.execute("SELECT count(*) FROM indexed").fetchone()[0])]
    assert [one.result() for one in good] == [1, 1, 1, 4]
    with pytest.raises(JournalError, match="cannot hold this: ValueError: no"):
        bad.result()
    writer.close()
    assert writer.submit(lambda db: 5).result() == 5
    writer.close()


def test_the_event_loop_goes_on_while_another_process_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    result_of(path)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")

    async def work() -> tuple[int, Any]:
        beats = 0
        async with Agent(ScriptedModel(["Hi.<|eot_id|>"]), journal=path) as agent:
            run = asyncio.create_task(agent.run("Hello"))
            while beats < 20:
                await asyncio.sleep(0.01)
                beats += 1
            assert not run.done()
            db.execute("COMMIT")
            return beats, await run

    beats, result = asyncio.run(work())
    db.close()
    assert (beats, result.stop_reason) == (20, "final")
