"""The models that can be had by a short name: where they are, how large, and under which licence."""

import difflib
from functools import lru_cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import StoreError

_OVERHEAD = 1.1  # beside the weights: buffers, and a short conversation's keys and values


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quant(_Strict):
    """One way in which a model's weights are stored: patterns of file names in its repository, and gigabytes
    (10^9 bytes, as the repository's page tells it; the download checks the hub's exact number).
    """

    files: str | tuple[str, ...]
    gb: float

    @property
    def patterns(self) -> tuple[str, ...]:
        return (self.files,) if isinstance(self.files, str) else self.files

    @property
    def ram_gb(self) -> float:
        """Memory to run it with a short conversation, in gigabytes: the weights and a tenth."""
        return round(self.gb * _OVERHEAD + 0.3, 1)


class CatalogueEntry(_Strict):
    """One model. ``kind``: ``chat`` and ``guard`` are GGUF files, a ``classifier`` is a folder of its own files.

    ``gated``: the hub gives it only to accounts that have accepted the licence.
    """

    name: str
    title: str
    kind: Literal["chat", "guard", "classifier"]
    licence: str
    context: int
    repo: str
    default: str
    quants: dict[str, Quant]
    gated: bool = False


class Catalogue(_Strict):
    """All entries; ``version`` is that of the form."""

    version: Literal[1]
    licences: dict[str, str]
    models: tuple[CatalogueEntry, ...]

    @classmethod
    def read(cls, text: str) -> "Catalogue":
        """Read one from JSON. Raises StoreError."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise StoreError(f"the catalogue cannot be used: {place}: {first['msg']}") from None

    def find(self, name: str) -> tuple[CatalogueEntry, str] | None:
        """The entry and the quantisation that ``name`` or ``name:quant`` means; None if there is no such entry.

        Raises StoreError for a quantisation that the entry lacks.
        """
        short, _, quant = name.lower().partition(":")
        entry = next((entry for entry in self.models if entry.name == short), None)
        if entry is None:
            return None
        if quant and quant not in entry.quants:
            raise StoreError(f"{short} can be had as {', '.join(entry.quants)}, not as {quant!r}")
        return entry, quant or entry.default

    def closest(self, name: str) -> str | None:
        """The entry whose name is most like this one."""
        names = [entry.name for entry in self.models]
        return next(iter(difflib.get_close_matches(name.lower().partition(":")[0], names, n=1)), None)


@lru_cache(maxsize=1)
def bundled_catalogue() -> Catalogue:
    """The catalogue that comes with arriero."""
    return Catalogue.read((resources.files(__package__) / "catalogue.json").read_text("utf-8"))
