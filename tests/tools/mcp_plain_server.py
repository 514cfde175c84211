"""An MCP server on standard input and output with nothing but the standard library: quick to start, and badly
behaved on request. The argument names the way; calls name others."""

import json
import os
import subprocess
import sys
import time
from typing import Any


def tool(name: str, **properties: Any) -> dict[str, Any]:
    return {"name": name, "description": name, "inputSchema": {"type": "object", "properties": properties}}


NAMES = (
    "echo",
    "die",
    "hang",
    "flood",
    "noise",
    "lie",
    "environment",
    "pid",
    "child",
    "change",
    "error",
    "refuse",
)
TOOLS = [tool(name, text={"type": "string"}) for name in NAMES]
TOOLS[0]["annotations"] = {"readOnlyHint": True}


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": content}], **more}


def answer(name: str, said: str) -> dict[str, Any]:
    match name:
        case "die":
            print("fatal: out of coffee", file=sys.stderr, flush=True)
            os._exit(3)
        case "hang":
            time.sleep(600)
        case "flood":
            return text("x" * 5_000_000)
        case "noise":
            for _ in range(20_000):
                print("Traceback: this is not a message", flush=False)
                print("nor is this " * 20, file=sys.stderr, flush=False)
            print("{not json}")
        case "lie":
            return {"content": "no list", "isError": "perhaps"}
        case "environment":
            return text(json.dumps(dict(os.environ)))
        case "pid":
            return text(str(os.getpid()))
        case "child":
            child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
            return text(f"{os.getpid()} {child.pid}")
        case "change":
            del TOOLS[0]
            for _ in range(1000):
                print(json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
        case "error":
            return text("no such city", isError=True)
    return text(said)


def serve(way: str) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        parameters = request.get("params") or {}
        match request["method"]:
            case "initialize":
                reply["result"] = {
                    "protocolVersion": parameters["protocolVersion"],
                    "capabilities": {"tools": {"listChanged": True}},
                    "serverInfo": {"name": "plain", "version": "1"},
                }
            case "tools/list":
                more = {"nextCursor": "again"} if way == "endless list" else {}
                reply["result"] = {"tools": TOOLS, **more}
            case "tools/call" if parameters["name"] != "refuse":
                said = (parameters.get("arguments") or {}).get("text", "")
                reply["result"] = answer(parameters["name"], said)
            case _:
                reply["error"] = {"code": -32601, "message": "there is no such method"}
        print(json.dumps(reply), flush=True)


def main(way: str = "", marker: str = "") -> None:
    if marker:
        with open(marker, "a") as file:
            file.write("started\n")
    match way:
        case "silent":
            time.sleep(600)
        case "dead":
            print("cannot find my files", file=sys.stderr, flush=True)
            sys.exit(1)
        case "changes":
            with open(marker) as file:
                if len(file.readlines()) > 1:
                    del TOOLS[0]
            serve(way)
        case "stays":
            serve(way)
            time.sleep(600)
        case "one long line":
            while True:
                sys.stdout.write("{" * 1_000_000)
        case _:
            serve(way)


if __name__ == "__main__":
    main(*sys.argv[1:])
