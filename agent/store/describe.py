"""What a GGUF file says of itself, in words for people."""

import re
from collections import Counter
from dataclasses import dataclass

from ..backends.base import ModelError
from ..backends.dialect import DialectChoice, dialect_of
from ..backends.gguf import GGUFInfo

_FTYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 32: "BF16",
}  # fmt: skip
"""``general.file_type``, the numbers of llama.h's ``llama_ftype``."""

_TEMPLATE_KNOWS = ("tools", "builtin_tools", "documents")


@dataclass(frozen=True, slots=True)
class Description:
    """The facts of a file that decide how it is used; sizes in bytes, lengths in tokens."""

    name: str
    architecture: str
    quantisation: str
    parameters: int
    context_length: int
    size: int
    kv_bytes_per_token: int
    vocabulary: int
    special: tuple[tuple[str, int], ...]
    missing: str
    """Why it cannot be used for chat; empty if it can."""
    template: str
    dialect: DialectChoice

    def lines(self) -> list[str]:
        """One fact a line."""
        kv = self.kv_bytes_per_token / 1024
        special = ", ".join(f"{name} {token}" for name, token in self.special)
        known = [word for word in _TEMPLATE_KNOWS if re.search(rf"\b{word}\b", self.template)]
        template = f"{len(self.template):,} characters, knows {', '.join(known) or 'no tools'}"
        return [
            f"name           {self.name}",
            f"architecture   {self.architecture or 'not said'}, {_scaled(self.parameters)} parameters",
            f"stored as      {self.quantisation}, {_size(self.size)}",
            f"context        {self.context_length:,} tokens; each takes {kv:.0f} KiB of memory beside the weights",
            f"vocabulary     {self.vocabulary:,} tokens",
            f"special tokens {special or 'none of Llama 3'}",
            f"template       {template if self.template else 'none'} (shown here, never run)",
            f"dialect        {self.dialect.name}: {self.dialect.reason}",
            f"usable         {'no: ' + self.missing if self.missing else 'yes'}",
        ]


def _scaled(count: int) -> str:
    return f"{count / 1e9:.3g} billion" if count >= 1e8 else f"{count / 1e6:.3g} million"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.2f} MB"


def describe(info: GGUFInfo) -> Description:
    """Sum up a file's header."""
    try:
        info.require_chat_model()
        missing = ""
    except ModelError as error:
        missing = str(error).partition(": ")[2]
    return Description(
        name=info.name,
        architecture=info.architecture,
        quantisation=_quantisation(info),
        parameters=sum(_elements(tensor.shape) for tensor in info.tensors),
        context_length=info.context_length,
        size=info.size,
        kv_bytes_per_token=info.kv_bytes_per_token,
        vocabulary=len(info.tokens),
        special=tuple(info.special.items()),
        missing=missing,
        template=info.chat_template or "",
        dialect=dialect_of(info),
    )


def _quantisation(info: GGUFInfo) -> str:
    kind = info.metadata.get("general.file_type")
    if isinstance(kind, int) and kind in _FTYPES:
        return _FTYPES[kind]
    types = Counter(tensor.type for tensor in info.tensors)
    return f"tensors of type {types.most_common(1)[0][0]} mostly" if types else "no weights"


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count
