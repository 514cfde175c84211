"""Search over a folder of documents: what is found, what is left out, and how the index stays true."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from pdf import make_pdf

from arriero.tools import ModelRetry, ToolContext, ToolError
from arriero.tools.documents import DocumentIndex, DocumentSearch, IndexProgress


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "docs"
    path.mkdir()
    return path


@pytest.fixture
def index(folder: Path, tmp_path: Path) -> DocumentIndex:
    return DocumentIndex(folder, path=tmp_path / "index" / "docs.sqlite3")


def found(index: DocumentIndex, query: str) -> list[str]:
    return sorted(passage.place for passage in index.find(query, 20))


def settle(path: Path) -> None:
    """Make a file old enough that its size and time of change tell whether it is the same."""
    os.utime(path, ns=(10**18, 10**18))


def test_text_markdown_html_and_source(folder: Path, index: DocumentIndex) -> None:
    (folder / "a.txt").write_text("one\ntwo\ngold price\n")
    (folder / "b.md").write_text("# Title\n\nSilver and\ngold.\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "c.html").write_text("<html>\n<script>gold</script>\n<p>x\n<p>more <b>gold</b></html>")
    (folder / "d.py").write_text("def gold_price():\n    return 3\n")
    report = index.refresh()
    assert (report.files, report.added, report.unreadable) == (4, 4, 0)
    assert found(index, "gold") == ["a.txt:3", "b.md:4", "d.py:1", "sub/c.html:4"]
    assert {passage.place for passage in index.find("gold_price", 2)} == {"a.txt:3", "d.py:1"}


def test_pdf(folder: Path, index: DocumentIndex) -> None:
    pytest.importorskip("pypdf")
    (folder / "a.pdf").write_bytes(make_pdf("first", "", "gold on the third page"))
    index.refresh()
    (passage,) = index.find("gold")
    assert (passage.page, passage.line, passage.place) == (3, None, "a.pdf, page 3")
    assert passage.text == "gold on the third page"


@pytest.mark.parametrize("body", [b"", b"%PDF-1.7\n%broken", b"no pdf at all", make_pdf("x")[:200]])
def test_broken_pdf_is_reported_and_the_rest_indexed(folder: Path, index: DocumentIndex, body: bytes) -> None:
    pytest.importorskip("pypdf")
    (folder / "a.pdf").write_bytes(body)
    (folder / "b.txt").write_text("gold")
    report = index.refresh()
    assert [path for path, _ in report.problems] == ["a.pdf"]
    assert found(index, "gold") == ["b.txt:1"]


def test_ranking_all_words_before_some(folder: Path, index: DocumentIndex) -> None:
    (folder / "some.txt").write_text("gold gold gold gold")
    (folder / "all.txt").write_text("the price of gold, and of many other things that are sold by weight")
    index.refresh()
    assert [passage.path for passage in index.find("gold prices")] == ["all.txt", "some.txt"]
    assert index.find("gold prices", 1)[0].path == "all.txt"


@pytest.mark.parametrize(
    "query",
    [
        '"',
        '""',
        "gold AND",
        "NOT gold",
        "gold*",
        "^gold",
        "text:gold",
        "(gold",
        "NEAR(gold",
        "{gold}",
        "-gold",
        "'gold'",
    ],
)
def test_query_syntax_is_plain_text(folder: Path, index: DocumentIndex, query: str) -> None:
    (folder / "a.txt").write_text("gold")
    index.refresh()
    assert found(index, query) == (["a.txt:1"] if "gold" in query else [])


@pytest.mark.parametrize("query", ["", " ", "---", "\0", "\ud800", "_", "日本"])
def test_queries_that_find_nothing(folder: Path, index: DocumentIndex, query: str) -> None:
    (folder / "a.txt").write_text("gold _ x")
    index.refresh()
    assert index.find(query) == []


def test_long_queries(folder: Path, index: DocumentIndex) -> None:
    (folder / "a.txt").write_text("gold")
    index.refresh()
    assert found(index, "gold " * 10_000) == ["a.txt:1"]
    assert found(index, "x" * 1_000_000) == []


def test_changes_are_taken_in(folder: Path, index: DocumentIndex) -> None:
    for name in ("keep", "edit", "touch", "drop", "move"):
        (folder / f"{name}.txt").write_text(f"word {name}")
        settle(folder / f"{name}.txt")
    assert index.refresh().added == 5
    (folder / "edit.txt").write_text("word rewritten")
    (folder / "touch.txt").touch()
    (folder / "drop.txt").unlink()
    (folder / "move.txt").rename(folder / "moved.txt")
    (folder / "new.txt").write_text("word new")
    report = index.refresh()
    assert (report.files, report.added, report.changed, report.moved, report.removed) == (5, 1, 1, 1, 1)
    assert found(index, "word") == ["edit.txt:1", "keep.txt:1", "moved.txt:1", "new.txt:1", "touch.txt:1"]
    assert found(index, "rewritten") == ["edit.txt:1"]
    assert found(index, "edit") == ["edit.txt:1"]
    assert index.find("drop") == []


def test_only_what_may_have_changed_is_read_again(folder: Path, index: DocumentIndex) -> None:
    (folder / "old.txt").write_text("x")
    settle(folder / "old.txt")
    (folder / "new.txt").write_text("y")
    seen: list[str] = []
    index.refresh(lambda progress: seen.append(progress.path))
    assert sorted(seen) == ["new.txt", "old.txt"]
    seen.clear()
    index.refresh(lambda progress: seen.append(progress.path))
    assert seen == ["new.txt"]


def test_a_change_within_the_clocks_tick_is_seen(folder: Path, index: DocumentIndex) -> None:
    path = folder / "a.txt"
    path.write_text("gold")
    status = path.stat()
    index.refresh()
    path.write_text("lead")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    index.refresh()
    assert found(index, "lead") == ["a.txt:1"]
    assert index.find("gold") == []


def test_a_renamed_file_is_read_anew_where_its_kind_differs(folder: Path, index: DocumentIndex) -> None:
    (folder / "a.txt").write_text("<p title='gold'>lead</p>")
    index.refresh()
    (folder / "a.txt").rename(folder / "a.html")
    index.refresh()
    assert index.find("gold") == []
    assert found(index, "lead") == ["a.html:1"]


def test_what_is_left_out(folder: Path, index: DocumentIndex, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("gold")
    for name in (".git", "node_modules", "__pycache__", "env", ".hidden"):
        (folder / name).mkdir()
        (folder / name / "x.txt").write_text("gold")
    (folder / "env" / "pyvenv.cfg").write_text("")
    (folder / ".env").write_text("gold")
    (folder / "binary.bin").write_bytes(b"gold\0")
    (folder / "link.txt").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    (folder / "seen.txt").write_text("gold")
    report = index.refresh()
    assert report.files == 2
    assert report.problems == []
    assert found(index, "gold") == ["seen.txt:1"]


def test_a_file_that_became_a_link_is_not_read(folder: Path, tmp_path: Path) -> None:
    from arriero.tools.documents.read import read_file

    (folder / "link").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    for name in ("link", "pipe", "missing"):
        with pytest.raises(OSError, match=r"."):
            read_file(os.fsencode(folder / name), 10)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_are_reported(folder: Path, index: DocumentIndex) -> None:
    (folder / "a.txt").write_text("gold")
    (folder / "a.txt").chmod(0)
    assert index.refresh().problems == [("a.txt", "Permission denied")]


def test_encodings_and_names(folder: Path, index: DocumentIndex) -> None:
    (folder / "u16.txt").write_bytes("gold é".encode("utf-16"))
    (folder / "latin.txt").write_bytes(b"gold caf\xe9")
    (folder / "bom.txt").write_bytes(b"\xef\xbb\xbfgold")
    (folder / "crlf.txt").write_bytes(b"x\r\ngold\r\n")
    meta = b'<meta charset="koi8-r"><p>gold ' + "жук".encode("koi8-r")
    (folder / "meta.html").write_bytes(meta)
    (Path(os.fsdecode(os.fsencode(folder) + b"/bad\xff.txt"))).write_text("gold")
    index.refresh()
    assert found(index, "gold") == [
        "bad\ufffd.txt:1",
        "bom.txt:1",
        "crlf.txt:2",
        "latin.txt:1",
        "meta.html:1",
        "u16.txt:1",
    ]
    assert found(index, "жук") == ["meta.html:1"]
    assert found(index, "café") == ["latin.txt:1"]
    assert found(index, "cafe") == ["latin.txt:1"]


def test_long_files_and_lines(folder: Path, index: DocumentIndex) -> None:
    (folder / "long.txt").write_text("filler words\n" * 2000 + "gold\n" + "filler words\n" * 2000)
    (folder / "line.txt").write_text("x\n" + "silver " * 3000)
    (folder / "huge.txt").write_text("start\n" + "0123456789\n" * 500_000 + "copper\n")
    index.refresh()
    assert found(index, "gold") == ["long.txt:2001"]
    assert all(len(passage.text) <= 1200 for passage in index.find("silver filler", 20))
    assert {passage.line for passage in index.find("silver")} == {2}
    assert found(index, "start") == ["huge.txt:1"]
    assert index.find("copper") == []


def test_progress_and_stop(folder: Path, index: DocumentIndex) -> None:
    for n in range(250):
        (folder / f"{n}.txt").write_text(f"gold {n}")
    stop = threading.Event()
    seen: list[IndexProgress] = []

    def watch(progress: IndexProgress) -> None:
        seen.append(progress)
        if progress.done == 120:
            stop.set()

    index.refresh(watch, stop=stop)
    assert [progress.done for progress in seen] == list(range(1, 121))
    assert {progress.total for progress in seen} == {250}
    assert len(index.find("gold", 1000)) == 120
    assert index.refresh().added == 130


def test_a_progress_display_that_fails_loses_nothing(folder: Path, index: DocumentIndex) -> None:
    (folder / "a.txt").write_text("gold")

    def broken(progress: IndexProgress) -> None:
        raise RuntimeError("display")

    with pytest.raises(RuntimeError, match="display"):
        index.refresh(broken)
    assert found(index, "gold") == ["a.txt:1"]


@pytest.mark.parametrize("damage", ["garbage", "truncated", "other tables", "other version", "a page"])
def test_a_damaged_index_is_made_anew(folder: Path, index: DocumentIndex, damage: str) -> None:
    for n in range(30):
        (folder / f"{n}.txt").write_text("gold " * 200)
    index.refresh()
    with sqlite3.connect(index.path) as base:
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if damage == "other tables":
            base.execute("DROP TABLE passage")
        if damage == "other version":
            base.execute("PRAGMA user_version=99")
    base.close()
    body = bytearray(index.path.read_bytes())
    if damage == "garbage":
        index.path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    if damage == "truncated":
        index.path.write_bytes(body[: len(body) // 2])
    if damage == "a page":
        body[4096:] = b"\xff" * (len(body) - 4096)
        index.path.write_bytes(body)
    assert len(index.find("gold", 50)) == 30
    assert index.refresh().files == 30


def test_an_update_makes_a_damaged_index_anew(folder: Path, index: DocumentIndex) -> None:
    (folder / "a.txt").write_text("gold")
    index.refresh()
    index.path.write_bytes(b"garbage" * 2000)
    assert index.refresh().added == 1
    assert found(index, "gold") == ["a.txt:1"]


def test_a_cancelled_call_ends_the_update(folder: Path, tmp_path: Path) -> None:
    for n in range(500):
        (folder / f"{n}.txt").write_text("gold " * 500)
    tool = DocumentSearch(folder, index=tmp_path / "i.sqlite3")

    async def run() -> None:
        with anyio.move_on_after(0.01):
            await tool.run({"query": "gold"}, ToolContext())

    anyio.run(run)
    assert tool.refresh().files == 500
    assert len(tool.index.find("gold", 1000)) >= 500


def test_the_index_is_the_users_alone(folder: Path, index: DocumentIndex) -> None:
    (folder / "a.txt").write_text("gold")
    index.refresh()
    assert stat.S_IMODE(index.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(index.path.parent.stat().st_mode) == 0o700


def test_an_index_that_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError, match="index of the documents cannot be written"):
        DocumentIndex(folder, path=tmp_path / "file" / "x").refresh()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(ToolError, match="not a folder"):
            DocumentSearch(path)


def test_a_folder_that_goes_away_keeps_its_index(folder: Path, index: DocumentIndex) -> None:
    (folder / "a.txt").write_text("gold")
    index.refresh()
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ToolError, match="not a folder"):
        index.refresh()
    assert found(index, "gold") == ["a.txt:1"]


def test_each_folder_has_an_index_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = DocumentIndex(tmp_path / "a"), DocumentIndex(tmp_path / "b")
    assert first.path != second.path
    assert DocumentIndex(tmp_path / "b" / ".." / "a").path == first.path


def test_two_processes_at_once(folder: Path, index: DocumentIndex) -> None:
    for n in range(300):
        (folder / f"{n}.txt").write_text(f"gold {n}")
    code = (
        "import sys; from arriero.tools.documents import DocumentIndex;"
        "DocumentIndex(sys.argv[1], path=sys.argv[2]).refresh()"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(folder), str(index.path)])
    for _ in range(3):
        index.refresh()
    assert other.wait(60) == 0
    assert len(index.find("gold", 1000)) == 300
    assert index.refresh().files == 300


def ask(tool: DocumentSearch, **arguments: Any) -> Any:
    return json.loads(anyio.run(tool.run, arguments, ToolContext()).content)


def test_the_tool(folder: Path, tmp_path: Path) -> None:
    (folder / "a.md").write_text("é\ngold is found")
    tool = DocumentSearch(folder, index=tmp_path / "i.sqlite3", refresh_after=0.0)
    assert ask(tool, query="gold") == {
        "query": "gold",
        "top_k": [{"file": "a.md", "line": 2, "text": "é\ngold is found"}],
    }
    (folder / "b.md").write_text("gold as well")
    assert len(ask(tool, query="gold")["top_k"]) == 2
    assert len(ask(tool, query="gold", limit=1)["top_k"]) == 1
    assert ask(tool, query="x\ud800")["top_k"] == []
    assert (tool.name, tool.effect) == ("search_documents", "read")
    assert str(folder) in repr(tool)


@pytest.mark.parametrize(
    "arguments", [{}, {"query": " "}, {"query": 3}, {"query": "x", "limit": 0}, {"query": "x", "limit": "y"}]
)
def test_arguments_that_do_not_fit(folder: Path, tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ModelRetry):
        ask(DocumentSearch(folder, index=tmp_path / "i"), **arguments)
