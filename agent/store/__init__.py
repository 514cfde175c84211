"""Models on this machine's disk: a catalogue of those to get, downloads that resume, and what files say."""

from .catalogue import Catalogue, CatalogueEntry
from .errors import StoreError
from .opening import open_model
from .reference import Reference, read_reference
from .store import Installed, ModelStore

__all__ = [
    "Catalogue",
    "CatalogueEntry",
    "Installed",
    "ModelStore",
    "Reference",
    "StoreError",
    "open_model",
    "read_reference",
]
