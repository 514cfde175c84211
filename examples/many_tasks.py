"""Many tasks with one agent, four at a time, in the order in which they were given.

Run it: python examples/many_tasks.py
"""

import asyncio

from arriero import Agent, FunctionModel


async def answer(prompt: str) -> str:
    """Stands in for a real model: says how long the question is."""
    await asyncio.sleep(0.01)
    question = prompt.rpartition("user<|end_header_id|>\n\n")[2].partition("<|eot_id|>")[0]
    return f"{len(question)} characters<|eot_id|>"


async def main() -> None:
    """Results come as soon as they and those before them are there."""
    questions = [f"Question {'!' * number}" for number in range(6)]
    async with Agent(FunctionModel(answer)) as agent:
        async for result in agent.map(questions, concurrency=4):
            print(result.output)


asyncio.run(main())
