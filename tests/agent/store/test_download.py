"""Downloads from places that drop, forget, change and lie."""

import asyncio
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from arriero.agent.store import StoreError
from arriero.agent.store.download import Fetched, Source, download
from arriero.tools._http import Retry

from .hub import Loopback

SOON = Retry(attempts=3, base=0.0)
DATA = random.Random(1).randbytes(1_000_000)
SUM = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def hub() -> Iterator[Loopback]:
    with Loopback({"m.gguf": DATA}) as hub:
        yield hub


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "m.gguf"


def fetch(hub: Loopback, target: Path, retry: Retry = SOON, **known: object) -> Fetched:
    source = Source(f"{hub.url}/o/r/resolve/main/m.gguf", **known)  # type: ignore[arg-type]
    return asyncio.run(download(source, target, retry=retry))


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_arrives_and_is_checked_against_what_the_hub_tells(hub: Loopback, target: Path) -> None:
    seen: list[tuple[int, int]] = []
    source = Source(f"{hub.url}/o/r/resolve/main/m.gguf")
    fetched = asyncio.run(download(source, target, on_progress=lambda *at: seen.append(at)))
    assert fetched.sha256 == SUM
    assert fetched.checked
    assert target.read_bytes() == DATA
    assert left(target) == ["m.gguf"]
    assert seen[0] == (0, len(DATA))
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)


def test_dropped_connections_are_taken_up_where_they_broke(hub: Loopback, target: Path) -> None:
    hub.moods.drop_after = [100_000, 200_000, 300_000, 0]
    assert fetch(hub, target).sha256 == SUM
    assert hub.sent == len(DATA)


def test_another_process_goes_on_with_what_is_there(hub: Loopback, target: Path) -> None:
    hub.moods.drop_after = [400_000, 0, 0]
    with pytest.raises(StoreError, match="kept: call again"):
        fetch(hub, target, Retry(attempts=2, base=0.0))
    assert left(target) == ["m.gguf.part", "m.gguf.part.json"]
    hub.moods.drop_after = []
    assert fetch(hub, target).sha256 == SUM
    assert hub.sent == len(DATA)
    assert hub.asked("/cdn/")[-1]["if-range"]


@pytest.mark.parametrize("mood", ["ignore_range", "no etag", "changed", "wrong start", "other address"])
def test_it_begins_anew_when_it_cannot_go_on(hub: Loopback, target: Path, mood: str) -> None:
    hub.moods.etags = mood != "no etag"
    hub.moods.drop_after = [400_000]
    with pytest.raises(StoreError):
        fetch(hub, target, Retry(attempts=1))
    assert target.with_name("m.gguf.part").stat().st_size == 400_000
    hub.moods.drop_after = []
    hub.moods.ignore_range = mood == "ignore_range"
    hub.moods.wrong_start = 10 if mood == "wrong start" else 0
    if mood == "changed":
        hub.files["m.gguf"] = DATA[::-1]
    if mood == "other address":
        hub.files["n.gguf"] = DATA
        source = Source(f"{hub.url}/o/r/resolve/main/n.gguf")
        asyncio.run(download(source, target, retry=SOON))
    else:
        fetch(hub, target)
    assert target.read_bytes() == hub.files["m.gguf"]
    assert left(target) == ["m.gguf"]


def test_without_a_mark_it_goes_on_where_the_sum_is_known(hub: Loopback, target: Path) -> None:
    hub.moods.etags = False
    hub.moods.drop_after = [400_000]
    assert fetch(hub, target, sha256=SUM).checked
    assert hub.sent == len(DATA)


def test_a_part_that_is_whole_already(hub: Loopback, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("m.gguf.part").write_bytes(DATA)
    assert fetch(hub, target, sha256=SUM, size=len(DATA)).sha256 == SUM
    assert hub.sent == 0


@pytest.mark.parametrize("who", ["caller", "hub"])
def test_a_sum_that_does_not_match_leaves_nothing(hub: Loopback, target: Path, who: str) -> None:
    wrong = "0" * 64
    if who == "hub":
        hub.lies["m.gguf"] = wrong
    with pytest.raises(StoreError, match=f"SHA-256 {SUM}, expected {wrong}"):
        fetch(hub, target, sha256=wrong if who == "caller" else "")
    assert left(target) == []


def test_a_size_that_differs_from_the_listing(hub: Loopback, target: Path) -> None:
    with pytest.raises(StoreError, match="offers 1000000 bytes where 7 are listed"):
        fetch(hub, target, size=7)
    assert left(target) == []


def test_a_disk_that_is_too_small(hub: Loopback, target: Path) -> None:
    with pytest.raises(StoreError, match=r"GB free and 1000000000\.0 GB are missing"):
        fetch(hub, target, size=10**18)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("status", "said"), [(403, "HF_TOKEN"), (404, "no such file"), (410, "HTTP 410"), (503, "not ready")]
)
def test_refusals(hub: Loopback, target: Path, status: int, said: str) -> None:
    hub.moods.statuses = [status] * 5
    with pytest.raises(StoreError, match=said):
        fetch(hub, target)


def test_a_server_that_is_busy_for_a_moment(hub: Loopback, target: Path) -> None:
    hub.moods.statuses = [503, 429]
    assert fetch(hub, target).sha256 == SUM


def test_the_key_stays_with_the_hub(target: Path) -> None:
    with Loopback({"m.gguf": DATA}, token="hf_secret") as hub:
        fetch(hub, target, headers={"Authorization": "Bearer hf_secret"})
        assert "authorization" in hub.asked("/o/r")[0]
        assert "authorization" not in hub.asked("/cdn/")[0]


def test_nobody_there(target: Path) -> None:
    with pytest.raises(StoreError, match="cannot reach"):
        asyncio.run(download(Source("http://127.0.0.1:1/m.gguf"), target, retry=Retry(attempts=2, base=0.0)))
