"""Arithmetic through the Python tool: sums, powers, percents, decimals, parentheses, follow-ups."""

from __future__ import annotations

from ..dialog import Turns, after_python, answer, code, python_result, user
from ..words import Source

_WORDS = {
    "+": ["plus", "+", "+", "+", "plus", "added to"],
    "-": ["minus", "-", "-", "minus", "less", "take away"],
    "*": ["times", "*", "*", "x", "times", "multiplied by", "×"],
    "/": ["divided by", "/", "/", "divided by", "over", "÷"],
    "%": ["modulo", "mod", "%"],
    "//": ["//"],
}
_ASK = [
    "What is {e}?", "What is {e}?", "What's {e}?", "Compute {e}", "Calculate {e}.", "{e}", "{e} = ?",
    "{e}=", "{e}?",
    "How much is {e}?", "Tell me {e}", "Work out {e}", "Evaluate {e}", "Solve {e}", "Can you compute {e}?",
    "I need {e}", "What does {e} equal?", "What do you get for {e}?", "What does {e} give?",
    "What does {e} come to?", "How much will {e} be?", "Say what {e} is", "Show what {e} makes",
    "I want to know what {e} gives", "What does {e} amount to?", "How much does {e} give?",
    "Tell me how much {e} is", "Do you know what {e} is?", "I would like {e}",
    "What is the answer to {e}?", "Could you tell me {e}?", "Use Python to compute {e}",
    "result of {e}",
    "What is the result of {e}?", "Give me {e}", "Can you calculate {e} for me?", "Find {e}",
    "Do the math: {e}",
    "What will {e} be?", "Could you work out {e}?", "Please calculate {e}", "Run {e} in Python",
]  # fmt: skip
_ASK_HELD = ["What is the value of {e}?", "Figure out {e}", "How much does {e} make?",
    "Could you evaluate {e}?",
             "Tell me what {e} is", "I'd like to know {e}"]  # fmt: skip
SMALL = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


def rounded(expression: str) -> str:
    """The expression, printed with at most four decimals."""
    return f"print(round({expression}, 4))"


def ask(source: Source, expression: str) -> str:
    """A question for the value of an expression."""
    return source.noisy(source.wording(_ASK, _ASK_HELD)).replace("{e}", expression)


def _finish(source: Source, question: str, program: str) -> Turns:
    return [user(question), code(program), *after_python(source, program)]


def _show(program: str, inexact: bool) -> str:
    return rounded(program) if inexact else f"print({program})"


def two_numbers(source: Source) -> Turns:
    """`a op b`, in signs or in words."""
    sign = source.pick(["+", "-", "*", "*", "/", "%", "+", "-", "*", "/", "//"])
    big = 7 if source.chance(0.15) else 4
    exact = source.chance(0.8)
    a, b = (str(source.number(big)) if exact or source.chance(0.4) else source.decimal() for _ in range(2))
    if float(b) == 0 and sign in ("/", "%", "//") and source.chance(0.5):
        b = "7"
    shown_a, shown_b = a, b
    if source.chance(0.07):
        a, b = str(source.int(0, 12)), str(source.int(1, 12))
        shown_a, shown_b = SMALL[int(a)], SMALL[int(b)]
    spoken = source.pick(_WORDS[sign])
    tight = source.chance(0.4) and not spoken.isalpha() and " " not in spoken
    expression = f"{shown_a}{'' if tight else ' '}{spoken}{'' if tight else ' '}{shown_b}"
    program = _show(f"{a} {sign} {b}", sign == "/" or "." in a + b)
    if float(b) == 0 and sign in ("/", "%", "//"):
        return [user(ask(source, expression)), code(program), *_zero()]
    return _finish(source, ask(source, expression), program)


def _zero() -> Turns:
    line = "ZeroDivisionError: division by zero"
    return [
        python_result(
            stderr=f'Traceback (most recent call last):\n  File "<stdin>", line 1, in <module>\n{line}'
        ),
        answer(f"Python reported an error: {line}"),
    ]


def longer(source: Source) -> Turns:
    """Three to five operands, often with parentheses."""
    count = source.int(3, 5)
    numbers = [str(source.number(3)) if source.chance(0.85) else source.decimal() for _ in range(count)]
    signs = [source.pick("+-*+-*/") for _ in range(count - 1)]
    pieces: list[str] = []
    open_at = source.int(0, count - 2) if source.chance(0.55) else -1
    close_at = source.int(open_at + 1, count - 1) if open_at >= 0 else -1
    for i, number in enumerate(numbers):
        pieces.append(("(" if i == open_at else "") + number + (")" if i == close_at else ""))
        if i < count - 1:
            pieces.append(signs[i])
    expression = " ".join(pieces)
    try:
        eval(expression)
    except ZeroDivisionError:
        return longer(source)
    program = _show(expression, "/" in signs or "." in expression)
    shown = expression.replace(" ", "") if source.chance(0.4) else expression
    kind = source.rng.random()
    if kind < 0.1:
        shown = shown.replace("*", "x")
    elif kind < 0.25:
        words = {"+": " plus ", "-": " minus ", "*": " times ", "/": " divided by "}
        shown = "".join(words.get(char, char) for char in expression.replace(" ", ""))
    return _finish(source, ask(source, shown), program)


def power(source: Source) -> Turns:
    """Powers, squares, cubes and roots."""
    a, b = source.int(2, 99) if source.chance(0.7) else source.int(2, 9999), source.int(2, 12)
    kind = source.rng.random()
    if kind < 0.5:
        shape = source.wording(
            ["{a}^{b}", "{a} ^ {b}", "{a}**{b}", "{a} ** {b}", "{a} to the power of {b}",
            "{a} to the power {b}",
             "{a} raised to {b}", "{a} to the {b}th power"],
            ["{a} raised to the power of {b}", "{a}^{b}"],
        )  # fmt: skip
        return _finish(source, ask(source, shape.format(a=a, b=b)), f"print({a} ** {b})")
    if kind < 0.65:
        shape = source.wording(["{a} squared", "the square of {a}"], ["{a} squared"])
        return _finish(source, ask(source, shape.format(a=a)), f"print({a} ** 2)")
    if kind < 0.75:
        shape = source.wording(["{a} cubed", "the cube of {a}"], ["{a} cubed"])
        return _finish(source, ask(source, shape.format(a=a)), f"print({a} ** 3)")
    n = source.number(6)
    shape = source.wording(
        ["the square root of {n}", "sqrt({n})", "square root of {n}", "sqrt of {n}", "the root of {n}"],
        ["the square root of {n}", "square root of {n}"],
    )
    program = f"import math\nprint(round(math.sqrt({n}), 4))"
    return _finish(source, ask(source, shape.format(n=n)), program)


def percent(source: Source) -> Turns:
    """Percentages, tips, discounts and increases."""
    p = source.int(1, 99) if source.chance(0.8) else source.decimal()
    n = source.number(5) if source.chance(0.8) else source.decimal()
    kind = source.rng.random()
    if kind < 0.6:
        shape = source.wording(
            ["{p}% of {n}", "{p} percent of {n}", "{p} % of {n}", "{p} per cent of {n}", "a {p}% tip on {n}"],
            ["{p}% of {n}", "{p} percent of {n}"],
        )
        return _finish(source, ask(source, shape.format(p=p, n=n)), rounded(f"{n} * {p} / 100"))
    if kind < 0.8:
        shape = source.wording(
            [
                "{n} plus {p}%",
                "{n} increased by {p}%",
                "{n} raised by {p}%",
                "{n} increased by {p} percent",
                "{n} + {p}%",
            ],
            ["{n} increased by {p}%"],
        )
        return _finish(source, ask(source, shape.format(p=p, n=n)), rounded(f"{n} * (1 + {p} / 100)"))
    shape = source.wording(
        [
            "{n} minus {p}%",
            "{n} reduced by {p}%",
            "{n} decreased by {p}%",
            "{n} with a {p}% discount",
            "{n} - {p}%",
        ],
        ["{n} reduced by {p}%"],
    )
    return _finish(source, ask(source, shape.format(p=p, n=n)), rounded(f"{n} * (1 - {p} / 100)"))


_FOLLOW = {
    "*": (["and times {b}?", "times {b}", "then times {b}", "multiply all by {b}",
    "now multiply that by {b}", "multiply it by {b}",
    "multiply the result by {b}",
           "And multiplied by {b}?", "that times {b}"], ["now times {b}", "multiply this by {b}"]),
    "+": (["and plus {b}?", "add {b}", "add another {b}", "then plus {b}", "add {b} to that", "plus {b}",
    "now add {b} to it",
    "Add {b} to the result"],
          ["now plus {b}", "add {b} to this"]),
    "-": (["and minus {b}?", "subtract {b}", "subtract another {b}", "then minus {b}", "minus {b}",
    "now subtract {b} from that",
    "take {b} away from it"],
          ["now minus {b}", "subtract {b} from this"]),
    "/": (["and divided by {b}?", "divide that by {b}", "divide all by {b}", "then divided by {b}",
    "divide it by {b}", "now divide the result by {b}",
           "divided by {b}"], ["now divided by {b}", "divide this by {b}"]),
}  # fmt: skip


def follow_up(source: Source) -> Turns:
    """A further step on the last result."""
    first = source.pick([two_numbers, two_numbers, power, percent])(source)
    while "[stdout]" not in first[-2].text:
        first = source.pick([two_numbers, power, percent])(source)
    out = list(first)
    for _ in range(1 if source.chance(0.7) else 2):
        last = out[-1].text.removeprefix("The result is ").removesuffix(".")
        sign = source.pick("*+-/")
        b = str(source.number(3) or 7)
        question = source.noisy(source.wording(*_FOLLOW[sign])).format(b=b)
        program = _show(f"{last} {sign} {b}", sign == "/" or "." in last)
        try:
            out += _finish(source, question, program)
        except SyntaxError:
            return out
        if "[stdout]" not in out[-2].text:
            break
    return out


def arithmetic(source: Source) -> Turns:
    """Any of the above, plain questions most often."""
    kind = source.rng.random()
    if kind < 0.46:
        return two_numbers(source)
    if kind < 0.62:
        return longer(source)
    if kind < 0.75:
        return power(source)
    return percent(source) if kind < 0.87 else follow_up(source)
