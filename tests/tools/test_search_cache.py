"""Answers kept on disk: for how long, how many, whose eyes, and whatever happens to the file."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from loopback import Loopback, Reply, brave_answer, json_reply

from arriero.tools import ToolError
from arriero.tools.search import BraveSearch, SearchCache

KEY = "BSA-secret-key"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> SearchCache:
    return SearchCache(tmp_path / "cache" / "search.sqlite3", ttl=60.0, max_bytes=1000, clock=clock)


def put(cache: SearchCache, key: str, value: Any) -> None:
    anyio.run(cache.put, key, {"value": value})


def get(cache: SearchCache, key: str) -> Any:
    kept = anyio.run(cache.get, key)
    return None if kept is None else kept["value"]


def test_kept_until_it_is_old(cache: SearchCache, clock: Clock) -> None:
    assert get(cache, "a") is None
    put(cache, "a", "é")
    assert get(cache, "a") == "é"
    assert get(cache, "b") is None
    clock.now += 59
    assert get(cache, "a") == "é"
    clock.now += 1
    assert get(cache, "a") is None


def test_an_answer_from_the_future_is_not_trusted(cache: SearchCache, clock: Clock) -> None:
    put(cache, "a", 1)
    clock.now -= 10
    assert get(cache, "a") is None


def test_the_oldest_go_when_it_is_full(cache: SearchCache, clock: Clock) -> None:
    for n in range(10):
        clock.now += 1
        put(cache, str(n), "x" * 200)
    kept = [n for n in range(10) if get(cache, str(n))]
    assert kept == [6, 7, 8, 9]
    put(cache, "big", "x" * 2000)
    assert get(cache, "big") is None
    assert get(cache, "9") is not None
    anyio.run(cache.clear)
    assert get(cache, "9") is None


def test_the_file_is_the_users_alone(cache: SearchCache, tmp_path: Path) -> None:
    put(cache, "question", "answer")
    path = tmp_path / "cache" / "search.sqlite3"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"question" not in path.read_bytes()


@pytest.mark.parametrize("damage", [b"", b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_made_anew(cache: SearchCache, tmp_path: Path, damage: bytes) -> None:
    put(cache, "a", 1)
    (tmp_path / "cache" / "search.sqlite3").write_bytes(damage)
    assert get(cache, "a") is None
    put(cache, "a", 2)
    assert get(cache, "a") == 2


@pytest.mark.parametrize("text", ["[1]", "{", "3", "[" * 100_000])
def test_a_damaged_answer_is_none(cache: SearchCache, tmp_path: Path, text: str) -> None:
    put(cache, "a", 1)
    with sqlite3.connect(tmp_path / "cache" / "search.sqlite3") as base:
        base.execute("UPDATE answer SET text=?", (text,))
    base.close()
    assert get(cache, "a") is None


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = SearchCache(tmp_path / "file" / "x")
    put(cache, "a", 1)
    assert get(cache, "a") is None


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    put(SearchCache(), "a", 1)
    assert (tmp_path / "arriero" / "search.sqlite3").exists()


def test_two_processes_at_once(cache: SearchCache, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "search.sqlite3"
    code = (
        "import sys, anyio; from arriero.tools.search import SearchCache; c = SearchCache(sys.argv[1])\n"
        "for n in range(12): anyio.run(c.put, f'other {n}', {'value': n})"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(path)], env={**os.environ})
    mine = SearchCache(path)
    for n in range(12):
        put(mine, f"mine {n}", n)
    assert other.wait(60) == 0
    assert [get(mine, f"{who} {n}") for who in ("mine", "other") for n in range(12)] == [
        *range(12),
        *range(12),
    ]


def test_the_same_question_is_asked_once(cache: SearchCache, tmp_path: Path, clock: Clock) -> None:
    async def ask(server: Loopback, query: str, **options: Any) -> str:
        tool = BraveSearch(KEY, base_url=server.url, cache=cache, **options)
        return (await tool.find(query)).text()

    with Loopback(json_reply(brave_answer("x", 1))) as server:
        first = anyio.run(ask, server, "x")
        assert anyio.run(ask, server, "x") == first
        assert len(server.requests) == 1
        anyio.run(ask, server, "y")
        assert len(server.requests) == 2
        clock.now += 100
        anyio.run(ask, server, "x")
        assert len(server.requests) == 3
    assert KEY.encode() not in (tmp_path / "cache" / "search.sqlite3").read_bytes()


def test_a_failure_is_not_kept(cache: SearchCache) -> None:
    with Loopback(Reply(404), json_reply(brave_answer("x", 1))) as server:
        tool = BraveSearch(KEY, base_url=server.url, cache=cache)
        with pytest.raises(ToolError):
            anyio.run(tool.find, "x")
        assert len(anyio.run(tool.find, "x").results) == 1
