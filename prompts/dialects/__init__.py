"""Wire forms by name."""

import difflib

from ..errors import UnknownDialect
from .base import Dialect, split_builtin
from .huggingface import HF_FIXED_DATE, HuggingFace, Vllm
from .llama3 import Llama3, Llama32
from .llama4 import Llama4
from .meta import MetaAdapter31, MetaAdapter32, MetaInterface31, MetaMessages

DEFAULT_DIALECT = "llama3.1"

_DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Llama3("llama3.1"),
        Llama3("llama3.3"),
        Llama32("llama3.2", "python_list"),
        MetaMessages("meta-messages"),
        MetaMessages("meta-messages-function-tag", "function_tag"),
        MetaMessages("meta-messages-pythonic", "python_list"),
        MetaMessages("meta-messages-legacy", always_tag=True),
        MetaMessages("meta-messages-legacy-function-tag", "function_tag", always_tag=True),
        MetaMessages("meta-messages-legacy-pythonic", "python_list", always_tag=True),
        MetaAdapter31("meta-adapter-3.1"),
        MetaAdapter31("meta-adapter-3.1-function-tag", "function_tag"),
        MetaInterface31("meta-interface-3.1"),
        MetaInterface31("meta-interface-3.1-function-tag", "function_tag"),
        MetaAdapter32("meta-adapter-3.2", "python_list"),
        HuggingFace("hf-3.1", default_date=HF_FIXED_DATE),
        HuggingFace("hf-3.2", builtin=False),
        HuggingFace("hf-3.3", default_date=HF_FIXED_DATE),
        Vllm("vllm-3.1-json"),
        Vllm("vllm-3.2-pythonic", pythonic=True),
        Llama4("llama4"),
    )
}


def dialect_names() -> list[str]:
    """All names that ``get_dialect`` knows."""
    return sorted(_DIALECTS)


def get_dialect(name: str = DEFAULT_DIALECT) -> Dialect:
    """The dialect of that name. Raises UnknownDialect, with the closest name."""
    if name in _DIALECTS:
        return _DIALECTS[name]
    close = difflib.get_close_matches(name, _DIALECTS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(dialect_names())}"
    raise UnknownDialect(f"no dialect is called {name!r}; {hint}")


__all__ = ["DEFAULT_DIALECT", "Dialect", "dialect_names", "get_dialect", "split_builtin"]
