"""Give the model a Python function of your own.

The schema that the model sees comes from the type hints and the docstring; arguments are checked before the call.

Run it: python examples/own_function.py
"""

from arriero import Agent, LlamaCppModel, Sampling, bundled_model, tool

STOCK = {"Hammer": 12, "Chisel": 3}


@tool(effect="read")
def count_stock(item: str) -> int:
    """Count the stock.

    Args:
        item: name of the article
    """
    return STOCK.get(item, 0)


with Agent(LlamaCppModel(bundled_model()), tools=[count_stock], sampling=Sampling(temperature=0)) as agent:
    result = agent.run_sync("Count the stock with item Chisel")

for message in result.new_messages:
    print(f"{message.role}: {message.content or [call.arguments for call in message.tool_calls]}")
