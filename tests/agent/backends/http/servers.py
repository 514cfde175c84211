"""Model servers on 127.0.0.1 that speak as llama-server, vLLM and Ollama do, and fail as they do."""

import codecs
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from arriero.agent.backends.vocab import Vocab

MARKER = re.compile(r"(<\|[a-z_]+\|>)")

Handler = Callable[[str, Any], "Answer | None"]


@dataclass(frozen=True)
class Answer:
    """JSON, raw bytes, or a stream of chunks; ``breaks`` ends a stream without its end."""

    value: Any = None
    status: int = 200
    chunks: Iterator[str] | None = None
    kind: str = "application/json"
    breaks: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class ModelServer:
    """Serves ``answer(path, body)``; keeps what was asked, and notices clients that leave in a stream."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.keys: list[str | None] = []
        self.left = threading.Event()
        self.before: list[Answer] = []
        """Answers to the first requests to generate, before the scripted ones."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def asked_for(self, path: str) -> list[Any]:
        return [body for asked, body in self.asked if asked == path]

    def answer(self, path: str, body: Any) -> Answer | None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: ModelServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        owner = self.server.owner
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        owner.asked.append((self.path, body))
        owner.keys.append(self.headers.get("authorization"))
        answer = owner.answer(self.path, body) or Answer({"error": "not found"}, 404)
        self.close_connection = True
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Connection", "close")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunks is None:
            data = answer.value if isinstance(answer.value, bytes) else json.dumps(answer.value).encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for chunk in answer.chunks:
                data = chunk.encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            if not answer.breaks:
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            owner.left.set()

    def log_message(self, *args: Any) -> None:
        """Stay silent."""


def sse(*events: Any) -> Iterator[str]:
    for event in events:
        yield f"data: {json.dumps(event)}\n\n"


class LlamaServer(ModelServer):
    """As llama-server: streamed ids leave out all but the last of a character's tokens."""

    generate = "/completion"

    def __init__(self, vocab: Vocab, *answers: str, slots: int = 2, context: int = 4096) -> None:
        super().__init__()
        self.vocab, self.answers, self.slots, self.context = vocab, list(answers), slots, context
        self.parses_special = False

    def ids(self, text: str) -> list[int]:
        return [
            token
            for part in MARKER.split(text)
            for token in ([self.vocab.special(part)] if MARKER.fullmatch(part) else self.vocab.encode(part))
        ]

    def answer(self, path: str, body: Any) -> Answer | None:
        match path:
            case "/v1/models":
                return Answer({"object": "list", "data": [{"id": "tiny.gguf", "owned_by": "llamacpp"}]})
            case "/props":
                settings = {"n_ctx": self.context, "params": {"n_predict": -1}}
                return Answer(
                    {
                        "default_generation_settings": settings,
                        "total_slots": self.slots,
                        "model_path": "/models/Llama-3.1-8B-Instruct-Q4_K_M.gguf",
                        "chat_template": "{{ builtin_tools }}",
                        "build_info": "b6700-0c1e570",
                    }
                )
            case "/tokenize":
                parse = body["parse_special"] or self.parses_special
                encode = self.ids if parse else self.vocab.encode
                return Answer({"tokens": [token for text in body["content"] for token in encode(text)]})
            case self.generate:
                return self.before.pop(0) if self.before else self.stream(self.answers.pop(0))
        return None

    def stream(self, text: str, *, keep: int | None = None, logprobs: bool = False) -> Answer:
        events = list(self.events(text))
        if keep is not None:
            return Answer(chunks=sse(*events[:keep]), kind="text/event-stream", breaks=True)
        return Answer(chunks=sse(*events), kind="text/event-stream")

    def events(self, text: str) -> Iterator[dict[str, Any]]:
        held = b""
        for token in self.ids(text):
            piece = self.vocab.piece(token)
            held += piece
            try:
                content, held = held.decode(), b""
            except UnicodeDecodeError:
                continue
            yield {
                "index": 0, "content": content, "tokens": [token], "stop": False, "id_slot": 0,
                "tokens_predicted": 1, "tokens_evaluated": 9,
                "completion_probabilities": [
                    {"id": token, "token": content, "bytes": list(piece), "logprob": -0.25,
                     "top_logprobs": [{"id": token, "token": content, "bytes": [], "logprob": -0.25}]}
                ],
            }  # fmt: skip
        ended = MARKER.search(text[-20:]) is not None
        yield {
            "index": 0, "content": "", "tokens": [], "id_slot": 0, "stop": True, "model": "tiny",
            "tokens_predicted": 3, "tokens_evaluated": 9, "prompt": "…", "truncated": False,
            "stop_type": "eos" if ended else "limit", "stopping_word": "", "tokens_cached": 9,
            "timings": {"cache_n": 0, "prompt_n": 9},
        }  # fmt: skip


class Vllm(LlamaServer):
    """As vLLM: ids of everything, the stop token's text left out, and special parsing always on."""

    generate = "/v1/completions"

    def answer(self, path: str, body: Any) -> Answer | None:
        match path:
            case "/v1/models":
                card = {"id": "meta-llama/Llama-3.2-3B-Instruct", "object": "model", "owned_by": "vllm"}
                return Answer({"object": "list", "data": [{**card, "max_model_len": self.context}]})
            case "/tokenize":
                ids = self.ids(body["prompt"])
                return Answer({"count": len(ids), "max_model_len": self.context, "tokens": ids})
            case "/props":
                return None
        return super().answer(path, body)

    def stream(self, text: str, *, keep: int | None = None, logprobs: bool = False) -> Answer:
        events = list(self.events(text))[:keep]
        return Answer(
            chunks=sse(*events) if keep else iter([*sse(*events), "data: [DONE]\n\n"]),
            kind="text/event-stream",
            breaks=bool(keep),
        )

    def events(self, text: str) -> Iterator[dict[str, Any]]:
        ids = self.ids(text)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # half a character waits for its end
        for start in range(0, len(ids), 2):  # more than one token an event, as under load
            pair = ids[start : start + 2]
            stops = pair[-1] in (self.vocab.special("<|eot_id|>"), self.vocab.special("<|eom_id|>"))
            shown = b"".join(self.vocab.piece(token) for token in (pair[:-1] if stops else pair))
            yield {
                "id": "cmpl-1", "object": "text_completion", "model": "m",
                "choices": [
                    {"index": 0, "text": decoder.decode(shown), "token_ids": pair,
                     "logprobs": {"tokens": ["?"] * len(pair), "token_logprobs": [-0.5] * len(pair),
                                  "top_logprobs": [{"a": -0.5, "b": -2.0}] * len(pair), "text_offset": []},
                     "finish_reason": "stop" if stops else None, "stop_reason": None}
                ],
            }  # fmt: skip
        if not MARKER.search(text[-20:]):
            choice = {"index": 0, "text": "", "token_ids": [], "finish_reason": "length"}
            yield {"id": "cmpl-1", "choices": [choice]}
        yield {"id": "cmpl-1", "choices": [], "usage": {"prompt_tokens": 1}}


class Ollama(ModelServer):
    """As Ollama: lines of JSON, text only, no stop tokens."""

    def __init__(self, *answers: str, models: Sequence[str] = ("llama3.1:8b",)) -> None:
        super().__init__()
        self.answers, self.models = list(answers), models

    def answer(self, path: str, body: Any) -> Answer | None:
        match path:
            case "/v1/models":
                return Answer({"data": [{"id": name, "owned_by": "library"} for name in self.models]})
            case "/api/tags":
                return Answer({"models": [{"name": name, "size": 1} for name in self.models]})
            case "/api/show":
                if body["model"] not in self.models:
                    return Answer({"error": f"model '{body['model']}' not found"}, 404)
                info = {"general.architecture": "llama", "llama.context_length": 131072}
                return Answer({"template": "{{ .Prompt }}", "model_info": info})
            case "/api/generate":
                return self.before.pop(0) if self.before else self.stream(self.answers.pop(0))
        return None

    def stream(self, text: str, reason: str = "stop") -> Answer:
        words = re.findall(r"\S+\s*|\s+", text)
        events = [{"model": "m", "response": word, "done": False} for word in words]
        events.append({"model": "m", "response": "", "done": True, "done_reason": reason, "eval_count": 3})
        lines = (json.dumps(event) + "\n" for event in events)
        return Answer(chunks=lines, kind="application/x-ndjson")
