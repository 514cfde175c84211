"""The other end of an IsolatedModel: a process that runs one model for the process that started it.

It reads one JSON object a line from standard input and writes one a line to what was its standard output:

- first ``{"load": path, "settings": {...}}``; answered by ``{"progress": fraction}`` and then ``{"ready": {...}}``
- ``{"generate": id, "tokens", "sampling", "max_tokens", "constraint"}``; answered by ``{"id", "token"}`` for each
  token and ``{"id", "end": null}``
- ``{"prefill": id, "tokens"}`` and ``{"tokenize": id, "segments"}``; answered by ``{"id", "end": result}``
- ``{"stats": id}`` and ``{"progress": id}``, answered the same way, and ``{"cancel": id}``, which has no answer

Anything can be answered by ``{"id", "error": message, "kind": class}``; while loading the id is null. The process
ends when its standard input does.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import asdict, astuple
from functools import partial
from typing import Any, TextIO

from arriero.prompts import Segment, ToolSpec

from .base import Constraint, ModelError, Sampling
from .llama_cpp import LlamaCppModel


def main() -> None:
    """Serve one model until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that the user sees
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not end up between the lines
    lock = threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        with lock:
            lines.write(json.dumps(message) + "\n")
            lines.flush()

    try:
        model = _load(json.loads(sys.stdin.readline()), tell)
    except (ModelError, TypeError, ValueError) as error:
        tell({"id": None, "error": str(error), "kind": type(error).__name__})
        return
    try:
        asyncio.run(_Server(model, tell).serve(sys.stdin))
    except BrokenPipeError:  # who asked is gone
        pass
    finally:
        model.engine.close()


def _load(request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> LlamaCppModel:
    model = LlamaCppModel(
        request["load"], on_progress=lambda fraction: tell({"progress": fraction}), **request["settings"]
    )
    ready = {"length": model.context_length, "threads": model.threads, "placement": asdict(model.placement)}
    tell({"ready": ready})
    return model


class _Server:
    """Answers requests, each in a task of its own."""

    def __init__(self, model: LlamaCppModel, tell: Callable[[dict[str, Any]], None]) -> None:
        self._model = model
        self._tell = tell
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def serve(self, stdin: TextIO) -> None:
        while line := await asyncio.to_thread(stdin.readline):
            request = json.loads(line)
            if "cancel" in request:
                if task := self._tasks.get(request["cancel"]):
                    task.cancel()
                continue
            op = next(iter(request))
            task = asyncio.create_task(self._answer(request[op], getattr(self, f"_{op}")(request)))
            self._tasks[request[op]] = task
            task.add_done_callback(partial(self._forget, request[op]))

    def _forget(self, number: int, _task: "asyncio.Task[None]") -> None:
        self._tasks.pop(number, None)

    async def _answer(self, number: int, work: Coroutine[Any, Any, Any]) -> None:
        try:
            self._tell({"id": number, "end": await work})
        except ModelError as error:
            self._tell({"id": number, "error": str(error), "kind": type(error).__name__})

    async def _generate(self, request: dict[str, Any]) -> None:
        constraint = request["constraint"]
        if constraint is not None:
            tools = tuple(ToolSpec.model_validate(spec) for spec in constraint["tools"])
            constraint = Constraint(tools, constraint["answer"], constraint["required"])
        stream = self._model.generate(
            request["tokens"],
            Sampling(**request["sampling"]),
            max_tokens=request["max_tokens"],
            constraint=constraint,
        )
        try:
            async for token in stream:
                row = [token.id, token.text, token.stop, token.logprob, token.top]
                self._tell({"id": request["generate"], "token": row})
        finally:
            await stream.aclose()

    async def _prefill(self, request: dict[str, Any]) -> None:
        await self._model.prefill(request["tokens"])

    async def _tokenize(self, request: dict[str, Any]) -> list[int]:
        return self._model.tokenize([Segment(text, special=special) for text, special in request["segments"]])

    async def _stats(self, _request: dict[str, Any]) -> dict[str, int]:
        return asdict(self._model.stats)

    async def _progress(self, _request: dict[str, Any]) -> tuple[int, ...] | None:
        told = self._model.progress()
        return None if told is None else astuple(told)
