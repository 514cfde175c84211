"""Questions for the built-in web search and for Wolfram|Alpha."""

from __future__ import annotations

import json

from ..dialog import Turns, answer, builtin, result, user
from ..words import Source, listed

TOPICS = """inflation rate|weather|population|prime minister|latest news|stock price|release date|football score|
exchange rate|tallest building|best restaurant|train strike|election result|festival|film premiere|new phone|
space launch|marathon winner|mayor|president|capital|unemployment rate|
interest rate|opening hours|price|coach|director|author|
founder|chief executive|largest city|official language|national anthem|currency|ticket price|temperature|forecast|
traffic|museum|airport|champion|top scorer|minimum wage|average salary|water level|snow depth|flight status|history|
meaning|height|age|owner|winner|captain|singer|score|schedule|review|recipe|lyrics|plot|cast|address|phone number"""
_TOPICS = [t.strip() for t in TOPICS.replace("\n", "").split("|")]
_STRIP = [
    "What is the {x}?", "What's the {x}?", "what is the {x}", "Who is the {x}?", "Who's the {x}?",
    "Tell me the {x}",
    "Tell me about the {x}", "Search for the {x}", "Search for {x}", "Look up the {x}", "Look up {x}",
    "Find the {x}",
    "Find {x}", "Search {x}", "Can you look up the {x}?", "Can you find the {x}?", "I need the {x}",
    "Google {x}",
    "I want to know the {x}", "Do you know the {x}?", "What are the {x}?", "Could you find the {x}?",
    "Can you search the web for {x}?", "Please search for {x}", "I want to know more about {x}",
    "I want to hear about {x}", "Could you tell me the {x}?", "Can you tell me about {x}?",
    "Please look up the {x}", "Search the web for {x}",
    "Find out the {x}", "Check the {x}", "Give me the {x}", "What was the {x}?", "Who was the {x}?",
    "Tell me who the {x} is", "Can you say what the {x} is?", "I wonder what the {x} is",
    "Do you know who the {x} is?",
    "Say what the {x} is", "Find out what the {x} is", "Search the internet for {x}",
    "Find information about {x}", "Tell me about {x}", "What is {x}?",
    "Who is {x}?",
    "search: {x}", "Could you search for {x}?", "Web search: {x}", "Please look up {x}", "{x}",
]  # fmt: skip
_STRIP_HELD = [
    "Can you search for {x}?",
    "Could you look up the {x}?",
    "Please find the {x}",
    "Search the web for the {x}",
    "Tell me what the {x} is",
    "Can you tell me the {x}?",
    "I want to know about {x}",
]
_WHOLE = [
    "Who won the {a} in {y}", "When did {s} {a}", "Where is {s}", "How tall is {s}", "How old is {s}",
    "When was {s} born", "Who wrote {s}", "Who invented the {a}", "How many people live in {p}",
    "How many {a} does {p} have", "How many {a} can be found in {p}", "How many {a} did {s} win",
    "How many {a} were in {p}", "Does {s} work in {p}", "Does {s} play the {a}", "Did {s} live in {p}",
    "Where are the {a} in {p}", "Who found the {a}", "When did {s} leave the {a}", "Which {a} lost in {y}",
    "Why did {s} {a}",
    "Where was {s} born", "When does {s} open", "How far is {p} from {r}", "Who plays {s} in {q}",
    "Where can I buy {a}",
    "Which team won the {a}", "When is the next {a} in {p}", "How much does {a} cost in {p}",
    "Did {s} win the {a}",
    "How many {a} are there in {p}", "How many {a} are found in {p}", "How many {a} are now in {p}",
    "How many {a} are on {p}", "How many {a} are left in {p}", "How many of the {a} are in {p}",
    "How many {a} live in {p}", "How many {t} are from {p}", "How many {a} come from {p}",
    "How many {a} has {p}", "How many {a} were there in {p} in {y}", "How many {a} are made in {p}",
    "Does {s} own a {a} in {p}", "Does {s} come from {p}", "Who found {q}", "Where in {p} is the {a}",
    "Is {s} still {a}", "What happened in {p} in {y}", "What happened to {s}", "How do I get from {p} to {r}",
    "Which {a} is the best", "Who directed {q}", "When will {s} {a}", "Are there any {a} in {p}",
]  # fmt: skip
_WHOLE_HELD = ["When did {s} win the {a}", "How many {a} are in {p}", "Who discovered the {a}",
    "Where is the {a} in {p}",
               "Which {a} won in {y}", "Does {s} live in {p}"]  # fmt: skip
_SENTENCES = [
    "{t} in {p} reached {n} in {y}", "{p} announced that the {t} is {n}", "{s} was named {t} of {p} in {y}",
    "The {t} of {p} is {s}", "The {t} is {q}", "{s} won the {t} in {p}",
    "Officials in {p} said the {t} will {a}",
    "The {t} for {p} was last measured at {n} percent", "{q}", "{s} {a} the {q} in {p}", "{p} has {n} {a}",
    "{q} and {q}, {n} {a}", "In {y}, {s} {a} {q}", "{s} is {n} years old", "The population of {p} is {n}",
    "{q}: {q}", "{s} ({n}) {a}", "{p}, {r} and {s}", "As of {y} the {t} was {n}", "It is {n} degrees in {p}",
]  # fmt: skip


def topic(source: Source) -> str:
    """Something to look up, without an article in front."""
    kind = source.rng.random()
    if kind < 0.45:
        head = source.pick(_TOPICS) if source.chance(0.75) else source.phrase(1, 2)
        middle = source.pick(["in", "of", "for", "in", "of", "at", "on", "about"])
        tail = source.thing() if source.chance(0.7) else source.place()
        last = source.pick(
            ["", "", "", "", " today", " right now", f" in {source.int(1980, 2027)}", " this week"]
        )
        return f"{head} {middle} {tail}{last}"
    if kind < 0.6:
        return f"{source.place()} {source.pick(_TOPICS)}"
    if kind < 0.7:
        return f"{source.thing()} {source.int(1950, 2027)}"
    if kind < 0.8:
        return f"{source.person()}"
    return source.phrase(1, 4)


def _slots(source: Source, template: str) -> str:
    out = template
    for _ in range(8):
        for key, make in (("{s}", source.person), ("{p}", source.place), ("{r}", source.place),
                          ("{q}", lambda: source.phrase(1, 3)), ("{a}", lambda: source.phrase(1, 2)),
                          ("{t}", lambda: source.pick(_TOPICS)), ("{n}", lambda: _amount(source)),
                          ("{y}", lambda: str(source.int(1900, 2027)))):  # fmt: skip
            if key in out:
                out = out.replace(key, make(), 1)
        if "{" not in out:
            break
    return out


def _amount(source: Source) -> str:
    kind = source.rng.random()
    if kind < 0.6:
        return str(source.number(6))
    return source.decimal() if kind < 0.8 else f"{source.number(7):,}"


def question(source: Source) -> tuple[str, str]:
    """A question for the web, and the query: the question without its asking words, or all of it."""
    if source.chance(0.3):
        whole = _slots(source, source.wording(_WHOLE, _WHOLE_HELD))
        if source.chance(0.25):
            whole = whole[:1].lower() + whole[1:]
        return whole + ("?" if source.chance(0.75) else ""), whole
    query = topic(source)
    template = source.wording(_STRIP, _STRIP_HELD)
    return source.noisy(template).replace("{x}", query), query


def _url(source: Source) -> str:
    host = source.word() + source.pick([".com", ".org", ".net", ".io", ".co.uk", ".de", ".gov"])
    www = "www." if source.chance(0.35) else ""
    path = "/".join(
        source.word() if source.chance(0.7) else f"{source.word()}-{source.word()}"
        for _ in range(source.int(0, 2))
    )
    return f"https://{www}{host}/{path}" + (str(source.number(5)) if path and source.chance(0.1) else "")


def sentence(source: Source) -> str:
    """A statement such as a search result holds, without its full stop."""
    out = _slots(source, source.pick(_SENTENCES))
    return out[:1].upper() + out[1:]


def _entry(source: Source, title: str, url: str, about: str, order: float) -> dict[str, object]:
    """One hit, with its fields in one of the orders and with the extras that search services give."""
    entry: dict[str, object] = {"title": title, "url": url, "description": about}
    entry = {"type": "search_result", **entry} if order < 0.7 else {**entry, "type": "search_result"}
    if source.chance(0.08):
        entry["date"] = source.day().isoformat()
    if source.chance(0.04):
        entry["extra_snippets"] = [sentence(source) for _ in range(source.int(1, 2))]
    return entry


def hits(source: Source, query: str, first: str, url: str) -> str:
    """Search results in the reference's form."""
    top = []
    order = source.rng.random()
    for i in range(source.pick([1, 1, 1, 2, 2])):
        title = query.capitalize() if source.chance(0.15) else source.phrase(1, 3)
        about = first if i == 0 else sentence(source) + "."
        top.append(_entry(source, title, url if i == 0 else _url(source), about, order))
    return json.dumps({"query": query, "top_k": top})


def failure(source: Source) -> tuple[str, str]:
    """A failed tool: its result and the answer."""
    reason = source.pick([
        "{q}", "connection refused", "timed out after {n} seconds", "HTTP {n}",
        "rate limited, retry after {n} seconds",
        "the key is not valid", "{q}: {q}", "the service is not available", "no answer from {w}",
        "invalid {w}: {q}",
        "network is unreachable", "HTTP {n} {q}", "{W}Error: {q}",
    ])  # fmt: skip
    reason = reason.replace("{n}", str(source.int(1, 600))).replace("{w}", source.word())
    reason = reason.replace("{W}", source.word().capitalize())
    while "{q}" in reason:
        reason = reason.replace("{q}", source.phrase(2, 4), 1)
    return f"Error when running tool: {reason}", f"The tool failed: {reason}"


def search(source: Source) -> Turns:
    """A question for the web, answered from the first hit with its source."""
    asked, query = question(source)
    start = [user(asked), builtin("brave_search", query)]
    kind = source.rng.random()
    if kind < 0.06:
        text, told = failure(source)
        return [*start, result(text, "brave_search"), answer(told)]
    if kind < 0.1:
        return [*start, result(json.dumps({"query": query, "top_k": []}), "brave_search"),
                answer("The search found nothing.")]  # fmt: skip
    first, url = sentence(source), _url(source)
    about = first + "."
    if source.chance(0.4):
        about += " " + sentence(source) + "."
    elif source.chance(0.15):
        about = first
    return [
        *start,
        result(hits(source, query, about, url), "brave_search"),
        answer(f"{first}. Source: {url}"),
    ]


_UNITS = listed(
    """miles kilometers feet meters pounds kilograms gallons liters inches yards ounces grams celsius fahrenheit
hours minutes seconds days weeks centimeters tons acres hectares joules calories knots watts pints cups euros dollars
km kg cm mm lb oz ft mph"""
)
_PREFIXED = ["What is {x}?", "what is the {x}", "Find the {x}", "compute the {x}", "{x}",
    "Calculate the {x}", "What is the {x}?",
             "What's the {x}?", "Give me the {x}", "Could you give me the {x}?", "Can you find the {x}?",
             "Please find the {x}", "Could you compute the {x}?", "Tell me the {x}",
             "Ask Wolfram for the {x}",
             "I need the {x}",
             "Ask Wolfram Alpha for the {x}", "Show me the {x}"]  # fmt: skip
_PREFIXED_HELD = ["Work out the {x}", "Could you find the {x}?", "Can you compute the {x}?"]
_CONVERT = ["Convert {x} to {v}", "How many {v} are in {x}?", "{x} in {v}", "{x} to {v}",
    "What is {x} in {v}?",
            "How much is {x} in {v}?", "Turn {x} to {v}", "Transform {x} into {v}", "Put {x} into {v}",
            "How many {v} are {x}?", "How many {v} make {x}?", "Could you convert {x} to {v}?",
            "convert {x} into {v}", "How many {v} is {x}?", "Change {x} to {v}",
            "Express {x} in {v}"]  # fmt: skip
_CONVERT_HELD = ["Can you convert {x} to {v}?", "How many {v} are there in {x}?", "Turn {x} into {v}"]
_SOLVE = ["Solve {x}", "solve the equation {x}", "What are the solutions of {x}?", "Could you solve {x}?",
"Find all solutions of {x}", "Solve the following: {x}", "Solve {x} for x",
    "Find x: {x}",
          "Find x if {x}", "What is x if {x}?", "Solve for x: {x}", "Find the roots of {x}"]  # fmt: skip
_SOLVE_HELD = ["Can you solve {x}?", "Find the solutions of {x}", "Solve this equation: {x}"]


def _term(source: Source) -> str:
    a, b, c = source.int(2, 19), source.int(1, 30), source.int(1, 99)
    n = source.int(2, 9)
    shape = source.pick([
        "x^{n} + {b}x", "{a}x^2 - {b}x + {c}", "sin({a}x)", "e^({a}x)", "ln(x) + {b}", "{a}/x + {b}",
        "cos(x) * x^{n}",
        "x^{n}", "{a}x^{n}", "{a}x + {b}", "x^{n} * sin(x)", "{a} * cos({b}x)", "sqrt(x + {b})",
        "(x + {b})^{n}",
        "tan(x)", "x * e^x", "x^3 - {b}x^2 + {c}", "1/(x + {b})", "log(x)", "sin(x) + cos(x)", "{a}*x**{n}",
    ])  # fmt: skip
    return shape.format(a=a, b=b, c=c, n=n)


def _equation(source: Source) -> str:
    a, b, c = source.int(2, 60), source.int(1, 99), source.int(1, 500)
    shape = source.pick(["{a}x + {b} = {c}", "x^2 - {b}x + {c} = 0", "{a}x - {b} = {c}",
    "{a}x^2 + {b}x - {c} = 0",
                         "x^3 = {c}", "{a}(x + {b}) = {c}", "x/{a} + {b} = {c}", "x^2 = {c}"])  # fmt: skip
    return shape.format(a=a, b=b, c=c)


def wolfram_question(source: Source) -> tuple[str, str]:
    """A question for Wolfram|Alpha and the query."""
    kind = source.rng.random()
    if kind < 0.33:
        operation = source.pick(["derivative", "integral", "derivative", "integral", "second derivative"])
        query = f"{operation} of {_term(source)}"
        return source.noisy(source.wording(_PREFIXED, _PREFIXED_HELD)).replace("{x}", query), query
    if kind < 0.63:
        amount = _amount(source)
        u, v = source.pick(_UNITS), source.pick(_UNITS)
        asked = source.noisy(source.wording(_CONVERT, _CONVERT_HELD))
        return asked.replace("{x}", f"{amount} {u}").replace("{v}", v), f"{amount} {u} to {v}"
    if kind < 0.85:
        x = _equation(source)
        return source.noisy(source.wording(_SOLVE, _SOLVE_HELD)).replace("{x}", x), f"solve {x}"
    query = source.pick(["integrate {e}", "differentiate {e}", "simplify {e}", "expand {e}", "factor {e}"])
    query = query.replace("{e}", _term(source))
    return source.noisy("{x}").replace("{x}", query), query


def _pod_text(source: Source) -> str:
    kind = source.rng.random()
    if kind < 0.25:
        return f"{source.decimal()} {source.pick(_UNITS)}"
    if kind < 0.4:
        return f"x = {source.number(4)}"
    if kind < 0.5:
        return f"x = {source.number(3)}/{source.number(3)}"
    if kind < 0.7:
        return _term(source)
    if kind < 0.8:
        return f"{source.int(1, 40)} x^{source.int(2, 9)} + {source.number(3)}"
    return str(source.number(6)) if kind < 0.9 else source.phrase(1, 4)


def wolfram_result(source: Source, query: str, text: str) -> str:
    """A Wolfram|Alpha result in the reference's form."""
    title = source.pick(
        ["Result", "Result", "Derivative", "Solution", "Decimal form", source.word().capitalize()]
    )
    meant = query if source.chance(0.6) else source.phrase(1, 4)
    first = source.pick(["Input interpretation", "Input interpretation", "Input"])
    pods: list[dict[str, object]] = [
        {"title": first, "subpods": [{"title": "", "plaintext": meant}]},
        {"title": title, "subpods": [{"title": "", "plaintext": text}], "primary": True},
    ]
    if source.chance(0.25):
        pods.append(
            {"title": source.phrase(1, 2), "subpods": [{"title": "", "plaintext": _pod_text(source)}]}
        )
    if source.chance(0.2):
        extra = source.pick(["id", "scanner", "position"])
        pods = [{"title": pod["title"], extra: source.word().capitalize(), **pod} for pod in pods]
    return json.dumps({"queryresult": {"success": True, "inputstring": query, "pods": pods}})


def wolfram(source: Source) -> Turns:
    """A question for Wolfram|Alpha."""
    asked, query = wolfram_question(source)
    start = [user(asked), builtin("wolfram_alpha", query)]
    kind = source.rng.random()
    if kind < 0.06:
        text, told = failure(source)
        return [*start, result(text, "wolfram_alpha"), answer(told)]
    if kind < 0.1:
        none = json.dumps({"queryresult": {"success": False, "inputstring": query, "pods": []}})
        return [*start, result(none, "wolfram_alpha"), answer("Wolfram Alpha found no answer.")]
    found = _pod_text(source)
    return [*start, result(wolfram_result(source, query, found), "wolfram_alpha"),
            answer(f"Wolfram Alpha says: {found}")]  # fmt: skip
