"""A kernel that speaks Jupyter's protocol wrongly on purpose: its own cell suffers, the next one works."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from kernel import LIMITS, Kernel

KERNEL = "k = get_ipython().kernel\n"
HOSTILE = {
    "garbage": KERNEL + "for _ in range(3000): k.iopub_socket.send_multipart([b'x', b'y'])",
    "false end": KERNEL
    + "k.session.send(k.iopub_socket, 'status', {'execution_state': 'idle'}, parent=k.get_parent())\nprint('on')",
    "wrong types": KERNEL
    + "for wrong in (None, 5, [], 'x'):\n    for kind in ('stream', 'display_data', 'error', 'status'):\n"
    "        k.session.send(k.iopub_socket, kind, {'data': wrong, 'traceback': wrong, 'text': wrong, 'name': wrong},"
    " parent=k.get_parent())",
    "others' cells": KERNEL + "k.session.send(k.iopub_socket, 'stream', {'name': 'stdout', 'text': 'forged'},"
    " parent={'msg_id': 'another', 'header': {}});",
    "silent": KERNEL + "k.iopub_thread.stop()",
    "closed": KERNEL + "import gc, zmq\n[s.close(0) for s in gc.get_objects() if isinstance(s, zmq.Socket)]",
}


@pytest.fixture(scope="module")
def one(best_level: str) -> Iterator[Kernel]:
    made = Kernel(best_level, spare=True, limits=replace(LIMITS, interrupt_grace_s=0.5))
    yield made
    made.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_the_next_cell_works(one: Kernel, name: str) -> None:
    done = one.run(HOSTILE[name], 1.0)
    assert "forged" not in done.stdout
    assert one.run("20 + 3").stdout == "23"
