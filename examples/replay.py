"""A recorded run as a test: the model's words and the tools' answers come from the journal.

Run it: python examples/replay.py
"""

import tempfile
from pathlib import Path

from arriero import Agent, Journal, ReplayModel, ScriptedModel, tool


@tool(effect="read")
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: rain"


journal = Journal(Path(tempfile.mkdtemp()) / "journal.db")
script = ['{"name": "weather", "parameters": {"city": "Bergen"}}<|eom_id|>', "It rains.<|eot_id|>"]
with Agent(ScriptedModel(script), tools=[weather], journal=journal) as agent:
    first = agent.run_sync("How is Bergen?")

model = ReplayModel(journal.generations("last"))
with Agent(model, tools=[weather]) as agent:
    again = agent.run_sync("How is Bergen?")
model.assert_complete()
assert again.output == first.output
print(again.output)
journal.close()
