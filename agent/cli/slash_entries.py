"""Slash commands around questions and answers: ask again, take back, attach, write, look at."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arriero.agent.approval import Decided

from .attachments import read
from .context import context_parts
from .listing import counted
from .slash_command import Command

if TYPE_CHECKING:
    from .chat import Chat

_BAR: Final = 40  # cells, in a window that is wide enough


def _undo(chat: "Chat", rest: str) -> None:
    if rest and not (rest.isdecimal() and int(rest)):
        chat.complain("write how many questions to take back, like: /undo 2")
        return
    taken: list[str] = []
    while len(taken) < int(rest or 1) and (question := chat.take_back()) is not None:
        taken.append(question)
    if not taken:
        chat.complain("there is nothing to take back")
    for question in taken:
        chat.say(f"took back: {question.splitlines()[0][:60] if question else ''}")


def _retry(chat: "Chat", rest: str) -> None:
    question = chat.take_back()
    if question is None:
        chat.complain("there is nothing to ask again")
    else:
        chat.put(question)


def _continue(chat: "Chat", rest: str) -> None:
    if not chat.session.conversation.unfinished:
        chat.complain("there is nothing unfinished")
        return
    pending = chat.session.conversation.pending
    decisions: dict[str, Decided] = {}
    for call in pending.to_decide if pending else ():
        answer = chat.session.approver.decide(call.name, call.arguments)
        if answer is None:
            return
        decisions[call.id] = answer
    chat.put(None, decisions)


def _clear(chat: "Chat", rest: str) -> None:
    while chat.take_back() is not None:
        pass
    chat.forget()
    chat.say("the conversation begins anew; variables in Python stay")


def _context(chat: "Chat", rest: str) -> None:
    parts, symbol = context_parts(chat.session), chat.terminal.symbol
    kinds = (
        ("instructions", parts.system, symbol("█", "i")),
        ("tools", parts.tools, symbol("▓", "t")),
        ("said", parts.said, symbol("▒", "s")),
        ("results", parts.results, symbol("▚", "r")),
    )
    cells = min(_BAR, chat.terminal.width - 1)
    # What is there at all takes one cell at least.
    bar = "".join(mark * max(1, round(cells * size / parts.length)) for _, size, mark in kinds if size)[
        :cells
    ]
    free = symbol("░", ".")
    legend = "\n".join(
        f"{mark} {name:14}{size:>9,}" for name, size, mark in (*kinds, ("free", parts.free, free))
    )
    chat.say(f"{bar:{free}<{cells}}\n{parts.used:,} of {parts.length:,} tokens\n{legend}", "")


def _compact(chat: "Chat", rest: str) -> None:
    if chat.session.conversation.unfinished:
        chat.complain("something is unfinished: /continue goes on with it, /undo takes it back")
        return
    before = chat.context[0]
    went = chat.session.compact()
    if not went:
        chat.say("there is no output of a tool to take out but the last; /undo and /clear make room too")
        return
    chat.say(f"taken out of the context: {went}, {before - chat.context[0]:,} tokens")


def _last(chat: "Chat", rest: str) -> None:
    chat.show_last_call()


def _stats(chat: "Chat", rest: str) -> None:
    used = chat.usage
    chat.say(
        f"{used.prompt_tokens:,} tokens read, {used.output_tokens:,} written, "
        f"{counted(used.tool_calls, 'tool call')}, {used.seconds:.1f} s"
        + (f", {chat.speed:.1f} tokens/s in the last answer" if chat.speed else ""),
        "",
    )


def _attach(chat: "Chat", rest: str) -> None:
    if rest:
        path = Path(rest.strip("\"'")).expanduser()
        read([path])
        chat.attached.append(path)
    chat.say(
        "\n".join(f"{path} comes with the next question" for path in chat.attached) or "nothing is attached"
    )


def _run(chat: "Chat", rest: str) -> None:
    from .chat_task import run

    run(chat, rest)


def _edit(chat: "Chat", rest: str) -> None:
    import click

    written = click.edit(rest or chat.last_question or "", extension=".md")
    if written is None or not written.strip():
        chat.say("nothing was sent")
    else:
        chat.ask(written.strip())


def _copy(chat: "Chat", rest: str) -> None:
    answers = [m.content for m in chat.session.conversation.messages if m.role == "assistant" and m.content]
    if not answers:
        chat.complain("there is no answer to copy")
        return
    # The terminal's own request (OSC 52) reaches the clipboard of the person's machine, over SSH too.
    data = base64.b64encode(answers[-1].encode()).decode("ascii")
    chat.terminal.stream.write(f"\x1b]52;c;{data}\a")
    chat.terminal.stream.flush()
    chat.say("sent the last answer to the clipboard, where the terminal allows it")


COMMANDS: Final = (
    Command("undo [N]", "take back the last question and its answer, or the last N", _undo),
    Command("retry", "ask the last question again", _retry),
    Command("continue", "go on with what was interrupted or waits for a decision", _continue),
    Command("clear", "forget the conversation; variables in Python stay", _clear),
    Command("context", "how full the context is, and of what", _context),
    Command("compact", "make room: take out outputs of tools but the last", _compact),
    Command("stats", "tokens, calls and time so far", _stats),
    Command("last", "show the last tool call whole", _last),
    Command(
        "attach [FILE]",
        "have a file come with the next question; @FILE in it does too",
        _attach,
        paths=True,
    ),
    Command("run FILE [NAME=VALUE]...", "run a task file with these inputs, on this model", _run, paths=True),
    Command("edit [TEXT]", "write a question in $EDITOR (also Ctrl-X Ctrl-E)", _edit),
    Command("copy", "copy the last answer", _copy),
)
