"""Task files that are run in a conversation."""

import shlex
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arriero.agent.backends import Model
from arriero.agent.tasks import Task
from arriero.agent.tasks.results import StepBegan, StepEnded, TaskEnded, TaskResult

from .runner import PATIENCE, load
from .session import sampling
from .task_commands import ending, judge_named, load_judge, output_text, pairs_of, step_lines

if TYPE_CHECKING:
    from .chat import Chat


def run(chat: "Chat", rest: str) -> None:
    """Run what ``FILE NAME=VALUE…`` says, and show what happens. Raises TaskError, ModelError, NotReady."""
    try:
        file, *inputs = shlex.split(rest)
        given = pairs_of(inputs)
    except ValueError as error:
        why = str(error) if rest else "a task file is missing"
        chat.complain(f"{why}; write /run FILE NAME=VALUE, with quotes around values that have spaces")
        return
    task = Task.load(Path(file).expanduser())
    inputs_read = task.read_inputs(given)
    wanted = task.defaults.model
    if wanted and wanted != chat.session.settings.model:
        chat.say(f"the task is written for {wanted}; here it runs on {chat.session.model.name}")
    name = judge_named(task, None)
    judge = load(lambda: load_judge(chat.session.settings, name)) if name else None
    try:
        ended = _carried_out(chat, task, inputs_read, judge)
    finally:
        if judge is not None:
            with suppress(TimeoutError):  # what is left ends with this process
                chat.session.runner.call(judge.aclose(), timeout=PATIENCE)
    if ended is not None:
        _conclude(chat, ended)


def _carried_out(
    chat: "Chat", task: Task, given: Mapping[str, Any], judge: Model | None
) -> TaskResult | None:
    """Run the task on the model and the tools of the conversation, which does not hear of it."""
    session, display = chat.session, chat.display()
    ended: TaskResult | None = None
    events = session.runner.stream(
        lambda token: task.stream(  # type: ignore[arg-type, return-value]
            session.model,
            given,
            tools={name: session.tools[name] for name in session.offered},
            judge=judge,
            sampling=task.sampling(sampling(session.settings)),
            guards=session.guards,
            cancel=token,
        )
    )
    with closing(events):
        for event in events:
            told: Any = event
            match told:
                case StepBegan(step=step, attempt=attempt):
                    chat.say(f"{step}, attempt {attempt}" if attempt > 1 else step, "bold")
                case StepEnded(result=result):
                    for number, line in enumerate(step_lines(result)):
                        chat.say(line, "red" if number else "dim")
                case TaskEnded(result=result):
                    ended = result
                case _:
                    display.handle(told)
    if display.calls:
        chat.last_call = display.calls[-1]
    return ended


def _conclude(chat: "Chat", ended: TaskResult) -> None:
    if ended.status != "ok":
        chat.complain(ending(ended))
    elif (
        not ended.steps or ended.output != ended.steps[-1].text
    ):  # else it has been shown while it was written
        chat.say(output_text(ended), "")
    chat.say(f"{ended.task}: {ended.status}, {ended.seconds:.1f} s; the conversation does not hear of it")
