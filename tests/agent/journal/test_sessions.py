"""Sessions: going on, forking, taking back, finding, deleting, owning."""

import asyncio
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arriero.agent import Agent, ConfigError
from arriero.agent.backends import FunctionModel, ScriptedModel
from arriero.agent.journal import Journal, JournalError, Session, SessionBusy, UnknownSession
from arriero.prompts import ToolSpec
from arriero.tools import Tool, ToolContext, ToolResult, tool

CALL = '{"name": "add", "parameters": {"a": 1, "b": 2}}<|eom_id|>'


@tool(effect="read")
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


class Add(Tool):
    spec = ToolSpec(
        name="add",
        description="Add",
        parameters={"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    )

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult(str(sum(arguments.values())))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "deep" / "journal.db")
    yield journal
    journal.close()


def said(journal: Journal, name: str) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in journal.conversation(name).messages if m.role != "system"]


def ask(journal: Journal, name: str | None, *answers: str, question: str = "What is 1 + 2?", tools=(add,)):
    model = ScriptedModel(answers)
    with Agent(model, tools=tools, session=Session(name, journal=journal)) as agent:
        return agent.run_sync(question), model


def test_a_session_goes_on_in_another_agent(journal: Journal) -> None:
    ask(journal, "sums", CALL, "3.<|eot_id|>")
    result, model = ask(journal, "sums", "Yes.<|eot_id|>", question="Sure?")
    assert result.output == "Yes."
    assert "1 + 2" in model.prompts[0]
    assert '{"name": "add"' in model.prompts[0]
    assert said(journal, "sums") == [
        ("user", "What is 1 + 2?"),
        ("assistant", ""),
        ("ipython", "3"),
        ("assistant", "3."),
        ("user", "Sure?"),
        ("assistant", "Yes."),
    ]
    (info,) = journal.sessions()
    assert (info.name, info.title, info.runs, info.interrupted) == ("sums", "What is 1 + 2?", 2, False)


def test_tools_that_were_called_hear_that_a_session_goes_on(journal: Journal) -> None:
    class Remembers(Add):
        def resumed(self, conversation_id: str) -> None:
            heard.append(conversation_id)

    class NeverCalled(Remembers):
        spec = ToolSpec(name="other", description="Something else")

    heard: list[str] = []
    ask(journal, "sums", CALL, "3.<|eot_id|>", tools=(Remembers(), NeverCalled()))
    assert heard == []
    ask(journal, "sums", "Yes.<|eot_id|>", tools=(Remembers(), NeverCalled()))
    assert heard == [journal.sessions()[0].id]


def test_the_tokens_are_the_same_where_the_weights_are(journal: Journal) -> None:
    model = ScriptedModel([CALL, "3.<|eot_id|>"])
    model.fingerprint = "w"  # type: ignore[attr-defined]
    with Agent(model, tools=[add], session=Session("sums", journal=journal)) as agent:
        agent.run_sync("What is 1 + 2?")
        kept = agent.session.conversation  # type: ignore[union-attr]
    with Agent(model, tools=[add], session=Session("sums", journal=journal)) as agent:
        conversation = agent.session.open(agent)  # type: ignore[union-attr]
        assert conversation.tokens == kept.tokens
        assert conversation.messages == kept.messages
        assert [t.tokens for t in conversation.turns] == [t.tokens for t in kept.turns]
        assert conversation.evaluated == 0


def test_other_tools_render_the_transcript_again(journal: Journal) -> None:
    ask(journal, "sums", "3.<|eot_id|>", tools=())
    _, model = ask(journal, "sums", "Yes.<|eot_id|>", question="Sure?")
    assert '"name": "add"' in model.prompts[0]
    assert "What is 1 + 2?" in model.prompts[0]


def test_the_file_is_its_owners_only(journal: Journal) -> None:
    ask(journal, "a", "x<|eot_id|>")
    assert stat.S_IMODE(os.stat(journal.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(journal.path.parent).st_mode) == 0o700
    journal.close()
    os.chmod(journal.path, 0o644)
    journal.sessions()
    assert stat.S_IMODE(os.stat(journal.path).st_mode) == 0o600


def test_fork_at_any_entry_shares_what_came_before(journal: Journal) -> None:
    ask(journal, "a", "one<|eot_id|>", question="first")
    ask(journal, "a", "two<|eot_id|>", question="second")
    assert [entry.kind for entry in journal.entries("a")] == ["turn", "step", "turn", "step"]
    fork = journal.fork("a", at=2, name="b")
    assert said(journal, "b") == [("user", "first"), ("assistant", "one")]
    ask(journal, "b", "other<|eot_id|>", question="another")
    assert said(journal, "b")[2:] == [("user", "another"), ("assistant", "other")]
    assert said(journal, "a")[2:] == [("user", "second"), ("assistant", "two")]
    assert fork.forked_from == journal.session("a").id
    with pytest.raises(UnknownSession, match="entries 1 to 4, and no 9"):
        journal.fork("a", at=9)


def test_a_fork_comes_before_what_it_was_made_of(journal: Journal) -> None:
    for name in ("old", "a"):
        ask(journal, name, "one<|eot_id|>", question="first")
    journal.fork("a", name="b")
    assert [info.name for info in journal.sessions()] == ["b", "a", "old"]
    ask(journal, "a", "two<|eot_id|>", question="second")
    assert [info.name for info in journal.sessions()] == ["a", "b", "old"]


def test_undo_takes_back_a_turn_and_goes_on(journal: Journal) -> None:
    ask(journal, "a", "one<|eot_id|>", question="first")
    ask(journal, "a", "two<|eot_id|>", question="second")
    assert journal.undo("a")
    assert said(journal, "a") == [("user", "first"), ("assistant", "one")]
    ask(journal, "a", "three<|eot_id|>", question="third")
    assert said(journal, "a")[2:] == [("user", "third"), ("assistant", "three")]
    assert journal.undo("a")
    assert journal.undo("a")
    assert not journal.undo("a")


@pytest.mark.parametrize("kept_at_once", [True, False])
def test_undo_of_an_open_session(journal: Journal, kept_at_once: bool) -> None:
    model = ScriptedModel(["one<|eot_id|>", "two<|eot_id|>", "three<|eot_id|>"])
    with Agent(model, session=Session("a", journal=journal)) as agent:
        agent.run_sync("first")
        agent.run_sync("second")
        session = agent.session
        assert session is not None
        assert session.conversation is not None
        assert (session if kept_at_once else session.conversation).undo()
        agent.run_sync("third")
    assert [text for _, text in said(journal, "a")] == ["first", "one", "third", "three"]
    assert len(journal.conversation("a").turns) == 2


def test_one_owner_a_session(journal: Journal) -> None:
    with Agent(ScriptedModel(["x<|eot_id|>"]), session=Session("a", journal=journal)) as agent:
        agent.run_sync("hi")
        other = Agent(ScriptedModel(["y<|eot_id|>"]), session=Session("a", journal=journal))
        with other, pytest.raises(SessionBusy, match="in use by another agent of this program"):
            other.run_sync("hi")
        with pytest.raises(SessionBusy):
            journal.delete("a")
    result, _ = ask(journal, "a", "z<|eot_id|>")
    assert result.output == "z"
    assert list(journal.path.with_name("journal.db-locks").iterdir()) == []


def test_another_process_is_told_who_has_the_session(journal: Journal) -> None:
    ask(journal, "a", "x<|eot_id|>")
    session = journal.session("a").id
    journal.close()
    program = (
        "import sys\nfrom pathlib import Path\nfrom arriero.agent.journal import Journal\n"
        "Journal(Path(sys.argv[1])).lock(sys.argv[2])\nprint(1, flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(journal.path), session]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(SessionBusy, match=f"in use by process {other.pid}; wait for it to end, or fork"):
            ask(journal, "a", "y<|eot_id|>")
        other.stdin.close()
    assert ask(journal, "a", "z<|eot_id|>")[0].output == "z"


def test_names(journal: Journal) -> None:
    ask(journal, None, "x<|eot_id|>")
    ask(journal, "b", "x<|eot_id|>")
    unnamed = next(info for info in journal.sessions() if info.name is None)
    assert journal.session("last").name == "b"
    assert journal.rename(unnamed.id[:8], "my work").name == "my work"
    for bad in ("b", "", "last", "x\ny", "x" * 101):
        with pytest.raises(JournalError, match=r"already|is no name"):
            journal.rename("my work", bad)
    with pytest.raises(UnknownSession, match="there is no session 'zzzz'; arriero sessions list"):
        journal.session("zzzz")
    with pytest.raises(UnknownSession):
        Session("last", journal=Journal(journal.path.with_name("empty.db"))).info  # noqa: B018


def test_search_finds_words_whatever_they_look_like(journal: Journal) -> None:
    ask(journal, "a", "The mule is brown.<|eot_id|>", question="What colour is the mule?")
    ask(journal, "b", "Not a beast.<|eot_id|>", question='Is a "train" a beast?')
    hits = journal.search("mule")
    assert {(hit.session.name, hit.role) for hit in hits} == {("a", "user"), ("a", "assistant")}
    assert "[mule]" in hits[0].excerpt
    assert hits[0].number in (1, 2)
    assert journal.search('"train" beast')[0].session.name == "b"
    assert journal.search('" OR * NEAR(') == []
    assert journal.search(" ") == []
    ask(journal, "a", "Later: a llama.<|eot_id|>", question="And then?")
    assert journal.search("llama")[0].session.name == "a"


def test_delete_leaves_no_trace_in_the_file(journal: Journal) -> None:
    ask(journal, "a", "The secret is xyzzy-plugh.<|eot_id|>", question="Tell me xyzzy-plugh")
    ask(journal, "b", "Nothing.<|eot_id|>", question="Else?")
    journal.search("xyzzy")
    journal.delete("a")
    assert [info.name for info in journal.sessions()] == ["b"]
    assert journal.search("xyzzy") == []
    assert said(journal, "b") == [("user", "Else?"), ("assistant", "Nothing.")]
    journal.close()
    for file in journal.path.parent.glob("journal.db*"):
        if file.is_file():
            assert b"xyzzy" not in file.read_bytes(), file


def test_delete_leaves_what_a_fork_shows(journal: Journal) -> None:
    ask(journal, "a", "one<|eot_id|>", question="first")
    ask(journal, "a", "two<|eot_id|>", question="second")
    journal.fork("a", at=2, name="b")
    journal.delete("a")
    assert said(journal, "b") == [("user", "first"), ("assistant", "one")]
    journal.delete("b")
    assert journal.sessions() == []


def test_a_conversation_serves_one_run_at_a_time() -> None:
    go = threading.Event()

    async def slow(prompt: str) -> str:
        await asyncio.to_thread(go.wait, 30)
        return "x<|eot_id|>"

    with Agent(FunctionModel(slow)) as agent:
        conversation = agent.conversation()
        events = agent.stream_sync("go", conversation=conversation)
        next(events)
        with pytest.raises(ConfigError, match="in a run already"):
            agent.run_sync("go", conversation=conversation)
        go.set()
        list(events)
        assert agent.run_sync("go", conversation=conversation).stop_reason == "final"
