"""Which wire form a model is spoken to in, and why."""

import re
from dataclasses import dataclass

from arriero.prompts.dialects import DEFAULT_DIALECT

from .gguf import GGUFInfo

DIALECT_KEY = "arriero.dialect"

_VERSION = re.compile(r"llama[-_ .]?(?:v)?(\d)[-_.](\d)(?!\d)", re.IGNORECASE)
_VISION = re.compile(r"vision", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DialectChoice:
    """A dialect's name, and the reason for it in one clause."""

    name: str
    reason: str


def choose_dialect(name: str, template: str = "", stated: str = "") -> DialectChoice:
    """The form for a model by what its file or server says.

    ``stated`` is the file's own ``arriero.dialect`` and wins. Then the version in the model's name counts: the
    3.2 text models were trained to write calls as Python lists, 3.1, 3.3 and the 3.2 vision models as JSON
    (Meta's prompt-format pages). Then whether the template knows ``builtin_tools``, which only that of 3.1 and
    3.3 does. All else gets the default.
    """
    if stated:
        return DialectChoice(stated, "the file says so (arriero.dialect)")
    if found := _VERSION.search(name):
        version = f"{found[1]}.{found[2]}"
        if version == "3.2" and not _VISION.search(name):
            return DialectChoice("llama3.2", "the name says Llama 3.2, which writes calls as Python lists")
        if version in ("3.1", "3.2", "3.3"):
            chosen = "llama3.3" if version == "3.3" else "llama3.1"
            return DialectChoice(chosen, f"the name says Llama {version}, which writes calls as JSON")
        if found[1] == "4":
            return DialectChoice("llama4", "the name says Llama 4")
    if "builtin_tools" in template:
        return DialectChoice("llama3.1", "its template knows builtin_tools, as that of Llama 3.1 does")
    return DialectChoice(DEFAULT_DIALECT, "nothing in it says otherwise")


def dialect_of(info: GGUFInfo) -> DialectChoice:
    """The form for a file: by what its metadata and its own name say."""
    named = info.text("general.basename") or info.text("general.name")
    version = info.text("general.version")
    return choose_dialect(
        f"{named} {version} {info.path.name}", info.chat_template or "", info.text(DIALECT_KEY)
    )
