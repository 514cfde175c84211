"""The pictures in an answer of Wolfram|Alpha, fetched from the service itself and kept as artifacts."""

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio

from ._http import HttpError, get
from ._results import known_format
from .base import Artifact

if TYPE_CHECKING:
    from ._http import Transport

MAX_IMAGES: Final = 10
"""Most images of one answer."""

MAX_IMAGE_BYTES: Final = 1_000_000

_DOMAIN: Final = ".wolframalpha.com"


async def with_images(
    pods: list[Any], *, service: str, deadline: float, transport: "Transport | None" = None
) -> tuple[Artifact, ...]:
    """Fetch the ``img`` of each subpod, and leave the name of its artifact as ``image`` instead.

    Only addresses of the service are asked: the origin of ``service`` and, over https, the hosts of
    wolframalpha.com. What cannot be had by ``deadline`` (of time.monotonic) is said in ``image``.
    """
    found = [
        (str(pod.get("title", "")), subpod)
        for pod in pods
        if isinstance(pod, Mapping)
        for subpod in pod.get("subpods", ())
        if isinstance(subpod, dict) and "img" in subpod
    ]
    kept: dict[int, Artifact] = {}

    async def fetch(number: int, title: str, subpod: dict[str, Any]) -> None:
        address = _address(subpod.pop("img"))
        if number > MAX_IMAGES:
            subpod["image"] = "not fetched: there are too many"
        elif not _is_of(service, address):
            subpod["image"] = "not fetched: it is not at the service's own address"
        else:
            data = await _data(address, deadline - time.monotonic(), transport)
            kind = known_format(data)
            if kind is None or not kind[1].startswith("image/"):
                subpod["image"] = "could not be fetched"
                return
            name = "-".join(filter(None, ("wolfram", str(number), _slug(title))))
            kept[number] = Artifact(f"{name}.{kind[0]}", kind[1], data)
            subpod["image"] = kept[number].name

    async with anyio.create_task_group() as group:
        for number, (title, subpod) in enumerate(found, 1):
            group.start_soon(fetch, number, title, subpod)
    return tuple(kept[number] for number in sorted(kept))


async def _data(address: str, seconds: float, transport: "Transport | None") -> bytes:
    """The body; empty where there is none to be had."""
    try:
        response = await get(
            address,
            headers={"Accept": "image/*", "Accept-Encoding": "gzip"},
            time_limit=max(seconds, 0.01),
            max_bytes=MAX_IMAGE_BYTES,
            transport=transport,
        )
    except HttpError:
        return b""
    return response.body if response.status == 200 else b""


def _address(image: Any) -> str:
    source = image.get("src") if isinstance(image, Mapping) else None
    return source if isinstance(source, str) else ""


def _is_of(service: str, address: str) -> bool:
    try:
        asked, own = urlsplit(address), urlsplit(service)
        if (asked.scheme, asked.netloc) == (own.scheme, own.netloc):
            return True
        port, host = asked.port, asked.hostname or ""
    except ValueError:
        return False
    plain = asked.username is None and port in (None, 443)
    return asked.scheme == "https" and plain and ("." + host).endswith(_DOMAIN)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:30]
