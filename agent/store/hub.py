"""Which files a reference means, asked of the hub: their addresses, sizes and sums."""

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from arriero.tools._http import HttpError, HttpResponse, Retry, get, printable_key

from .download import Source
from .errors import StoreError
from .reference import HUB, Reference, file_url, tree_url

MAX_LISTING = 20_000_000  # bytes
HUB_VARIABLE = "HF_ENDPOINT"
TOKEN_VARIABLE = "HF_TOKEN"


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub by its address, with a token for what it gives only to some.

    ``from_env`` reads HF_ENDPOINT and HF_TOKEN, as the hub's own tools do.
    """

    url: str = HUB
    token: str = ""
    retry: Retry | None = None

    @classmethod
    def from_env(cls) -> "Hub":
        """The hub that the environment names. Raises ToolError for a token that cannot be one."""
        token = os.environ.get(TOKEN_VARIABLE, "").strip()
        return cls(
            os.environ.get(HUB_VARIABLE, "").strip().rstrip("/") or HUB,
            printable_key(TOKEN_VARIABLE, token) if token else "",
        )

    async def sources(self, reference: Reference) -> dict[str, Source]:
        """The files of a reference by their names, those of a split model in order. Raises StoreError."""
        if reference.url:
            return {reference.url.partition("?")[0].rpartition("/")[2]: Source(reference.url)}
        listing = await self._listing(reference)
        chosen = [
            path for path in sorted(listing) if any(fnmatchcase(path, one) for one in reference.patterns)
        ]
        if not chosen:
            ggufs = ", ".join(path for path in sorted(listing) if path.endswith(".gguf"))[:600]
            raise StoreError(
                f"{reference.repo} has no file like {reference.patterns[0]}; it has: {ggufs or 'no GGUF files'}"
            )
        _check_one_model(reference, chosen)
        return {PurePosixPath(path).name: self._source(reference, path, *listing[path]) for path in chosen}

    async def _listing(self, reference: Reference) -> dict[str, tuple[int, str]]:
        """Size and SHA-256 by path."""
        url = tree_url(self.url, reference.repo, reference.revision)
        try:
            answer = await get(
                url, headers=self._headers(), time_limit=60.0, max_bytes=MAX_LISTING, retry=self.retry
            )
        except HttpError as error:
            raise StoreError(f"{error}; is this machine online?") from None
        if answer.status != 200:
            raise _refused(reference, answer)
        try:
            return {
                entry["path"]: (int(entry["size"]), str((entry.get("lfs") or {}).get("oid", "")))
                for entry in answer.json()
                if entry["type"] == "file"
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StoreError(f"{self.url} does not list {reference.repo} as the hub does") from None

    def _source(self, reference: Reference, path: str, size: int, sha256: str) -> Source:
        url = file_url(self.url, reference.repo, reference.revision, path)
        return Source(url, size, sha256 if len(sha256) == 64 else "", self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def _check_one_model(reference: Reference, chosen: list[str]) -> None:
    """A pattern that finds two models would load one of them by chance."""
    ggufs = [path for path in chosen if path.endswith(".gguf")]
    whole = [path for path in ggufs if "-of-" not in path]
    if (
        len(whole) > 1
        or (whole and len(ggufs) > 1)
        or len({path.rpartition("-of-")[2] for path in ggufs}) > 1
    ):
        raise StoreError(f"{reference.repo} has several such files; name one: {', '.join(ggufs)}")


def _refused(reference: Reference, answer: HttpResponse) -> StoreError:
    if answer.status in (401, 403):
        return StoreError(
            f"the hub does not show {reference.repo} (HTTP {answer.status}): it does not exist, or its licence must "
            f"be accepted at {HUB}/{reference.repo} and a token put into {TOKEN_VARIABLE}"
        )
    if answer.status == 404:
        return StoreError(f"the hub has no repository {reference.repo}, or no revision {reference.revision}")
    return StoreError(f"the hub does not list {reference.repo} (HTTP {answer.status}); try again later")
