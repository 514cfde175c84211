"""How often each skill, each set of tools and each set of instructions occurs."""

from __future__ import annotations

from collections.abc import Callable

from .dialog import Context, Turns
from .skills import arithmetic, chains, chat, functions, lookup, programs
from .words import MONTHS, Source

SKILLS = ("arithmetic", "programs", "search", "wolfram", "functions", "chains", "errors", "chat", "repeat",
    "decline",
          "several")  # fmt: skip
_LONG, _PRACTICE = "long", "practice"
_WEIGHTS = {"arithmetic": 0.06, "programs": 0.1, "search": 0.07, "wolfram": 0.02, "functions": 0.14, "chains": 0.04,
            "chat": 0.03, "repeat": 0.02, "decline": 0.04, "several": 0.08, _LONG: 0.2, _PRACTICE: 0.2}  # fmt: skip
"""Shares of the training dialogues; the errors come with the other skills."""
_INSTRUCTIONS = [
    "You are a helpful assistant.", "You are a helpful assistant", "You are a concise assistant.",
    "Answer briefly.", "",
    "You are a careful research agent.", "You are a helpful assistant with tool calling capabilities.",
    "Be polite and short.",
    "You are a friendly tutor.", "Help the user with their questions.",
    "You answer questions with the help of tools.",
]  # fmt: skip


def _instructions(source: Source) -> str:
    if source.chance(0.6):
        return "You are a helpful assistant."
    if source.chance(0.7):
        return source.pick(_INSTRUCTIONS)
    return f"You are {source.phrase(1, 4)}. {source.phrase(2, 8).capitalize()}."


def _date(source: Source) -> str:
    return f"{source.int(1, 28):02d} {source.pick(MONTHS)} {source.int(2023, 2031)}"


def _context(source: Source, *, python: bool = False, search: bool = False, wolfram: bool = False,
             functions_too: bool = False) -> Context:  # fmt: skip
    """The tools that the skill needs, and most often some more."""
    kind = source.rng.random()
    if kind < 0.45:
        on = (True, search, wolfram)
    elif kind < 0.75:
        on = (True, True, True)
    elif kind < 0.85:
        on = (python, search, wolfram)
    else:
        on = (source.chance(0.7), source.chance(0.5), source.chance(0.5))
    context = Context(
        on[0] or python, on[1] or search, on[2] or wolfram, [], _instructions(source), _date(source)
    )
    if functions_too and source.chance(0.08):
        context.functions = functions.toolbox(source, functions.function(source), 2)
    return context


def _finish(context: Context) -> Context:
    others = context.search or context.wolfram or bool(context.functions)
    if others and not context.python:
        context.instructions = (context.instructions + " Python is not available.").strip()
    return context


def _programs(source: Source) -> Turns:
    makers: list[Callable[[Source], Turns]] = [
        programs.numbers, programs.numbers, programs.primes, programs.strings, programs.strings, programs.strings,
        programs.lists, programs.lists, programs.plots, programs.dates,
    ]  # fmt: skip
    return source.pick(makers)(source)


def _chain(source: Source) -> tuple[Context, Turns]:
    kind = source.rng.random()
    if kind < 0.25:
        return _context(source, python=True, search=True), chains.search_then_python(source)
    if kind < 0.4:
        return _context(source, search=True, wolfram=True), chains.search_then_wolfram(source)
    if kind < 0.6:
        return _context(source, python=True), chains.python_then_python(source)
    if kind < 0.85:
        context = _context(source)
        return context, chains.function_then_function(source, context)
    context = _context(source, python=True)
    return context, chains.function_then_python(source, context)


def _plain(source: Source) -> Context:
    kind = source.rng.random()
    if kind < 0.15:
        return Context(False, False, False, [], _instructions(source), _date(source))
    return _context(source, functions_too=True)


def _several(source: Source) -> tuple[Context, Turns]:
    context = Context(True, source.chance(0.6), False, [], _instructions(source), _date(source))
    context.wolfram = context.search and source.chance(0.7)
    wanted = functions.function(source)
    if source.chance(0.25):
        context.functions = functions.toolbox(source, wanted)
    makers: list[Callable[[], Turns]] = [lambda: arithmetic.arithmetic(source)] * 3 + [
        lambda: _programs(source)
    ] * 3
    makers += [
        lambda: chat.talk(source, context),
        lambda: chat.decline(source, context),
        lambda: chat.repeat(source),
    ]
    if context.search:
        makers += [lambda: lookup.search(source)] * 2
    if context.wolfram:
        makers += [lambda: lookup.wolfram(source)] * 2
    if context.functions:
        makers += [lambda: functions.custom(source, wanted)] * 4
    turns: Turns = []
    for _ in range(source.pick([2, 2, 2, 3, 3, 4, 5])):
        turns += source.pick(makers)()
    return context, turns


def _long(source: Source) -> tuple[Context, Turns]:
    """Many questions of all kinds about one head: more to write for what there is to read, and to copy from."""
    search = source.chance(0.6)
    context = Context(
        source.chance(0.9), search, source.chance(0.5), [], _instructions(source), _date(source)
    )
    wanted = [functions.function(source) for _ in range(source.pick([0, 1, 1, 2, 2]))]
    if len(wanted) == 2 and (wanted[0].name == wanted[1].name or wanted[0].noun == wanted[1].noun):
        wanted.pop()
    if wanted:
        context.functions = functions.toolbox(source, wanted[0], 2) + [f.spec for f in wanted[1:]]
        names = [spec["name"] for spec in context.functions]
        context.functions = [
            spec for i, spec in enumerate(context.functions) if spec["name"] not in names[:i]
        ]
    makers: list[Callable[[], Turns]] = [lambda: chat.talk(source, context), lambda: chat.repeat(source),
                                         lambda: chat.decline(source, context)]  # fmt: skip
    if context.python:
        makers += [lambda: arithmetic.arithmetic(source)] * 2 + [lambda: _programs(source)] * 4
        makers += [lambda: chains.python_then_python(source)]
    if context.search:
        makers += [lambda: lookup.search(source)] * 3
    if context.search and context.python:
        makers += [lambda: chains.search_then_python(source)]
    if context.wolfram:
        makers += [lambda: lookup.wolfram(source)]
    if context.wolfram and context.search:
        makers += [lambda: chains.search_then_wolfram(source)]
    if wanted:
        makers += [lambda: functions.custom(source, source.pick(wanted))] * (4 * len(wanted))
    turns: Turns = []
    for _ in range(source.int(2, 7)):
        turns += source.pick(makers)()
    return context, turns


def _practice(source: Source) -> tuple[Context, Turns]:
    """What was hardest to learn, many times under one head: choosing, declining, dates, lists, repeated words."""
    kind = source.rng.random()
    if kind < 0.5:
        return _choosing(source)
    context = Context(
        source.chance(0.6), source.chance(0.5), source.chance(0.3), [], _instructions(source), _date(source)
    )
    makers: list[Callable[[], Turns]] = [lambda: chat.decline(source, context, tools=0.8, functions=0.6)] * 3
    if context.search:
        makers += [lambda: lookup.search(source)] * 2
    if context.python:
        makers += [
            lambda: programs.dates(source), lambda: programs.lists(source), lambda: programs.strings(source),
            lambda: arithmetic.arithmetic(source),
        ]  # fmt: skip
    if kind > 0.95:
        makers = [lambda: chat.repeat(source)]
    turns: Turns = []
    for _ in range(source.int(4, 8)):
        turns += source.pick(makers)()
    return context, turns


def _choosing(source: Source) -> tuple[Context, Turns]:
    """Several functions on offer, asked for in turn."""
    offered = [functions.function(source) for _ in range(source.int(2, 5))]
    wanted = [
        f for i, f in enumerate(offered) if not any(f.name == o.name or f.noun == o.noun for o in offered[:i])
    ]
    context = _context(source)
    context.functions = [f.spec for f in wanted]
    turns: Turns = []
    for _ in range(source.int(3, 8)):
        turns += functions.custom(source, source.pick(wanted))
    return context, turns


def dialogue(source: Source, skill: str) -> tuple[Context, Turns]:
    """A dialogue of the skill, with the tools it is offered."""
    context, turns = _dialogue(source, skill)
    return _finish(context), turns


def _dialogue(source: Source, skill: str) -> tuple[Context, Turns]:
    if skill == "arithmetic":
        return _context(source, python=True, functions_too=True), arithmetic.arithmetic(source)
    if skill == "programs":
        return _context(source, python=True, functions_too=True), _programs(source)
    if skill == "search":
        return _context(source, search=True, functions_too=source.chance(0.3)), lookup.search(source)
    if skill == "wolfram":
        return _context(source, wolfram=True, functions_too=source.chance(0.3)), lookup.wolfram(source)
    if skill == "functions":
        context = _context(source)
        wanted = functions.function(source)
        context.functions = functions.toolbox(source, wanted)
        return context, functions.custom(source, wanted)
    if skill == "chains":
        return _chain(source)
    if skill == "errors":
        return _errors(source)
    if skill in ("chat", "repeat", "decline"):
        context = _plain(source)
        if skill == "chat":
            return context, chat.talk(source, context)
        return context, chat.repeat(source) if skill == "repeat" else chat.decline(source, context)
    if skill == _PRACTICE:
        return _practice(source)
    return _long(source) if skill == _LONG else _several(source)


def _errors(source: Source) -> tuple[Context, Turns]:
    while True:
        context, turns = _dialogue(
            source, source.pick(["arithmetic", "programs", "search", "wolfram", "functions"])
        )
        if turns[-1].text.startswith(("Python reported", "The tool failed", "The code ",
        "The search found nothing",
                                      "Wolfram Alpha found no")):  # fmt: skip
            return context, turns


def training(source: Source) -> tuple[Context, Turns]:
    """A dialogue of any skill, in the proportions of the training mix."""
    return dialogue(source, source.rng.choices([*_WEIGHTS], [*_WEIGHTS.values()])[0])


def copying(source: Source) -> str:
    """Two lines that hold the same words or numbers in different dress: practice in copying alone."""
    items = [
        source.pick(
            [source.token, source.word, source.thing, lambda: str(source.number(7)), source.decimal]
        )()
        for _ in range(source.int(2, 7))
    ]
    if source.chance(0.2):
        items = [str(source.int(1, 10 ** source.int(4, 22)))]
    dress = [" ", ", ", "; ", '", "', "_", "/", " | ", "\n", ") (", "=", "': '", ": ", "-"]
    one, two = source.pick(dress), source.pick(dress)
    left, right = source.pick([("", ""), ("[", "]"), ('"', '"'), ("(", ")"), ('{"', '"}')])
    again = f"{left}{two.join(items)}{right}"
    return f"{one.join(items)}\n{again}"
