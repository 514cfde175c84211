"""Ask the bundled model something that it works out with the sandboxed Python tool.

Run it: python examples/quickstart.py ["your question"]
"""

import sys

from arriero import Agent, LlamaCppModel, PythonTool, Sampling, bundled_model

question = sys.argv[1] if len(sys.argv) > 1 else "What is 23 * 47?"

with Agent(LlamaCppModel(bundled_model()), tools=[PythonTool()], sampling=Sampling(temperature=0)) as agent:
    result = agent.run_sync(question)

print(result.output)
