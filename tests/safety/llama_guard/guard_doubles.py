"""A guard's model without weights, and short ways to ask it."""

import math

import anyio

from arriero.agent.backends import Token
from arriero.agent.backends.base import TopToken
from arriero.agent.backends.scripted import FunctionModel
from arriero.prompts import Message
from arriero.safety.base import ScreenInput
from arriero.safety.llama_guard.screen import LlamaGuard

SAFE, UNSAFE = "safe<|eot_id|>", "unsafe\nS1,S10<|eot_id|>"
USER, AGENT = Message(role="user", content="Hello?"), Message(role="assistant", content="Hi.")


class Scored(FunctionModel):
    """A model that tells, with the first token of its answer, the given probabilities of safe and unsafe."""

    def __init__(self, function, safe=0.0, unsafe=0.0, **options):
        super().__init__(function, **options)
        self.likely = {ord("s"): safe, ord("u"): unsafe}

    async def generate(self, tokens, sampling, *, max_tokens=None):
        top = tuple(TopToken(i, chr(i), math.log(p) if p else -99.0) for i, p in self.likely.items())
        async for token in super().generate(tokens, sampling, max_tokens=max_tokens):
            yield Token(token.id, token.text, token.stop, None, top)
            top = (TopToken(0, "?", 0.0),)


def guard(answer, **options):
    function = answer if callable(answer) else lambda prompt: answer
    return LlamaGuard(FunctionModel(function), self_test=False, **options)


def check(screen, text="hi", place="input", **fields):
    return anyio.run(screen.check, ScreenInput(place=place, text=text, **fields))


def harmful(prompt):
    """Whether the conversation in a prompt has a word of the canaries."""
    turn = prompt.split("<BEGIN CONVERSATION>")[1].split("<END")[0]
    return any(word in turn for word in ("kill", "bomb", "oison", "vermin"))
