"""Names by which models are asked for: of the catalogue, of a hub's repository, of the web."""

import re
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, urlsplit

from .catalogue import Catalogue, bundled_catalogue
from .errors import StoreError

HUB = "https://huggingface.co"
HUB_PREFIX = "hf:"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Reference:
    """What is to be fetched. ``name`` is the folder it gets in the store.

    ``repo`` with ``patterns`` (of ``fnmatch``) names files of the hub, at ``revision``; ``url`` one file elsewhere.
    """

    name: str
    repo: str = ""
    patterns: tuple[str, ...] = ()
    revision: str = "main"
    url: str = ""
    licence: str = ""
    gated: bool = False


def read_reference(text: str, catalogue: Catalogue | None = None) -> Reference:
    """Read ``llama3.1-8b``, ``llama3.1-8b:q8_0``, ``hf:OWNER/REPO/FILE.gguf``, ``hf:OWNER/REPO:QUANT`` or an
    http(s) address of a GGUF file. A hub's file may be the first part of a split model: the others follow.

    Raises StoreError for anything else, with the closest name.
    """
    catalogue = catalogue or bundled_catalogue()
    if text.startswith(HUB_PREFIX):
        return _hub(text)
    if text.startswith(("https://", "http://")):
        return _web(text)
    if found := catalogue.find(text):
        entry, quant = found
        return Reference(
            name=f"{entry.name}-{quant}",
            repo=entry.repo,
            patterns=entry.quants[quant].patterns,
            licence=catalogue.licences[entry.licence],
            gated=entry.gated,
        )
    close = catalogue.closest(text)
    hint = f"did you mean {close}?" if close else "arriero models list shows the names."
    raise StoreError(
        f"no model is called {text!r}; {hint} A file of the hub is written hf:OWNER/REPO/FILE.gguf"
    )


def with_parts(path: str) -> str:
    """A pattern for a split model's parts, given the name of one; any other name is its own pattern."""
    return re.sub(r"-\d{5}-of-(\d{5}\.gguf)$", r"-[0-9][0-9][0-9][0-9][0-9]-of-\1", path)


def _hub(text: str) -> Reference:
    body, _, quant = text.removeprefix(HUB_PREFIX).partition(":")
    owner, _, rest = body.partition("/")
    repo, _, file = rest.partition("/")
    parts = [owner, repo, *([quant] if quant else file.split("/") if file else ())]
    usable = all(_NAME.fullmatch(part) for part in parts)
    if not usable or not (quant or file.endswith(".gguf")) or (quant and file):
        raise StoreError(f"{text!r} should be like hf:OWNER/REPO/FILE.gguf or hf:OWNER/REPO:Q4_K_M")
    if quant:
        patterns = tuple(
            f"{start}*{form}*.gguf" for start in ("", "*/") for form in (quant.upper(), quant.lower())
        )
        return Reference(f"{owner}--{repo}--{quant.lower()}", f"{owner}/{repo}", patterns)
    stem = file.rpartition("/")[2].removesuffix(".gguf")
    return Reference(f"{owner}--{repo}--{stem}", f"{owner}/{repo}", (with_parts(file),))


def _web(text: str) -> Reference:
    parts = urlsplit(text)
    file = parts.path.rpartition("/")[2]
    if not parts.hostname or not file.lower().endswith((".gguf", ".llamafile")) or not _NAME.fullmatch(file):
        raise StoreError(f"{text!r} is no address of a GGUF file; its path ends in .gguf")
    mark = sha256(text.encode()).hexdigest()[:8]
    return Reference(f"{file.rpartition('.')[0]}--{mark}", url=text)


def file_url(hub: str, repo: str, revision: str, path: str) -> str:
    """Where the hub serves a file."""
    return f"{hub}/{repo}/resolve/{quote(revision, safe='')}/{quote(path)}"


def tree_url(hub: str, repo: str, revision: str) -> str:
    """Where the hub lists a repository's files (its API: path, size, and the SHA-256 of large ones)."""
    return f"{hub}/api/models/{repo}/tree/{quote(revision, safe='')}?recursive=true"
