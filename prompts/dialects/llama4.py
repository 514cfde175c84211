"""Llama 4's tokens and framing, as far as its reference encoder fixes them."""

from ..messages import Message
from .base import Framed, Opening
from .meta import MetaMessages, encode_message


class Llama4(MetaMessages):
    """llama-models' Llama 4 encoder: a message with calls and a tool result both end with ``<|eom|>``; no
    tag.
    """

    template = "llama4"
    eot = "<|eot|>"

    def frame(self, message: Message, opening: Opening) -> Framed:
        framed = encode_message(message, self.form)
        asks = message.role == "ipython" or bool(message.tool_calls)
        return Framed(framed.role, framed.pieces, "eom" if asks else framed.end)
