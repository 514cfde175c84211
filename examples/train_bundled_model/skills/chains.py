"""Two calls in a row, where the second needs what the first returned."""

from __future__ import annotations

import json

from ..dialog import Context, Turns, after_python, answer, builtin, call, code, result, user
from ..words import Source
from .arithmetic import rounded
from .functions import function, result_of
from .lookup import _pod_text, _url, hits, topic, wolfram_result

_THEN = {
    "*": (["multiply it by {b}", "multiply the result by {b}", "times {b}"], ["multiply that by {b}"]),
    "+": (["add {b} to it", "add {b}", "add {b} to the result"], ["add {b} to that"]),
    "-": (["subtract {b} from it", "subtract {b}"], ["subtract {b} from that"]),
    "/": (["divide it by {b}", "divide the result by {b}"], ["divide that by {b}"]),
}
_FIND = ["Find the {x} and {t}", "Search for the {x} and {t}", "Look up the {x}, then {t}",
    "Find the {x}, then {t}",
         "Search for the {x}, then {t}", "Look up the {x} and {t}"]  # fmt: skip
_FIND_HELD = ["Find out the {x} and {t}", "Search the web for the {x}, then {t}"]


def _link(source: Source) -> tuple[str, str, int]:
    sign = source.pick("*+-/")
    b = source.number(3) or 3
    return source.wording(*_THEN[sign]).replace("{b}", str(b)), sign, b


def search_then_python(source: Source) -> Turns:
    """Find a number on the web, then compute with it."""
    query = topic(source)
    then, sign, b = _link(source)
    asked = source.noisy(source.wording(_FIND, _FIND_HELD)).replace("{t}", then).replace("{x}", query)
    number = str(source.number(6)) if source.chance(0.8) else source.decimal()
    first = source.pick(["The {x} is {n}", "The {x} is {n} {w}", "{n} {w} is the {x}", "{W}: {n}",
    "It is {n} {w}", "The {w} is {n}",
                         "The {x} reached {n}", "{W} {w} has {n} {w}"])  # fmt: skip
    first = first.replace("{n}", number).replace(
        "{x}", query if not any(c.isdigit() for c in query) else source.word()
    )
    while "{w}" in first or "{W}" in first:
        first = first.replace("{w}", source.word(), 1).replace("{W}", source.word().capitalize(), 1)
    program = rounded(f"{number} {sign} {b}")
    found = result(hits(source, query, first + ".", _url(source)), "brave_search")
    return [user(asked), builtin("brave_search", query), found, code(program), *after_python(source, program)]


def search_then_wolfram(source: Source) -> Turns:
    """Find a number on the web, then convert it."""
    query = topic(source)
    unit, other = (
        source.pick(["meters", "miles", "kilograms", "feet", "liters", "dollars", "hours"]),
        source.pick(["feet", "kilometers", "pounds", "gallons", "euros", "inches", "days", "yards"]),
    )
    asked = (
        source.noisy(source.wording(_FIND, _FIND_HELD))
        .replace("{t}", f"convert it to {other}")
        .replace("{x}", query)
    )
    number = str(source.number(6)) if source.chance(0.8) else source.decimal()
    name = query if not any(c.isdigit() for c in query) else source.word()
    first = source.pick(
        [f"The {name} is {number} {unit}", f"It is {number} {unit}", f"{number} {unit} is the {name}"]
    )
    first = first[:1].upper() + first[1:]
    found = result(hits(source, query, first + ".", _url(source)), "brave_search")
    second = f"{number} {unit} to {other}"
    text = _pod_text(source)
    return [user(asked), builtin("brave_search", query), found, builtin("wolfram_alpha", second),
            result(wolfram_result(source, second, text), "wolfram_alpha"),
            answer(f"Wolfram Alpha says: {text}")]  # fmt: skip


def python_then_python(source: Source) -> Turns:
    """Compute, then compute with the printed result."""
    a, b = source.number(4), source.number(3) or 5
    first = source.pick(["*", "+", "-"])
    then, sign, c = _link(source)
    asked = source.wording(["Compute {e}, then {t}", "Calculate {e} and then {t}", "What is {e}? Then {t}",
    "First compute {e}, then {t}"],
                           ["Calculate {e}, then {t}", "Work out {e} and then {t}"])  # fmt: skip
    asked = source.noisy(asked).replace("{e}", f"{a} {first} {b}").replace("{t}", then)
    value = str(eval(f"{a} {first} {b}"))
    if source.chance(0.4):
        value = source.scramble(value).lstrip("0") or "1"
        value = value.replace("-0", "-")
        value = "4" if value == "-" else value
    program = f"print({value} {sign} {c})" if sign != "/" else rounded(f"{value} {sign} {c}")
    try:
        compile(program, "", "exec")
    except SyntaxError:
        return python_then_python(source)
    shown = result(f"completed\n[stdout]\n{value}\n[/stdout]", "code_interpreter")
    return [
        user(asked),
        code(f"print({a} {first} {b})"),
        shown,
        code(program),
        *after_python(source, program),
    ]


def function_then_function(source: Source, context: Context) -> Turns:
    """One function finds the key that the other one takes; sets the functions of the context."""
    kind = source.pick(["string", "integer"])
    one = function(source, 1, ("string",))
    two = function(source, 1, (kind,))
    while two.name == one.name or two.noun == one.noun:
        two = function(source, 1, (kind,))
    context.functions = [one.spec, two.spec] if source.chance(0.5) else [two.spec, one.spec]
    p, q = one.parameters[0][0], two.parameters[0][0]
    given = source.thing()
    asked = source.wording(
        ["{V} the {n} for {v}, then {u} the {m} for it", "{V} the {n} of {v} and {u} the {m} for it",
        "Find the {n} of {v}, then {u} the {m} with it",
         "{V} the {n} with {p} {v} and then {u} the {m} with that {q}",
         "Use {f} for {v}, then {g} with the result",
         "First {v0} the {n} for {v}, then {u} the {m} with that {q}"],
        ["{V} the {n} for {v} and then {u} the {m} for it",
        "{V} the {n} of {v}, then {u} the {m} with that {q}"],
    )  # fmt: skip
    for key, text in (("{V}", one.verb.capitalize()), ("{v0}", one.verb), ("{n}", one.noun),
    ("{u}", two.verb),
                      ("{m}", two.noun), ("{p}", p), ("{q}", q), ("{f}", one.name), ("{g}", two.name),
                      ("{v}", given)):  # fmt: skip
        asked = asked.replace(key, text)
    found = (
        source.number(6) if kind == "integer" else source.pick([source.token, source.place, source.person])()
    )
    shown = json.dumps({source.pick([q, "result", "output", source.word()]): found})
    if source.chance(0.25):
        shown = str(found)
    returned, told = result_of(source, two)
    return [user(asked), call(one.name, {p: given}), result(shown, one.name), call(two.name, {q: found}),
            result(returned, two.name), answer(told)]  # fmt: skip


def function_then_python(source: Source, context: Context) -> Turns:
    """A function returns a number to compute with; sets the functions of the context."""
    one = function(source, 1, ("string",))
    context.functions = [one.spec]
    given = source.thing()
    then, sign, b = _link(source)
    asked = source.wording(["{V} the {n} for {v} and {t}", "{V} the {n} of {v}, then {t}",
    "Find the {n} for {v}, then {t}"],
                           ["{V} the {n} for {v}, then {t}"])  # fmt: skip
    for key, text in (("{V}", one.verb.capitalize()), ("{n}", one.noun), ("{v}", given), ("{t}", then)):
        asked = asked.replace(key, text)
    number = str(source.number(6)) if source.chance(0.8) else source.decimal().lstrip("0") or "1.5"
    number = "0" + number if number.startswith(".") else number
    shown = (
        number
        if source.chance(0.3)
        else f'{{"{source.pick(["result", "output", "value", source.word()])}": {number}}}'
    )
    program = rounded(f"{number} {sign} {b}")
    return [user(asked), call(one.name, {one.parameters[0][0]: given}), result(shown, one.name), code(program),
            *after_python(source, program)]  # fmt: skip
