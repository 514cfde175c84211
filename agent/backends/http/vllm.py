"""vLLM's server: completions with token ids in and out.

Written against ``vllm/entrypoints/openai`` as of late 2026; ``return_token_ids`` came with vLLM 0.10.2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..base import ModelError, TopToken
from .server import About, Ask, Logprob, Piece, Server, finite, number, refused, token_ids, told_error


class Vllm(Server):
    """``POST /v1/completions`` with an array of token ids."""

    kind = "vllm"
    path = "/v1/completions"

    async def about(self) -> About:
        answer = await self.wire.get("/v1/models")
        if answer.status != 200:
            raise refused(self.wire.host, answer)
        try:
            cards = [card for card in answer.json()["data"] if isinstance(card.get("id"), str)]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ModelError(f"{self.wire.host} does not list its models as vLLM does") from None
        named = {card["id"]: card for card in cards}
        if not self.model and len(named) == 1:
            self.model = next(iter(named))
        if self.model not in named:
            asked = f"does not serve {self.model!r}" if self.model else "serves several models"
            raise ModelError(
                f"{self.wire.host} {asked}; name one behind #: {', '.join(named) or 'there is none'}"
            )
        return About(self.model, number(named[self.model].get("max_model_len")))

    def body(self, ask: Ask) -> dict[str, Any]:
        sampling = ask.sampling
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": list(ask.prompt),
            "stream": True,
            "stream_options": {"include_usage": False},
            # What is not sent is taken from the model's generation_config; max_tokens would be 16.
            "max_tokens": ask.max_tokens,
            "temperature": max(0.0, sampling.temperature),
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "min_p": sampling.min_p,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop_token_ids": list(ask.stop_ids),
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "add_special_tokens": False,
            "return_token_ids": True,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed % 2**63
        if sampling.logprobs is not None:
            body["logprobs"] = sampling.logprobs
        if ask.schema is not None:
            body["structured_outputs"] = {"json": dict(ask.schema)}
        return body

    def read(self, event: Mapping[str, Any]) -> Piece | None:
        if error := told_error(self.wire.host, event):
            raise error
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return None
        choice = choices[0]
        text = choice.get("text")
        ids = choice.get("token_ids")
        if ids is None and text:
            raise ModelError(f"{self.wire.host} tells no token ids; vLLM does from version 0.10.2 on")
        reason = choice.get("finish_reason")
        if reason in ("abort", "error"):
            raise ModelError(f"{self.wire.host} gave up while generating ({reason})")
        return Piece(
            ids=token_ids([] if ids is None else ids, self.wire.host),
            text=text if isinstance(text, str) else "",
            logprobs=_logprobs(choice.get("logprobs")),
            end=None if reason is None else "length" if reason == "length" else "stop",
        )

    async def special_ids(self, names: Sequence[str]) -> dict[str, int]:
        ids = await self._tokenize("".join(names))
        if len(ids) != len(names):
            raise ModelError(f"{self.wire.host} runs no Llama 3 model: its vocabulary lacks a control token")
        return dict(zip(names, ids, strict=True))

    async def encode(self, texts: Sequence[str]) -> list[int]:
        return [token for text in texts for token in await self._tokenize(text)]

    async def _tokenize(self, text: str) -> list[int]:
        asked = {"model": self.model, "prompt": text, "add_special_tokens": False}
        answer = await self.wire.post("/tokenize", asked)
        if answer.status != 200:
            raise refused(self.wire.host, answer)
        try:
            value = answer.json()
        except ValueError:
            value = None
        return list(token_ids(value.get("tokens") if isinstance(value, dict) else None, self.wire.host))


def _logprobs(value: Any) -> tuple[Logprob, ...]:
    """The lists of ``CompletionLogProbs``; alternatives come as texts, without their ids."""
    if not isinstance(value, dict) or not isinstance(value.get("token_logprobs"), list):
        return ()
    tops = value.get("top_logprobs")
    tops = tops if isinstance(tops, list) else []
    found = []
    for place, logprob in enumerate(value["token_logprobs"]):
        here = tops[place] if place < len(tops) and isinstance(tops[place], dict) else {}
        top = [TopToken(-1, str(text), finite(one)) for text, one in here.items()]
        found.append(Logprob(finite(logprob), tuple(sorted(top, key=lambda one: -one.logprob))))
    return tuple(found)
