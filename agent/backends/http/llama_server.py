"""llama-server, and llamafile from 0.10 on, which is one: token ids in, token ids out.

Request and answer are those of ``tools/server`` in llama.cpp as of October 2026 (commit 0c1e570).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..base import ModelError, TopToken
from .server import About, Ask, Logprob, Piece, Server, finite, number, refused, token_ids, told_error

# Others would be left out of the text.
_PRESERVED = ["<|python_tag|>", "<|eom_id|>", "<|eot_id|>"]


class LlamaServer(Server):
    """``POST /completion`` with an array of token ids: nothing in it is parsed, and no token is added."""

    kind = "llama-server"
    path = "/completion"
    whole_characters = True

    async def about(self) -> About:
        answer = await self.wire.get("/props")
        if answer.status != 200:
            raise refused(self.wire.host, answer)
        try:
            props = answer.json()
        except ValueError:
            props = None
        if not isinstance(props, dict) or "default_generation_settings" not in props:
            raise ModelError(f"{self.wire.host} is no llama-server; name the kind of server that it is")
        settings = props["default_generation_settings"]
        path = props.get("model_alias") or props.get("model_path") or ""
        name = str(path).replace("\\", "/").rpartition("/")[2].removesuffix(".gguf")
        return About(
            name=name or self.kind,
            context_length=number(settings.get("n_ctx")) if isinstance(settings, dict) else 0,
            slots=number(props.get("total_slots")),
            template=str(props.get("chat_template") or ""),
            build=str(props.get("build_info") or ""),
        )

    def body(self, ask: Ask) -> dict[str, Any]:
        sampling = ask.sampling
        body = {
            "prompt": list(ask.prompt),
            "n_predict": -1 if ask.max_tokens is None else ask.max_tokens,
            "stream": True,
            "return_tokens": True,
            "return_progress": True,  # known since September 2025
            "cache_prompt": True,
            "id_slot": -1 if ask.slot is None else ask.slot,
            "preserved_tokens": _PRESERVED,
            # All that a server may have been started with is named, so that ours holds.
            "samplers": ["top_k", "top_p", "min_p", "temperature"],
            "temperature": max(0.0, sampling.temperature),
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "dry_multiplier": 0.0,
            "logit_bias": [],
            "stop": [],
            "ignore_eos": False,
            "seed": -1 if sampling.seed is None else sampling.seed % 2**32,
            "n_probs": 0 if sampling.logprobs is None else max(1, sampling.logprobs),
        }
        return body if ask.schema is None else {**body, "json_schema": dict(ask.schema)}

    def read(self, event: Mapping[str, Any]) -> Piece:
        if error := told_error(self.wire.host, event):
            raise error
        content = event.get("content")
        return Piece(
            ids=token_ids(event.get("tokens", []), self.wire.host),
            text=content if isinstance(content, str) else "",
            logprobs=_logprobs(event.get("completion_probabilities")),
            end=_end(event),
            read=_read(event.get("prompt_progress")),
        )

    async def special_ids(self, names: Sequence[str]) -> dict[str, int]:
        ids = await self._tokenize(list(names), parse_special=True)
        if len(ids) != len(names):
            raise ModelError(f"{self.wire.host} runs no Llama 3 model: its vocabulary lacks a control token")
        return dict(zip(names, ids, strict=True))

    async def encode(self, texts: Sequence[str]) -> list[int]:
        return await self._tokenize(list(texts), parse_special=False)

    async def _tokenize(self, content: list[str], *, parse_special: bool) -> list[int]:
        asked = {"content": content, "add_special": False, "parse_special": parse_special}
        answer = await self.wire.post("/tokenize", asked)
        if answer.status != 200:
            raise refused(self.wire.host, answer)
        try:
            value = answer.json()
        except ValueError:
            value = None
        return list(token_ids(value.get("tokens") if isinstance(value, dict) else None, self.wire.host))


def _end(event: Mapping[str, Any]) -> Any:
    if event.get("stop") is not True:
        return None
    kind = event.get("stop_type")
    if kind is None:  # before 2025
        kind = "limit" if event.get("stopped_limit") else "eos"
    return "length" if kind == "limit" else "stop"


def _read(told: Any) -> int | None:
    return number(told.get("processed")) if isinstance(told, dict) else None


def _logprobs(value: Any) -> tuple[Logprob, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(_logprob(item) for item in value if isinstance(item, dict))


def _logprob(item: Mapping[str, Any]) -> Logprob:
    told = item.get("top_logprobs")
    top = tuple(
        TopToken(number(one.get("id")), str(one.get("token", "")), finite(one.get("logprob")))
        for one in (told if isinstance(told, list) else [])
        if isinstance(one, dict)
    )
    return Logprob(finite(item.get("logprob")), top)
