"""The loop that costs of the loop and the screens are told in: JSON, a dictionary of tools, a list of messages."""

import json
import time

HAND_US = 3.0
"""Microseconds a step of it takes on the machine that the goals are times on."""


def hand_us(steps: int = 5_000) -> float:
    """Microseconds a step of it takes here, now."""

    def echo(text: str) -> str:
        return "x" * 200 if text else ""

    tools, messages = {"echo": echo}, [{"role": "user", "content": "go"}]
    start = time.process_time()
    for number in range(steps):
        written = json.dumps({"name": "echo", "parameters": {"text": f"t{number}"}})
        messages.append({"role": "assistant", "content": written})
        call = json.loads(written)
        answer = json.dumps(tools[call["name"]](**call["parameters"]))
        messages.append({"role": "ipython", "content": answer})
    return (time.process_time() - start) / steps * 1e6
