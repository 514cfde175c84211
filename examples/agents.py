"""An agent that asks another one, whose tokens and calls count against its own limits.

Run it: python examples/agents.py
"""

from arriero import Agent, Limits, ScriptedModel, tool


@tool(effect="read")
def population(city: str) -> int:
    """How many people live in a city."""
    return {"Oslo": 717_710, "Bergen": 291_940}[city]


researcher = Agent(
    ScriptedModel(['{"name": "population", "parameters": {"city": "Oslo"}}<|eom_id|>', "717,710.<|eot_id|>"]),
    instructions="You look things up.",
    tools=[population],
)
ASK = '{"name": "research", "parameters": {"task": "How many people live in Oslo?"}}<|eom_id|>'
writer = ScriptedModel([ASK, "Oslo has 717,710 inhabitants.<|eot_id|>"])
tools = [researcher.as_tool("research", "Looks up facts.")]
with Agent(writer, tools=tools, limits=Limits(max_tool_calls=10)) as agent:
    result = agent.run_sync("Write a sentence about Oslo")
print(result.output)
print(result.usage.tool_calls, "calls")
