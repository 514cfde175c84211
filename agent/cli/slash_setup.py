"""Slash commands that show and change the set-up: tools, model, instructions, sampling, approvals, screens."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from arriero.agent.files import read_text
from arriero.safety.base import PLACES

from .settings import ShowTools
from .slash_command import Command

if TYPE_CHECKING:
    from .chat import Chat


def _tools(chat: "Chat", rest: str) -> None:
    session = chat.session
    if not rest:
        if not session.tools:
            chat.say("no tools")
        for name in session.tools:
            chat.say(f"{name:<10}{'off' if name in session.off else 'on'}", "")
        for line in [*session.toolbox.notices, *session.toolbox.hints]:
            chat.say(line)
        return
    state, _, name = rest.partition(" ")
    if state not in ("on", "off") or name not in session.tools:
        known = ", ".join(session.tools) or "none work here"
        chat.complain(f"write /tools on NAME or /tools off NAME; tools: {known}")
        return
    if state == "off":
        session.off.add(name)
    else:
        session.off.discard(name)
    _begin_anew(chat, f"{name} is {state}")


def _model(chat: "Chat", rest: str) -> None:
    if not rest:
        model = chat.session.model
        chat.say(
            f"{model.name}, {model.context_length:,} tokens of context, form {chat.session.agent.dialect.name}",
            "",
        )
        return
    chat.load_model(rest)
    chat.say(f"the model is {chat.session.model.name}; the conversation begins anew")


def _system(chat: "Chat", rest: str) -> None:
    session = chat.session
    if not rest:
        chat.say(session.agent.instructions, "")
        return
    text = read_text(Path(rest[1:]).expanduser()).strip() if rest.startswith("@") else rest
    session.settings = replace(session.settings, instructions=text)
    _begin_anew(chat, "the instructions are changed")


def _begin_anew(chat: "Chat", what: str) -> None:
    had = bool(chat.session.conversation.messages)
    chat.session.renew()
    chat.say(f"{what}; the conversation begins anew" if had else what)


_PARAMS: Final[dict[str, tuple[type[float] | type[int], float, float]]] = {
    "temperature": (float, 0.0, 100.0),
    "top_p": (float, 0.0, 1.0),
    "top_k": (int, 0, 2**31 - 1),
    "min_p": (float, 0.0, 1.0),
    "seed": (int, 0, 2**32 - 1),
    "max_steps": (int, 1, 2**31 - 1),
    "max_tokens": (int, 1, 2**31 - 1),
}
_OF_LIMITS: Final = ("max_steps", "max_tokens")


def _params(chat: "Chat", rest: str) -> None:
    agent = chat.session.agent
    for pair in rest.split():
        name, equals, text = pair.partition("=")
        if name not in _PARAMS or not equals:
            chat.complain(f"write NAME=VALUE with one of {', '.join(_PARAMS)}")
            return
        kind, least, most = _PARAMS[name]
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            chat.complain(f"{name} should be a number from {least:g} to {most:g}, not {text!r}")
            return
        change: dict[str, Any] = {name: value}
        if name in _OF_LIMITS:
            agent.limits = replace(agent.limits, **change)
        else:
            agent.sampling = replace(agent.sampling, **change)
    shown = {name: getattr(agent.limits if name in _OF_LIMITS else agent.sampling, name) for name in _PARAMS}
    chat.say("  ".join(f"{name}={value}" for name, value in shown.items()), "")


def _approve(chat: "Chat", rest: str) -> None:
    session = chat.session
    if rest == "forget":
        session.approver.forget()
        session.allow(())
        chat.say("every call that needs approval is asked about again")
    elif rest:
        session.allow((*session.settings.approve, rest))
        chat.say(
            f"calls like {rest} run unasked in this conversation; to have it so for good: arriero config edit"
        )
    else:
        settings = session.settings
        known = [
            *(f"{pattern}: never runs" for pattern in settings.deny),
            *(f"{pattern}: is asked about" for pattern in settings.ask),
            *(f"{pattern}: runs unasked" for pattern in settings.approve),
        ]
        lines = [*known, *session.approver.remembered]
        chat.say("\n".join(lines) or "calls that need approval are asked about each time", "")


def _show_tools(chat: "Chat", rest: str) -> None:
    session = chat.session
    wanted = next((one for one in get_args(ShowTools) if one == rest), None)
    if rest and wanted is None:
        chat.complain(f"write /show-tools with one of {', '.join(get_args(ShowTools))}")
        return
    if wanted is not None:
        session.settings = replace(session.settings, show_tools=wanted)
    chat.say(f"of tool calls is shown: {_SHOWN[session.settings.show_tools]}")


_SHOWN: Final[dict[ShowTools, str]] = {
    "full": "the call and its result",
    "line": "a line each; /last shows the last one whole",
    "off": "nothing; /last shows the last one whole",
}


def _safety(chat: "Chat", rest: str) -> None:
    from .safety_commands import sentence

    policy = chat.session.guards.policy
    chat.say(f"policy {policy.name}", "")
    for place in PLACES:
        if rules := policy.rules(place):
            chat.say(f"  {place:12}{', '.join(rules)}", "")
    objected = [one for one in chat.verdicts if one.action != "allow" or one.failed]
    chat.say(f"{len(chat.verdicts)} verdicts so far, {len(objected)} of them objected to something")
    for one in objected:
        chat.say(sentence(one), "yellow")


def _tool_words(chat: "Chat") -> Iterable[str]:
    return ("on", "off", *chat.session.tools)


def _model_words(chat: "Chat") -> Iterable[str]:
    from arriero.agent.store import ModelStore

    return ("bundled", *(model.name for model in ModelStore().installed()))


COMMANDS: Final = (
    Command("tools [on|off NAME]", "show the tools, or switch one", _tools, words=_tool_words),
    Command("model [MODEL]", "show the model, or load another", _model, words=_model_words, paths=True),
    Command("system [TEXT|@FILE]", "show the instructions, or change them", _system),
    Command(
        "params [NAME=VALUE]...",
        "show or change sampling and limits",
        _params,
        words=lambda chat: (f"{name}=" for name in _PARAMS),
    ),
    Command(
        "approve [PATTERN|forget]",
        "what runs unasked; have calls like 'pay(sum=[0-9])' do so",
        _approve,
        words=lambda chat: ("forget", *(tool.name for tool in chat.session.tools.values())),
    ),
    Command(
        "show-tools [full|line|off]",
        "how much of tool calls is shown",
        _show_tools,
        words=lambda chat: get_args(ShowTools),
    ),
    Command("safety", "which screens stand where, and what they objected to", _safety),
)
