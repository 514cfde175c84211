"""A real llama-server to compare with: token ids in and out, a slot for each conversation."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

STARTING = 120.0  # seconds
# What serves it best here: no copies of slots kept aside, the attention that is faster on a processor, no polling.
SETTINGS = ("-t", "1", "-tb", "1", "-fa", "off", "-cram", "0", "--poll", "0", "--no-webui", "-fit", "off")


def find_program() -> str | None:
    """The llama-server that LLAMA_SERVER names, or that is on the path."""
    return os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")


class LlamaServer:
    """Runs a server with ``count`` slots of ``length`` tokens, in streams of their own or ``unified``."""

    def __init__(self, program: str, model: Path, *, count: int, length: int, unified: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]
        place = ("--host", "127.0.0.1", "--port", str(self._port))
        room = ("-np", str(count), "-c", str(count * length), "-kvu" if unified else "-no-kvu")
        self._command = [program, "-m", str(model), *place, *room, *SETTINGS]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"GOMP_SPINCOUNT": "1000"},
        )
        try:
            self._await_health()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait()

    def spent(self) -> float:
        """Processor seconds that it has taken so far."""
        # proc(5): utime and stime are the 14th and 15th fields, the 12th and 13th behind the program's name.
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Its resident memory."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def write(self, slot: int, tokens: Sequence[int], count: int) -> Iterator[int]:
        """The ``count`` likeliest tokens behind ``tokens``, as they come."""
        body = {
            "prompt": list(tokens), "n_predict": count, "id_slot": slot, "cache_prompt": True, "stream": True,
            "return_tokens": True, "temperature": 0, "samplers": [], "repeat_penalty": 1.0,
        }  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        try:
            connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(answer.read().decode("utf-8", "replace"))
            for line in answer:
                if line.startswith(b"data: "):
                    yield from json.loads(line[6:]).get("tokens", ())
        finally:
            connection.close()

    def _await_health(self) -> None:
        end = time.monotonic() + STARTING
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"{' '.join(self._command)} ended with status {self._process.returncode}")
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.1)
        raise RuntimeError("llama-server did not get ready")
