"""Watch a run: every event of a conversation of two turns, one JSON object a line.

Run it: python examples/events.py
"""

from arriero import Agent, LlamaCppModel, PythonTool, Sampling, bundled_model

with Agent(LlamaCppModel(bundled_model()), tools=[PythonTool()], sampling=Sampling(temperature=0)) as agent:
    conversation = agent.conversation()
    for question in ("Is 97 prime?", "thanks"):
        for event in agent.stream_sync(question, conversation=conversation):
            print(event.model_dump_json())
