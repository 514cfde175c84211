"""Whether processes have ended."""

import time
from pathlib import Path


def is_running(pid: int) -> bool:
    """Whether a process of that number runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def gone(*pids: int, within: float = 60.0) -> bool:
    """Whether all of them have ended within that many seconds."""
    end = time.monotonic() + within
    while any(map(is_running, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
