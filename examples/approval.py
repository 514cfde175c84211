"""A call that a person must allow, when the person is not there: the run waits on disk and goes on elsewhere.

Run it: python examples/approval.py
"""

from arriero import Agent, ApprovalRules, Conversation, ScriptedModel, tool


@tool(approval=True)
def pay(sum: int, to: str) -> str:  # noqa: A002
    """Pay somebody."""
    return f"{sum} paid to {to}"


CALL = '{"name": "pay", "parameters": {"sum": 700, "to": "Ana"}}<|eom_id|>'
RULES = ApprovalRules({"pay(sum=[0-9], *": "allow", "pay(sum=[0-9][0-9], *": "allow"})  # up to 99

with Agent(ScriptedModel([CALL]), tools=[pay], approve=RULES) as agent:
    conversation = agent.conversation()
    result = agent.run_sync("Pay Ana her 700", conversation=conversation)
print(result.stop_reason)  # approval
on_disk = conversation.dump()

# Tomorrow, in another process:
model = ScriptedModel(["Ana has her 700.<|eot_id|>"])
with Agent(model, tools=[pay], approve=RULES) as agent:
    conversation = Conversation.load(on_disk, model)
    assert conversation.pending is not None
    waiting = conversation.pending.to_decide[0]
    print(waiting.name, waiting.arguments)
    print(agent.run_sync(conversation=conversation, decisions={waiting.id: True}).output)
