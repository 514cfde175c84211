"""What is said while nothing else is to be seen."""

import time

import pytest

from arriero.agent.backends import Progress
from arriero.agent.cli.terminal import Terminal
from arriero.agent.cli.waiting import Waiting
from arriero.agent.events import StepStarted


class Model:
    """Tells what it is given to tell."""

    def __init__(self) -> None:
        self.told: Progress | None = None

    def __call__(self) -> Progress | None:
        return self.told


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def waiting(model: Model, monochrome: Terminal) -> Waiting:
    one = Waiting(monochrome, model)
    one.patience = 0.0
    return one


def step(new: int) -> StepStarted:
    return StepStarted(run_id="r", seq=1, step=1, context_tokens=new, new_tokens=new, context_length=8192)


def test_nothing_is_said_before_anything_has_begun_and_after_something_is_seen(waiting: Waiting) -> None:
    assert waiting.line == ""
    waiting.for_model()
    assert waiting.line == "thinking 0.0s"
    waiting.for_nothing()
    assert waiting.line == ""


def test_nobody_is_told_of_a_short_wait(monochrome: Terminal) -> None:
    waiting = Waiting(monochrome)
    waiting.for_model()
    assert waiting.line == ""
    time.sleep(0.31)
    assert waiting.line == "thinking 0.3s"


def test_the_numbers_are_the_models(waiting: Waiting, model: Model) -> None:
    model.told = Progress(1840, 6200)
    waiting.for_model(step(6200))
    assert waiting.line == "reading prompt 1840/6200 tok  0.0s"
    model.told = Progress(6200, 6200)
    assert waiting.line == "thinking 0.0s"


def test_how_fast_it_writes_is_measured_while_nothing_is_shown(waiting: Waiting, model: Model) -> None:
    waiting.for_model(step(10))
    model.told = Progress(10, 10, 1)
    assert waiting.line == "thinking 0.0s"
    time.sleep(0.6)
    model.told = Progress(10, 10, 31)
    line = waiting.line
    assert line.startswith("thinking 0.6s · ")
    assert 30 <= float(line.split()[3]) <= 51
    waiting.for_model(step(10))
    assert waiting.line == "thinking 0.0s"


def test_a_call_that_is_written(waiting: Waiting, model: Model) -> None:
    for _ in range(3):
        waiting.for_call()
    assert waiting.line == "writing a call 0.0s"


def test_of_a_model_that_tells_nothing_what_is_known(waiting: Waiting) -> None:
    waiting.for_model(step(1600))
    assert waiting.line == "reading 1,600 tokens  0.0s"
    waiting.reading_speed = 100.0
    assert waiting.line == "reading 1,600 tokens  0.0s of about 16s"
    waiting.for_model(step(20))
    assert waiting.line == "thinking 0.0s"


def test_a_tool_shows_what_it_said_last(waiting: Waiting) -> None:
    said: list[str] = []
    waiting.for_tool("python", lambda: "".join(said))
    assert waiting.line == "● python  0.0s  (Ctrl-C stops it)"
    said.append("epoch 2")
    assert waiting.line == "● python  0.0s  epoch 2"
