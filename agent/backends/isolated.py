"""A GGUF model in a process of its own: what kills that process does not kill this one."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import arriero
from arriero.prompts import Segment

from .base import Constraint, ContextOverflow, ModelError, Progress, Sampling, Token, TopToken
from .devices import Placement
from .dialect import dialect_of
from .generation import EngineStats
from .gguf import GGUFInfo
from .grammar import available
from .llama_cpp import LlamaCppModel
from .mailbox import Mailbox

_ERRORS = {"ContextOverflow": ContextOverflow}
_START = "import sys; sys.path[:0] = {path!r}; from arriero.agent.backends.worker import main; main()"
_SECONDS_TO_TELL = 0.2  # how far it is; whoever asks has a screen to draw
_SECONDS_TO_END = 10  # a decode is aborted within milliseconds; what takes longer hangs
Receive = Callable[[dict[str, Any]], None]
P = ParamSpec("P")


def _with_settings_of(
    _other: Callable[Concatenate[LlamaCppModel, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate["IsolatedModel", P], None]]:
    """Says to type checkers that a constructor takes what another one takes, so that the names stand once."""
    return lambda constructor: constructor


class IsolatedModel:
    """Like LlamaCppModel and with its settings, but llama.cpp runs in a child process.

    llama.cpp ends its process where it finds something that cannot be, and so do drivers and the system when
    memory runs out. Here that is a ModelError, of what is running and of everything that follows. Each token
    costs about a tenth of a millisecond more. Raises ModelError.
    """

    @_with_settings_of(LlamaCppModel.__init__)
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        on_progress: Callable[[float], None] | None = None,
        **settings: Any,
    ) -> None:
        self.info = GGUFInfo.read(path)
        self.info.require_chat_model()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._numbers = itertools.count(1)
        self._receivers: dict[int, Receive] = {}
        self._failure: ModelError | None = None
        self._closed = False
        self._process = _start()
        weakref.finalize(self, _end, self._process)
        if settings.get("parked_folder") is not None:
            settings["parked_folder"] = str(settings["parked_folder"])
        self._send({"load": str(self.info.path.resolve()), "settings": settings})
        try:
            self._ready = self._await_load(on_progress)
        except BaseException:
            _end(self._process)
            if self._process.stdout:
                self._process.stdout.close()
            raise
        threading.Thread(target=_read, args=(weakref.ref(self), self._process), daemon=True).start()

    @property
    def name(self) -> str:
        """The model's own name, else the file's."""
        return self.info.name

    @property
    def dialect(self) -> str:
        """The wire form to use by default: what ``dialect_of`` reads from the file."""
        return dialect_of(self.info).name

    @property
    def context_length(self) -> int:
        """Tokens that one conversation may have."""
        return int(self._ready["length"])

    @property
    def constrains(self) -> bool:
        """Whether constraints are held to while sampling: where llguidance is installed, here as over there."""
        return available()

    @property
    def threads(self) -> int:
        """Processor threads that compute."""
        return int(self._ready["threads"])

    @property
    def placement(self) -> Placement:
        """How many layers went to GPUs, and why that many."""
        return Placement(**self._ready["placement"])

    @property
    def stats(self) -> EngineStats:
        """What the engine has counted so far. Raises ModelError."""
        return EngineStats(**self._call({"stats": next(self._numbers)}))

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    def progress(self) -> Progress | None:
        """As LlamaCppModel.progress; asks the child, for 0.2 s at most."""
        number = next(self._numbers)
        try:
            told = self._ask({"progress": number}).result(_SECONDS_TO_TELL)
        except (ModelError, TimeoutError):
            return None
        finally:
            self._forget(number, cancel=False)
        return None if told is None else Progress(*told)

    def tokenize(self, segments: Sequence[Segment]) -> list[int]:
        """As LlamaCppModel.tokenize; asks the child."""
        rows = [(segment.text, segment.special) for segment in segments]
        ids: list[int] = self._call({"tokenize": next(self._numbers), "segments": rows})
        return ids

    async def generate(
        self,
        tokens: Sequence[int],
        sampling: Sampling,
        *,
        max_tokens: int | None = None,
        constraint: Constraint | None = None,
    ) -> AsyncGenerator[Token, None]:
        """As LlamaCppModel.generate. Raises ContextOverflow, and ModelError also when the child has ended."""
        number = next(self._numbers)
        mailbox: Mailbox[Token] = Mailbox()

        def receive(message: dict[str, Any]) -> None:
            if "token" in message:
                token, text, stop, logprob, top = message["token"]
                mailbox.put(Token(token, text, stop, logprob, tuple(TopToken(*one) for one in top)))
            else:
                mailbox.put(_error(message) if "error" in message else None)

        request = {
            "generate": number,
            "tokens": list(tokens),
            "sampling": asdict(sampling),
            "max_tokens": max_tokens,
            "constraint": constraint and _constraint(constraint),
        }
        self._register(number, receive)
        ended = False
        try:
            await asyncio.to_thread(self._send, request)
            while isinstance(item := await mailbox.get(), Token):
                yield item
                if item.stop:
                    return
            ended = True
        finally:
            self._forget(number, cancel=not ended)
        if item is not None:
            raise item

    async def prefill(self, tokens: Sequence[int]) -> None:
        """As LlamaCppModel.prefill."""
        number = next(self._numbers)
        future = self._ask({"prefill": number, "tokens": list(tokens)})
        try:
            await asyncio.wrap_future(future)
        finally:
            self._forget(number, cancel=not future.done() or future.cancelled())

    async def aclose(self) -> None:
        """End the child; safe to call twice."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """The same for code that does not await."""
        self._closed = True
        _end(self._process)

    def _await_load(self, on_progress: Callable[[float], None] | None) -> dict[str, Any]:
        assert self._process.stdout
        for line in self._process.stdout:
            message = json.loads(line)
            if "ready" in message:
                ready: dict[str, Any] = message["ready"]
                return ready
            if "error" in message:
                raise _error(message)
            if on_progress:
                on_progress(message["progress"])
        raise _death(self._process)

    def _call(self, request: dict[str, Any]) -> Any:
        return self._ask(request).result()

    def _ask(self, request: dict[str, Any]) -> "Future[Any]":
        future: Future[Any] = Future()

        def receive(message: dict[str, Any]) -> None:
            if future.set_running_or_notify_cancel():
                if "error" in message:
                    future.set_exception(_error(message))
                else:
                    future.set_result(message["end"])

        self._register(next(iter(request.values())), receive)
        self._send(request)
        return future

    def _register(self, number: int, receive: Receive) -> None:
        with self._lock:
            if self._closed:
                raise ModelError("the model is closed")
            if self._failure:
                raise self._failure
            self._receivers[number] = receive

    def _forget(self, number: int, *, cancel: bool) -> None:
        with self._lock:
            known = self._receivers.pop(number, None) is not None
        if cancel and known:
            self._send({"cancel": number})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        try:
            with self._writing:
                self._process.stdin.write(json.dumps(message) + "\n")
                self._process.stdin.flush()
        except (OSError, ValueError):  # it has ended: the reader tells those who wait
            return

    def _receive(self, message: dict[str, Any]) -> None:
        with self._lock:
            receive = self._receivers.get(message["id"])
            if "token" not in message:
                self._receivers.pop(message["id"], None)
        if receive:
            self._hand(receive, message)

    def _fail(self, error: ModelError) -> None:
        with self._lock:
            self._failure = error
            left = list(self._receivers.values())
            self._receivers.clear()
        for receive in left:
            self._hand(receive, {"error": str(error)})

    def _hand(self, receive: Receive, message: dict[str, Any]) -> None:
        try:
            receive(message)
        except RuntimeError:  # the event loop that waited is closed
            return


def _start() -> "subprocess.Popen[str]":
    path = [str(Path(arriero.__file__).parents[1])]
    return subprocess.Popen(  # noqa: S603 -- this interpreter and our own module
        [sys.executable, "-P", "-c", _START.format(path=path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        # ggml would start a debugger on itself before it aborts, which takes seconds and tells nobody anything
        env={"GGML_NO_BACKTRACE": "1", **os.environ},
    )


def _end(process: "subprocess.Popen[str]") -> None:
    """Close its input, which ends it, and do not wait for ever."""
    try:
        if process.stdin:
            process.stdin.close()
    except OSError:
        pass
    try:
        process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(model: "weakref.ref[IsolatedModel]", process: "subprocess.Popen[str]") -> None:
    """Hand out what the child says, until it ends; without keeping the model alive."""
    assert process.stdout
    with process.stdout as lines:
        for line in lines:
            if (alive := model()) is None:
                return
            alive._receive(json.loads(line))
            del alive
    if alive := model():
        alive._fail(ModelError("the model is closed") if alive._closed else _death(process))


def _death(process: "subprocess.Popen[str]") -> ModelError:
    try:
        code = process.wait(_SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        return ModelError("the model's process closed its output")
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    return ModelError(f"the model's process {how}; load the model again")


def _error(message: dict[str, Any]) -> ModelError:
    return _ERRORS.get(message.get("kind", ""), ModelError)(message["error"])


def _constraint(constraint: Constraint) -> dict[str, Any]:
    tools = [spec.model_dump(mode="json") for spec in constraint.tools]
    answer = None if constraint.answer is None else dict(constraint.answer)
    return {"tools": tools, "answer": answer, "required": constraint.required}
