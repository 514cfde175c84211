"""Limits beside those of the level tests: each has its own words, and the conversation goes on after it."""

import asyncio

from arriero.tools.python import Sandbox, SandboxLimits
from arriero.tools.python.result import for_model

# CPU time counts for all processes together, those that have ended included.
_SPIN = "import subprocess, sys\nwhile True: subprocess.run([sys.executable, '-Sc', 'sum(range(9**6))'])"


def test_file_disk_and_cpu(best_level: str) -> None:
    async def work() -> None:
        limits = SandboxLimits(file_mb=4, work_mb=6, tmp_mb=8, cpu_s=0.4, wall_s=120)
        async with Sandbox(limits, best_level, spare=False, preload=()) as sandbox:  # type: ignore[arg-type]
            large = await sandbox.execute("open('a', 'wb').write(bytes(5 << 20))")
            assert "OSError: [Errno 27] File too large" in large.stderr
            if best_level == "bubblewrap":
                full = await sandbox.execute(
                    "for name in 'bc':\n    open(name, 'wb').write(bytes(3 << 20))\nopen('d', 'wb').write(b'x')"
                )
                assert "OSError: [Errno 28] No space left" in full.stderr
            spun = await sandbox.execute(_SPIN)
            assert "more than 0.4 s of CPU time" in spun.stderr
            text, _ = for_model(spun, limits)
            assert text.endswith(
                "[a fresh Python was started, and all variables, imports and files of its own are gone]"
            )
            assert (await sandbox.execute("1 + 1")).stdout == "2"

    asyncio.run(work())
