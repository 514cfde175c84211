"""Custom functions never seen before: the right one, with the values the person gave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..dialog import Json, Turns, answer, call, result, user
from ..words import Source, listed
from .lookup import failure

_VERBS = listed(
    """get find check book send set create order list update cancel show fetch add remove start stop open close
compute lookup search play reserve track translate convert describe rename schedule post read"""
)
_NOUNS = listed(
    """weather price stock balance ticket flight hotel room order invoice report user account email message alarm
light temperature song movie recipe route distance schedule meeting event task note file photo status rate forecast
discount score table taxi package device password contact playlist timer reminder translation definition"""
)
_PARAMETERS = listed(
    """city name id date amount title location country user code query text number count limit unit currency
category language time day year color size width height duration priority status address email phone message topic
quantity price room author artist ticker symbol level mode format speed distance person product item key"""
)
_PAIRS = [("origin", "destination"), ("source", "target"), ("start", "end"), ("from", "to"), ("first",
    "last"),
          ("from_city", "to_city"), ("sender", "receiver")]  # fmt: skip
_ASK_ONE = [
    "{V} the {n} for {v}", "{V} the {n} of {v}", "What is the {n} for {v}?", "What is the {n} of {v}?",
    "{V} the {n} {v}",
    "What's the {n} for {v}?", "Can you {v0} the {n} for {v}?", "I need the {n} for {v}",
    "Tell me the {n} of {v}", "Could you tell me the {n} of {v}?", "Could you give me the {n} for {v}?",
    "Please tell me the {n} of {v}", "Please {v0} the {n} of {v}", "I want the {n} for {v}",
    "Use {f} with {v}",
    "{n} for {v}", "{V} {n} {v}", "Please {v0} the {n} with {p} {v}", "{V} the {n} with {p} {v}",
    "{V} the {n}: {v}",
    "Could you {v0} the {n} of {v}?", "Give me the {n} for {v}", "Use {f} for {v}", "Call {f} with {p} {v}",
    "{V} the {n} in {v}", "What is the {n} in {v}?", "{V} a {n} for {v}", "{V} a {n} in {v}",
    "Tell me the {n} in {v}", "Could you tell me the {n} in {v}?", "I want the {n} in {v}",
    "Please give me the {n} in {v}", "Please tell me what the {n} of {v} is", "I want a {n} for {v}",
    "Could you {v0} the {n} in {v}?", "Please {v0} a {n} in {v}", "Use {f} on {v}", "I want to {v0} the {n} of {v}",
    "Let me know the {n} for {v}", "Would you {v0} the {n} for {v}?", "Please {v0} {n} {v}",
    "Use {f} and set {p} to {v}", "Run {f} with {p} {v}", "Please use {f} with {p} {v}",
]  # fmt: skip
_ASK_ONE_HELD = ["Could you tell me the {n} for {v}?", "Please {v0} the {n} for {v}", "I want the {n} of {v}",
                 "Use {f} with {p} {v}", "Please tell me the {n} in {v}"]  # fmt: skip
_ASK_MANY = ["{V} the {n} with {list}", "{V} the {n} for {list}", "{V} a {n} with {list}",
    "Please {v0} the {n} with {list}",
             "Call {f} with {list}", "I need you to {v0} a {n} with {list}",
             "Please {v0} the {n} for {list}", "Could you {v0} the {n} with {list}?",
             "Could you {v0} a {n} for {list}?", "{V} the {n}: {list}", "Can you {v0} the {n} with {list}?",
             "{v0} {n} {list}",
             "I want to {v0} a {n} with {list}", "{V} the {n} using {list}",
             "I need to {v0} a {n} with {list}", "I need to {v0} the {n} with {list}",
             "Please {v0} {n} with {list}", "Would you {v0} the {n} for {list}?",
             "Could you please {v0} a {n} with {list}?", "I want you to {v0} the {n} with {list}",
             "Please {v0} a {n} for {list}", "Could you {v0} the {n}: {list}",
             "Use {f} with {list}"]  # fmt: skip
_ASK_MANY_HELD = [
    "Please {v0} a {n} with {list}",
    "I need you to {v0} the {n} with {list}",
    "Could you {v0} the {n} for {list}?",
]
_ASK_PAIR = ["{V} the {n} from {v} to {w}", "What is the {n} from {v} to {w}?",
"Please {v0} the {n} from {v} to {w}", "Give me the {n} from {v} to {w}", "{V} a {n} from {v} to {w}",
             "Can you {v0} the {n} from {v} to {w}?", "I need a {n} from {v} to {w}"]  # fmt: skip
_ASK_PAIR_HELD = ["Please {v0} a {n} from {v} to {w}", "Tell me the {n} from {v} to {w}"]
_ASK_NONE = [
    "{V} the {n}",
    "What is the {n}?",
    "Call {f}",
    "Can you {v0} the {n}?",
    "Can you {v0} a {n}?",
    "Please use {f}",
    "Please {v0} the {n}",
]
_ASK_NONE_HELD = ["Could you {v0} the {n}?", "Use {f}"]


@dataclass(frozen=True)
class Function:
    """A function with the words that ask for it."""

    name: str
    verb: str
    noun: str
    parameters: tuple[tuple[str, str], ...]
    optional: str
    spec: Json


def _style(source: Source, parts: list[str]) -> str:
    kind = source.rng.random()
    if kind < 0.75:
        return "_".join(parts)
    return parts[0] + "".join(p.capitalize() for p in parts[1:]) if kind < 0.92 else ".".join(parts)


def function(source: Source, count: int | None = None, kinds: tuple[str, ...] = ()) -> Function:
    """An invented function with zero to three parameters."""
    verb = source.pick(_VERBS) if source.chance(0.75) else source.word()
    noun = source.pick(_NOUNS) if source.chance(0.4) else source.word()
    second = source.word() if source.chance(0.1) else ""
    name = _style(source, [p for p in (verb, noun, second) if p])
    count = source.pick([0, 1, 1, 1, 1, 2, 2, 3]) if count is None else count
    names: list[str] = []
    if count == 2 and not kinds and source.chance(0.25):
        names = list(source.pick(_PAIRS))
        kinds = ("string", "string")
    while len(names) < count:
        new = source.pick(_PARAMETERS) if source.chance(0.55) else source.word()
        if source.chance(0.1):
            new += "_" + (source.pick(_PARAMETERS) if source.chance(0.5) else source.word())
        if new not in names:
            names.append(new)
    types = [kinds[i] if i < len(kinds) else source.pick(["string"] * 5 + ["integer"] * 3 + ["number",
    "boolean"]) for i in range(count)]  # fmt: skip
    optional = ""
    if count and source.chance(0.2):
        optional = source.pick(_PARAMETERS)
        if optional in names:
            optional = ""
    described = source.chance(0.6)
    properties: Json = {}
    listed = [*zip(names, types, strict=True)] + (
        [(optional, source.pick(["string", "integer"]))] if optional else []
    )
    for p, t in listed:
        properties[p] = {"type": t, "description": _about(source, p)} if described else {"type": t}
        if described and source.chance(0.3):
            properties[p] = dict(reversed(properties[p].items()))
    shown_noun = f"{noun} {second}".strip()
    about = source.pick([f"{verb.capitalize()} the {shown_noun}", f"{verb.capitalize()} a {shown_noun}",
                         f"{verb.capitalize()} the {shown_noun}.", f"{verb.capitalize()}s the {shown_noun}",
                         f"{verb.capitalize()} the {shown_noun} for a {names[0] if names else 'user'}."])  # fmt: skip
    if source.chance(0.12):
        about = source.phrase(2, 6)
    parameters = {"type": "object", "properties": properties, "required": names}
    if source.chance(0.15):
        parameters = {"properties": properties, "required": names, "type": "object"}
    spec = {"name": name, "description": about, "parameters": parameters}
    return Function(name, verb, shown_noun, tuple(zip(names, types, strict=True)), optional, spec)


def _about(source: Source, parameter: str) -> str:
    shown = parameter.replace("_", " ")
    return source.pick(
        [f"The {shown}", f"The {shown}.", f"{shown.capitalize()} of the request", shown, source.phrase(1, 4)]
    )


def value(source: Source, kind: str) -> Any:
    """A value of a JSON type."""
    if kind == "integer":
        return source.number(5) if source.chance(0.93) else -source.number(3) - 1
    if kind == "number":
        text = f"{source.number(3)}.{source.int(0, 99)}"
        return float(text) if source.chance(0.8) else source.number(4)
    return source.chance(0.5) if kind == "boolean" else source.thing()


def _spoken(source: Source, v: Any) -> str:
    if v is True:
        return source.pick(["true", "true", "yes", "on"])
    if v is False:
        return source.pick(["false", "false", "no", "off"])
    return str(v)


def request(source: Source, f: Function) -> tuple[str, Json]:
    """A question for the function and the arguments of the call, in the order in which they are said."""
    values = {p: value(source, t) for p, t in f.parameters}
    names = list(values)
    spoken = {p: _spoken(source, v) for p, v in values.items()}
    pair = tuple(names) in _PAIRS
    if not names:
        template = source.wording(_ASK_NONE, _ASK_NONE_HELD)
    elif pair and source.chance(0.8):
        template = source.wording(_ASK_PAIR, _ASK_PAIR_HELD)
    elif len(names) == 1 and f.parameters[0][1] != "boolean":
        template = source.wording(_ASK_ONE, _ASK_ONE_HELD)
    else:
        template = source.wording(_ASK_MANY, _ASK_MANY_HELD)
        if source.chance(0.2):
            source.rng.shuffle(names)
    link = source.pick(["{p} {v}", "{p} {v}", "{p} {v}", "{p} {v}", "{p}={v}", "{p}: {v}"])
    said = [
        link.replace("{p}", p.replace("_", " ") if source.chance(0.5) else p).replace("{v}", spoken[p])
        for p in names
    ]
    joined = (
        said[0]
        if len(said) == 1
        else ", ".join(said[:-1]) + source.pick([" and ", " and ", ", "]) + said[-1]
        if said
        else ""
    )
    out = source.noisy(template)
    out = (
        out.replace("{V}", f.verb.capitalize())
        .replace("{v0}", f.verb)
        .replace("{n}", f.noun)
        .replace("{f}", f.name)
    )
    out = out.replace("{p}", names[0] if names else "").replace("{list}", joined)
    if names:
        out = out.replace("{v}", spoken[names[0]]).replace("{w}", spoken[names[-1]])
    return out, {p: values[p] for p in names}


def result_of(source: Source, f: Function) -> tuple[str, str]:
    """What the function returns and the answer: `The key is value` for JSON, the text itself otherwise."""
    kind = source.rng.random()
    if kind < 0.06:
        return failure(source)
    if kind < 0.3:
        text = source.pick(
            [source.thing, lambda: source.phrase(2, 7), lambda: str(source.number(6)), source.decimal]
        )()
        return text, f"The answer is: {text}"
    keys: list[str] = []
    while len(keys) < source.pick([1, 1, 1, 2, 2, 3]):
        first = source.pick(["result", "output", "answer", "value", "status", f.noun.split()[0]])
        key = (
            first if source.chance(0.5) else source.pick(_PARAMETERS) if source.chance(0.5) else source.word()
        )
        if key not in keys:
            keys.append(key)
    data = {
        k: value(source, source.pick(["string", "string", "integer", "integer", "number", "boolean"]))
        for k in keys
    }
    said = [f"the {k} is {v if isinstance(v, str) else json.dumps(v)}" for k, v in data.items()]
    text = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    return json.dumps(data), text[:1].upper() + text[1:] + "."


def toolbox(source: Source, wanted: Function, most: int = 3) -> list[Json]:
    """Between one and `most` functions, the wanted one among them."""
    specs = [wanted.spec]
    for _ in range(source.pick([0, 0, 0, 0, 1, 1, 2]) if most >= 3 else source.int(0, most - 1)):
        other = function(source)
        if other.name not in [s["name"] for s in specs] and other.noun != wanted.noun:
            specs.append(other.spec)
    source.rng.shuffle(specs)
    return specs


def custom(source: Source, f: Function) -> Turns:
    """A question, the call, its result, the answer."""
    asked, arguments = request(source, f)
    returned, told = result_of(source, f)
    return [user(asked), call(f.name, arguments), result(returned, f.name), answer(told)]
