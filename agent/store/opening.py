"""One name, one model: a file, a server, a model of the catalogue, or the bundled one."""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from ..backends.base import Model
from .catalogue import bundled_catalogue
from .errors import StoreError
from .llamafile import extract, is_llamafile
from .reference import HUB_PREFIX
from .store import ModelStore, default_folder

BUNDLED = "bundled"
KEY_VARIABLE = "ARRIERO_API_KEY"
VOCAB_VARIABLE = "ARRIERO_VOCAB"


def open_model(
    name: str,
    *,
    context: int | None = None,
    n_parallel: int = 1,
    isolated: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> Model:
    """The model of that name, loaded or connected to.

    ``bundled``; an address such as ``http://127.0.0.1:8080`` or ``http://127.0.0.1:11434#llama3.1:8b``, with the
    key of ARRIERO_API_KEY and the vocabulary of ARRIERO_VOCAB, if they are set; the path of a GGUF file or a
    llamafile; else a model that was pulled: ``llama3.1-8b``, ``hf:…``, or the address of a GGUF file. ``context``
    is in tokens. A file's model generates for ``n_parallel`` conversations at once, and runs in a process of its
    own if it is to be ``isolated``. Raises ModelError; nothing is ever downloaded here.
    """
    if _is_server(name):
        from ..backends.http import HTTPModel

        return HTTPModel(
            name,
            api_key=os.environ.get(KEY_VARIABLE) or None,
            vocab=os.environ.get(VOCAB_VARIABLE) or None,
            context_length=context,
        )
    from ..backends import IsolatedModel, LlamaCppModel

    load = IsolatedModel if isolated else LlamaCppModel
    return load(model_path(name), n_ctx=context, n_parallel=n_parallel, on_progress=on_progress)


def model_path(name: str) -> Path:
    """The GGUF file that a name means; a llamafile's model is taken out into the store. Raises StoreError."""
    if name == BUNDLED:
        from ..models import bundled_model

        return bundled_model()
    if not name.startswith((HUB_PREFIX, "http://", "https://")):
        path = Path(name).expanduser()
        if path.is_file() and is_llamafile(path):
            return extract(path, default_folder() / "llamafiles")
        if path.exists():
            return path
        if not _is_known(name):
            raise StoreError(f"there is no model file {name}; {_nearest(path, name)}")
    return ModelStore().path(name)


def _is_server(name: str) -> bool:
    if not name.startswith(("http://", "https://")):
        return False
    return not name.partition("?")[0].partition("#")[0].lower().endswith((".gguf", ".llamafile"))


def _is_known(name: str) -> bool:
    store = ModelStore()
    return store.find(name) is not None or store.catalogue.find(name) is not None


def _nearest(path: Path, name: str) -> str:
    beside = [file.name for file in path.parent.glob("*.gguf")] if path.parent.is_dir() else []
    if close := difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5):
        return f"did you mean {path.parent / close[0]}?"
    if difflib.get_close_matches(name, [BUNDLED], cutoff=0.75):
        return f"did you mean {BUNDLED}?"
    if named := bundled_catalogue().closest(name):
        return f"did you mean {named}? arriero models list shows what can be had"
    return "give the path of a GGUF file or a name from: arriero models list (leave -m out for the bundled model)"
