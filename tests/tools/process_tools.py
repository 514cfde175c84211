"""Tools that run in processes: another interpreter imports this module to find them."""

import os
import subprocess
import sys
import time
from typing import Any

from arriero.tools import Artifact, ModelRetry, ToolFailed, tool

CALLS = 0


@tool(process=True)
async def work(what: str, a: int = 1) -> Any:
    """Add one, give a picture, or say which process this is and how often it was asked for anything."""
    global CALLS
    CALLS += 1
    match what:
        case "sum":
            return a + 1
        case "picture":
            return ["a picture", Artifact("a.png", "image/png", b"\x89PNG" * 1000)]
    return [os.getpid(), CALLS]


@tool(process=True, timeout=2)
def hang(path: str) -> None:
    """Start another process, leave the numbers of both in a file, and never return."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    with open(f"{path}.new", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(f"{path}.new", path)
    while True:
        time.sleep(60)


@tool(process=True)
def fail(how: str) -> Any:
    """Fail in one of many ways."""
    match how:
        case "value":
            raise ValueError("no such city")
        case "retry":
            raise ModelRetry("use another name")
        case "final":
            raise ToolFailed("it is closed")
        case "exit":
            sys.exit(3)
        case "end":
            os._exit(3)
        case "crash":
            os.kill(os.getpid(), 11)
        case "generator":
            return iter(int, 1)
        case "print":
            print("this is not for the user")
    return how
