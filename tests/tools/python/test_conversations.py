"""A kernel for each conversation, a bounded number of them, and files that come back into every fresh one."""

import asyncio
import os
from pathlib import Path

import pytest
from kernel import LIMITS, needs

from arriero.tools import ToolContext
from arriero.tools.python import PythonTool, Sandbox, SandboxLimits
from arriero.tools.python.process import descendants


async def say(tool: PythonTool, conversation: str, code: str) -> str:
    return (await tool.run({"code": code}, ToolContext(conversation_id=conversation))).content


def test_each_conversation_has_its_own_variables_and_is_told_when_they_went(best_level: str) -> None:
    async def talk() -> None:
        tool = PythonTool(LIMITS, best_level, spare=False, preload=(), kernels=2)  # type: ignore[arg-type]
        try:
            first = await asyncio.gather(*(say(tool, name, f"x = {name!r}") for name in "ab"))
            assert first == ["completed", "completed"]
            assert "'a'" in await say(tool, "a", "x")
            assert "'b'" in await say(tool, "b", "x")
            await tool.sandbox("c").put("données 1.csv", b"1,2")
            assert not tool.sandbox("c").live
            with pytest.raises(OSError, match="plain file name"):
                await tool.sandbox("c").put("../c", b"")
            assert "1,2" in await say(tool, "c", "open('données 1.csv').read()")  # a was not used for longest
            assert "'b'" in await say(tool, "b", "x")
            told = await say(tool, "a", "x")
            assert "NameError" in told
            assert told.endswith(
                "[before this call Python was started afresh (other conversations needed the memory): "
                "earlier variables and files are gone]"
            )
            tool.resumed("a")
            tool.resumed("of yesterday")
            assert "afresh" not in await say(tool, "a", "1")
            assert "(the conversation was resumed)" in await say(tool, "of yesterday", "1")
        finally:
            await tool.aclose()

    asyncio.run(talk())


def test_the_spare_is_the_next_conversations_kernel(best_level: str) -> None:
    async def talk() -> None:
        tool = PythonTool(LIMITS, best_level, preload=())  # type: ignore[arg-type]
        try:
            await say(tool, "a", "1")
            await asyncio.sleep(0)
            waiting = tool._warm._ready
            assert waiting is not None
            await say(tool, "b", "1")
            assert tool.sandbox("b")._current is waiting
        finally:
            await tool.aclose()
        assert not [pid for pid in descendants(os.getpid()) if "arriero_inside" in _command(pid)]

    asyncio.run(talk())


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_given_files_come_back_and_results_are_taken_out(best_level: str, tmp_path: Path) -> None:
    async def work() -> None:
        limits = SandboxLimits(given_mb=1)
        async with Sandbox(limits, best_level, spare=False, preload=()) as sandbox:  # type: ignore[arg-type]
            await sandbox.put("in.txt", b"seven")
            await sandbox.execute("open('out.csv', 'w').write(open('in.txt').read()); open('in.txt', 'w')")
            assert (await sandbox.take("out.csv", tmp_path)).read_bytes() == b"seven"
            with pytest.raises(FileExistsError):
                await sandbox.take("out.csv", tmp_path)
            await sandbox.execute("import os; os._exit(1)")
            shown = await sandbox.execute("import os; print(open('in.txt').read(), os.listdir())")
            assert shown.stdout == "seven ['in.txt']"
            with pytest.raises(OSError, match="more than 1 MiB were given"):
                await sandbox.put("more", bytes(2**20))

    asyncio.run(work())


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_nothing_leads_out_through_what_is_taken_or_listed(level: str, tmp_path: Path) -> None:
    needs(level)

    async def work() -> None:
        async with Sandbox(LIMITS, level, spare=False, preload=()) as sandbox:  # type: ignore[arg-type]
            await sandbox.execute(
                "import os\nopen('f', 'w').write('x'); os.link('f', 'g'); os.symlink('f', 'l')\n"
                "open('.hidden', 'w'); open('-rf', 'w'); open('a\\b', 'w'); open('good', 'w'); os.makedirs('d')"
            )
            for path in ("f", "g", "l", ".hidden", "-rf", "a\\b", "d", "d/", "", "..", "missing"):
                with pytest.raises(OSError, match=r"."):
                    await sandbox.take(path, tmp_path)
            (tmp_path / "good").symlink_to(tmp_path / "outside")
            with pytest.raises(FileExistsError):
                await sandbox.take("good", tmp_path)
            assert not (tmp_path / "outside").exists()
            await sandbox.execute(_SWAP)
            for _ in range(30):
                assert {name for name, _ in await sandbox.ls()} <= _WRITTEN

    asyncio.run(work())


_WRITTEN = {"f", "g", ".hidden", "-rf", "a\\b", "good"}
_SWAP = """
import os, threading
os.makedirs('real'); os.symlink('/usr/lib', 'link')
def swap():
    while True:
        os.rename('real', 'x'); os.rename('link', 'real'); os.rename('real', 'link'); os.rename('x', 'real')
threading.Thread(target=swap, daemon=True).start()
"""


def test_without_a_sandbox_every_start_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with Sandbox.unsafe_none(LIMITS, spare=False, preload=()) as sandbox:
            done = await sandbox.execute(
                "import os, socket, subprocess\nsocket.socket()\n"
                "subprocess.Popen(['setsid', 'sleep', '300'])\nprint(os.getppid(), os.listdir('/') != [])"
            )
            assert done.stdout.endswith("True")
            gateway = int(done.stdout.split()[0])
            left = set(descendants(gateway))
            assert len(caplog.records) == 1
            await sandbox.restart()
            assert len(caplog.records) == 2
        assert all("WITHOUT A SANDBOX" in record.getMessage() for record in caplog.records)
        assert not left & set(filter(_command, left))

    asyncio.run(work())
