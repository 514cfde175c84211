"""A conversation that goes on after the program has ended, and a branch of it.

Run it: python examples/sessions.py
"""

import tempfile
from pathlib import Path

from arriero import Agent, Journal, ScriptedModel, Session

journal = Journal(Path(tempfile.mkdtemp()) / "journal.db")  # leave the path out to keep it among your data


def ask(session: str, question: str, answer: str) -> None:
    """One program's life: open the session, ask, end. The script stands in for a real model."""
    with Agent(ScriptedModel([f"{answer}<|eot_id|>"]), session=Session(session, journal=journal)) as agent:
        print(f"{session}: {question} → {agent.run_sync(question).output}")


ask("trip", "Where is Bergen?", "On the west coast of Norway.")
ask("trip", "How do I get there from Oslo?", "By train, in about seven hours.")
journal.fork("trip", at=2, name="flight")  # entry 2: the first answer
ask("flight", "Is there an airport?", "Yes, Flesland.")

for name in ("trip", "flight"):
    said = [message.content for message in journal.conversation(name).messages if message.role == "user"]
    print(name, said)
print("found:", journal.search("train")[0].excerpt)
journal.close()
