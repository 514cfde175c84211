"""Ollama: text in, text out.

It reads control tokens out of any text that it is sent and tells no ids, so prompts are defused before they are
sent (see ``tokens``), and the end of a message cannot be told from the end of a turn. Written against Ollama's
``docs/api.md`` and ``server/routes.go`` as of 2026.
"""

from collections.abc import Mapping
from typing import Any

from ..base import ModelError
from .server import About, Ask, Piece, Server, number, refused, told_error

KEEP_ALIVE = "30m"
DEFAULT_CONTEXT = 16_384  # Ollama's own default of 4,096 is too short for tools


class Ollama(Server):
    """``POST /api/generate`` with ``raw``, so that Ollama applies no template of its own."""

    kind = "ollama"
    path = "/api/generate"
    token_ids = False
    lines = True

    def __init__(self, wire: Any, model: str = "", context: int | None = None) -> None:
        super().__init__(wire, model)
        self.context = context

    async def about(self) -> About:
        if not self.model:
            await self._choose()
        answer = await self.wire.post("/api/show", {"model": self.model})
        if answer.status != 200:
            raise refused(self.wire.host, answer)
        try:
            shown = answer.json()
            info = shown.get("model_info") or {}
            trained = number(info.get(f"{info.get('general.architecture')}.context_length"))
        except (ValueError, AttributeError):
            raise ModelError(f"{self.wire.host} does not describe its models as Ollama does") from None
        if self.context is None:
            self.context = min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
        return About(self.model, self.context, template=str(shown.get("template") or ""))

    def body(self, ask: Ask) -> dict[str, Any]:
        sampling = ask.sampling
        options: dict[str, Any] = {
            "num_ctx": self.context,
            "num_predict": -1 if ask.max_tokens is None else ask.max_tokens,
            "temperature": max(0.0, sampling.temperature),
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": 1.0,
            "stop": [],
        }
        if sampling.seed is not None:
            options["seed"] = sampling.seed % 2**31
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": ask.prompt,
            "raw": True,
            "stream": True,
            "keep_alive": KEEP_ALIVE,
            # Otherwise the front of a prompt that is too long is dropped without a word.
            "truncate": False,
            "shift": False,
            "options": options,
        }
        return body if ask.schema is None else {**body, "format": dict(ask.schema)}

    def read(self, event: Mapping[str, Any]) -> Piece:
        if error := told_error(self.wire.host, event):
            raise error
        text = event.get("response")
        ended = event.get("done") is True
        return Piece(
            text=text if isinstance(text, str) else "",
            end=None if not ended else "length" if event.get("done_reason") == "length" else "stop",
        )

    async def _choose(self) -> None:
        answer = await self.wire.get("/api/tags")
        if answer.status != 200:
            raise refused(self.wire.host, answer)
        try:
            names = [str(model["name"]) for model in answer.json()["models"]]
        except (ValueError, TypeError, KeyError):
            names = []
        if len(names) != 1:
            listed = ", ".join(names[:10]) or "it has none; ollama pull llama3.1:8b"
            raise ModelError(f"name the model of {self.wire.host} behind #: {listed}")
        self.model = names[0]
