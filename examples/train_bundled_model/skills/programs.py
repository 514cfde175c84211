"""Small programs through the Python tool: number theory, strings, lists, statistics, dates and plots."""

from __future__ import annotations

from dataclasses import dataclass

from ..dialog import Turns, after_python, answer, code, python_error, python_result, user
from ..words import Source


@dataclass(frozen=True)
class Task:
    """Wordings, the program for them and the answer; slots in braces are filled alike in all three."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    program: str
    answer: str = "The result is {}."


N_TASKS: tuple[Task, ...] = (
    Task(("What is {n} factorial?", "factorial of {n}", "Compute {n}!", "What is the factorial of {n}?",
    "{n}!", "Tell me {n} factorial", "What's the factorial of {n}?", "Give me {n} factorial",
          "Calculate the factorial of {n}"), ("Find the factorial of {n}", "What's {n} factorial?"),
         "import math\nprint(math.factorial({n}))"),
    Task(("What is the {n}th Fibonacci number?", "Fibonacci number {n}",
    "Tell me the {n}th Fibonacci number", "Show the {n}th Fibonacci number",
    "Give me the {n}th Fibonacci number",
          "Compute fibonacci({n})", "fib({n})", "What is Fibonacci number {n}?",
          "the {n}th fibonacci number"),
         ("Find the {n}th Fibonacci number", "Fibonacci of {n}"),
         "a, b = 0, 1\nfor _ in range({n}):\n    a, b = b, a + b\nprint(a)"),
    Task(("What is the sum of the numbers from 1 to {N}?", "Sum the numbers from 1 to {N}",
    "Total of all integers from 1 to {N}", "Sum up the numbers from 1 to {N}",
    "Add the numbers from 1 to {N}", "Add up 1 to {N}",
          "sum of all integers from 1 to {N}", "Add all numbers from 1 to {N}", "What is 1 + 2 + ... + {N}?"),
         ("Total of the numbers from 1 to {N}", "Sum all the integers from 1 to {N}"),
         "print(sum(range(1, {N} + 1)))"),
    Task(("What is {N} in binary?", "Convert {N} to binary", "binary of {N}", "Give me {N} in binary",
    "Turn {N} into binary", "Print {N} in binary", "{N} as a binary number",
          "Write {N} in binary"), ("Show {N} in binary", "Change {N} to binary"), "print(bin({N})[2:])"),
    Task(("What is {N} in hexadecimal?", "Convert {N} to hex", "hex of {N}", "Give me {N} in hex",
    "Turn {N} into hexadecimal", "Print {N} in hex", "{N} in hex",
    "Write {N} in hexadecimal"),
         ("Show {N} in hex", "Change {N} to hexadecimal"), "print(hex({N})[2:])"),
    Task(("What are the divisors of {n}?", "List the divisors of {n}", "divisors of {n}",
    "Give me the divisors of {n}", "Print all divisors of {n}", "Show all the divisors of {n}",
    "Find all divisors of {n}",
          "Which numbers divide {n}?"), ("Show the divisors of {n}", "Give me all divisors of {n}"),
         "print([d for d in range(1, {n} + 1) if {n} % d == 0])"),
    Task(("What is the sum of the digits of {N}?", "digit sum of {N}", "Tell me the digit sum of {N}",
    "Add together the digits of {N}", "What's the sum of the digits of {N}?", "Add the digits of {N}",
          "Sum the digits of {N}"), ("Add up the digits of {N}", "What is the digit sum of {N}?"),
         "print(sum(int(d) for d in str({N})))"),
    Task(("How many digits does {N} have?", "number of digits in {N}", "How many digits has {N}?",
    "How many digits are there in {N}?", "Count the digits of {N}"),
         ("How many digits are in {N}?",), "print(len(str({N})))"),
    Task(("List the first {k} square numbers", "first {k} squares", "Show the first {k} squares",
    "Give me the squares of 1 to {k}", "Show me the first {k} squares",
          "Print the squares of 1 to {k}"), ("Give me the first {k} squares",),
         "print([i ** 2 for i in range(1, {k} + 1)])"),
    Task(("Count from 1 to {k}", "Print the numbers from 1 to {k}", "Give me the numbers from 1 to {k}",
    "Show me the numbers 1 to {k}", "List the numbers from 1 to {k}", "Print the numbers 1 to {k}"),
         ("Show the numbers from 1 to {k}",), "print(list(range(1, {k} + 1)))"),
    Task(("What is the gcd of {a} and {b}?", "gcd of {a} and {b}", "Tell me the gcd of {a} and {b}",
    "Work out the gcd of {a} and {b}", "greatest common divisor of {a} and {b}",
          "gcd({a}, {b})", "Find the greatest common divisor of {a} and {b}",
          "Compute the GCD of {a} and {b}"),
         ("What is the greatest common divisor of {a} and {b}?", "Give me the gcd of {a} and {b}"),
         "import math\nprint(math.gcd({a}, {b}))"),
    Task(("What is the lcm of {a} and {b}?", "lcm of {a} and {b}", "least common multiple of {a} and {b}",
          "lcm({a}, {b})", "Tell me the lcm of {a} and {b}", "Work out the lcm of {a} and {b}",
          "Find the least common multiple of {a} and {b}"),
         ("What is the least common multiple of {a} and {b}?", "Give me the lcm of {a} and {b}"),
         "import math\nprint(math.lcm({a}, {b}))"),
    Task(("What is the remainder of {a} divided by {b}?", "remainder when {a} is divided by {b}",
    "Give me the remainder of {a} divided by {b}",
          "What is the remainder when dividing {a} by {b}?"), ("the remainder of {a} divided by {b}",),
         "print({a} % {b})"),
    Task(("Which is larger, {a} or {b}?", "Which number is bigger, {a} or {b}?",
    "Which one is larger, {a} or {b}?", "What is bigger, {a} or {b}?",
    "What is the maximum of {a} and {b}?",
          "max of {a} and {b}"), ("Which is bigger, {a} or {b}?",), "print(max({a}, {b}))"),
    Task(("Pick a random number between {a} and {b}", "random number from {a} to {b}",
    "Take a random number between {a} and {b}", "Draw a random number between {a} and {b}",
          "Give me a random number between {a} and {b}"), ("Choose a random number between {a} and {b}",),
         "import random\nprint(random.randint({a}, {b}))"),
)  # fmt: skip
PRIME = Task(("Is {n} prime?", "Is {n} a prime number?", "is {n} prime", "Find out if {n} is prime",
"Tell me whether {n} is prime", "Is {n} a prime?", "Is this number prime: {n}", "Check if {n} is prime",
              "Check whether {n} is a prime number", "Tell me if {n} is prime", "prime? {n}"),
             ("Is the number {n} prime?", "Find out whether {n} is prime"),
             "print({n} > 1 and all({n} % d for d in range(2, int({n} ** 0.5) + 1)))")  # fmt: skip
PRIMES = (
    Task(("List the prime numbers below {p}", "primes below {p}", "Give me the primes below {p}",
    "Show all primes below {p}", "Show the primes up to {p}", "Which primes are smaller than {p}?",
          "all primes less than {p}", "Show me the primes up to {p}", "Find all prime numbers below {p}",
          "prime numbers up to {p}", "What are the primes under {p}?"),
         ("Give me all primes below {p}", "Show the prime numbers up to {p}"),
         "print([n for n in range(2, {p}) if all(n % d for d in range(2, n))])"),
    Task(("How many primes are below {N}?", "Count the primes below {N}", "Count all primes under {N}",
    "Tell me how many primes are below {N}", "number of primes less than {N}",
          "How many prime numbers are there below {N}?"), ("Count all the primes below {N}",),
         "print(sum(1 for n in range(2, {N}) if all(n % d for d in range(2, n))))"),
)  # fmt: skip
STRING_TASKS: tuple[Task, ...] = (
    Task(("Reverse the string {q}", "Reverse {q}", "Write {q} backwards", "Print {q} backwards",
    "Say {q} backwards", "Give me {q} backwards", "Flip {q}", "Turn {q} around",
    "Reverse the letters of {q}", "What is {q} backwards?",
          "Spell {q} backwards", "What is {q} reversed?", "reverse the word {q}", "Can you reverse {q}?"),
         ("Show {q} backwards", "Reverse the text {q}"), 'print("{s}"[::-1])'),
    Task(("How long is {q}?", "How many characters are in {q}?", "What is the length of {q}?",
    "How long is the word {q}?", "length of the text {q}", "How many characters has {q}?",
    "Tell me how many letters {q} has",
    "length of {q}",
          "Count the characters in {q}", "How many letters are in {q}?", "How many letters does {q} have?",
          "Count the letters in {q}"), ("How many characters does {q} have?", "length of the word {q}"),
         'print(len("{s}"))'),
    Task(("Convert {q} to upper case", "Write {q} in upper case", "uppercase {q}", "Set {q} in upper case",
    "Give me {q} in upper case", "Switch {q} to upper case", "Print {q} in upper case",
    "Bring {q} to upper case", "Transform {q} to upper case", "Make {q} upper case",
          "{q} in capital letters", "Put {q} in capitals", "Turn {q} into upper case"),
         ("Change {q} to upper case", "Show {q} in upper case"), 'print("{s}".upper())'),
    Task(("Convert {q} to lower case", "Write {q} in lower case", "lowercase {q}", "Set {q} in lower case",
    "Give me {q} in lower case", "Switch {q} to lower case", "Print {q} in lower case",
    "Bring {q} to lower case", "Transform {q} to lower case", "Make {q} lower case",
          "Turn {q} into lower case"), ("Change {q} to lower case", "Show {q} in lower case"),
          'print("{s}".lower())'),
    Task(("Count the words in {q}", "How many words are in {q}?", "number of words in {q}",
    "How many words do you see in {q}?", "{q}: how many words does it have?",
    "How many words are there in {q}?", "How many words has {q}?", "Tell me how many words {q} has",
    "word count of {q}"),
         ("How many words does {q} have?",), 'print(len("{s}".split()))'),
    Task(("Sort the letters of {q}", "Put the letters of {q} in order", "Order the characters of {q}",
    "Order the letters in {q}", "Arrange the letters of {q}",
    "List the letters of {q} in order", "sort the characters in {q}"),
         ("Order the letters of {q}",), 'print("".join(sorted("{s}")))'),
    Task(("Is {q} a palindrome?", "Check if {q} is a palindrome", "Find out if {q} is a palindrome",
    "Say if {q} is a palindrome", "is the word {q} a palindrome"),
         ("Tell me if {q} is a palindrome",), 'print("{s}" == "{s}"[::-1])'),
    Task(("Repeat {q} {k} times", "Print {q} {k} times", "Show {q} {k} times", "Give me {q} {k} times",
    "Echo {q} {k} times", "Put {q} {k} times", "Write {q} {k} times"), ("Say {q} {k} times",),
         'print(" ".join(["{s}"] * {k}))'),
    Task(("How many times does {c} occur in {q}?", "How many {c}s are in {q}?",
    "Count the letter {c} in {q}", "Count how many times {c} occurs in {q}",
    "Tell me how often {c} is in {q}", "How often does {c} occur in {q}?",
    "Find how often {c} appears in {q}",
          "How often does the letter {c} appear in {q}?",
          "How many times does the letter {c} appear in {q}?"),
         ("Count how often {c} occurs in {q}",), 'print("{s}".count("{c}"))'),
    Task(("Replace {c} with {d} in {q}", "In {q}, replace {c} by {d}",
    "Replace each letter {c} with {d} in {q}", "Swap each {c} for {d} in {q}",
    "Replace any {c} with {d} in {q}",
    "Replace all {c} with {d} in {q}", "Change every {c} to {d} in {q}",
    "Replace the letter {c} with {d} in {q}", "Replace every {c} with {d} in {q}",
    "Swap {c} for {d} in {q}"),
         ("Replace each {c} with {d} in {q}",), 'print("{s}".replace("{c}", "{d}"))'),
    Task(("Print {q}", "Print {q} with Python", "Let Python print {q}", "Make Python say {q}",
    "Get Python to print {q}", "Have Python print {q}",
    "Use Python to print {q}", "Write a program that prints {q}"),
         ("Make Python print {q}",), 'print("{s}")'),
)  # fmt: skip
LIST_TASKS: tuple[Task, ...] = (
    Task(("Sort {l}", "Sort these numbers: {l}", "Sort the list {l}", "Put {l} in order",
    "Arrange {l} from small to large", "Sort those: {l}", "Sort: {l}", "Put this in order: {l}",
    "sort the numbers {l}",
          "Can you sort {l}?", "Order these numbers: {l}"), ("Arrange {l} in order", "Sort this: {l}"),
         "print(sorted([{L}]))"),
    Task(("Sort {l} in descending order", "Sort these numbers from largest to smallest: {l}",
          "Sort {l} from high to low", "Order {l} in descending order", "Arrange {l} from high to low",
          "Put {l} in descending order"), ("Arrange {l} in descending order",),
         "print(sorted([{L}], reverse=True))"),
    Task(("What is the average of {l}?", "average of {l}", "Tell me the mean of {l}",
    "Work out the average of {l}", "mean of {l}", "Compute the mean of {l}",
          "What is the mean of {l}?", "Find the average of these numbers: {l}",
          "Calculate the average of {l}"),
         ("Tell me the average of {l}", "Work out the mean of {l}"),
         "import statistics\nprint(round(statistics.mean([{L}]), 4))"),
    Task(("What is the median of {l}?", "median of {l}", "Give me the median of {l}",
    "Work out the median of {l}", "Find the median of {l}",
    "Compute the median of {l}"),
         ("Tell me the median of {l}",), "import statistics\nprint(statistics.median([{L}]))"),
    Task(("What is the standard deviation of {l}?", "standard deviation of {l}",
    "Give me the standard deviation of {l}", "Work out the standard deviation of {l}", "stdev of {l}",
          "Compute the standard deviation of {l}", "Find the standard deviation of {l}"),
         ("Tell me the standard deviation of {l}",),
         "import statistics\nprint(round(statistics.stdev([{L}]), 4))"),
    Task(("What is the sum of {l}?", "Sum {l}", "sum of {l}", "Work out the sum of {l}",
    "Tell me the sum of {l}", "Sum all of these: {l}", "Add {l}", "Add up these numbers: {l}",
    "Add up {l}",
          "Total of {l}"), ("Compute the sum of {l}", "Sum these: {l}"), "print(round(sum([{L}]), 4))"),
    Task(("What is the largest of {l}?", "maximum of {l}", "Tell me the maximum of {l}",
    "What's the biggest of {l}?", "Find the largest number in {l}", "max of {l}",
          "Which number is the largest: {l}?", "biggest of {l}"), ("What is the maximum of {l}?",),
         "print(max([{L}]))"),
    Task(("What is the smallest of {l}?", "minimum of {l}", "Tell me the minimum of {l}",
    "What's the smallest of {l}?", "Find the smallest number in {l}", "min of {l}",
          "Which number is the smallest: {l}?"), ("What is the minimum of {l}?",), "print(min([{L}]))"),
    Task(("What is the product of {l}?", "product of {l}", "Give me the product of {l}",
    "Work out the product of {l}", "Multiply {l}", "Multiply these numbers: {l}"),
         ("Compute the product of {l}",), "import math\nprint(round(math.prod([{L}]), 4))"),
    Task(("How many numbers are in {l}?", "Count the numbers in {l}",
    "How many items are in the list {l}?", "How long is {l}?", "How long are these: {l}",
    "How long is this list: {l}", "length of the list {l}"),
         ("How long is the list {l}?",), "print(len([{L}]))"),
    Task(("Reverse the list {l}", "Reverse these numbers: {l}", "Flip the list {l}",
    "Reverse the order of {l}", "Put {l} in reverse order"),
         ("Reverse the numbers {l}",), "print([{L}][::-1])"),
)  # fmt: skip
_DATE = "from datetime import date\n"
DATE_TASKS: tuple[Task, ...] = (
    Task(("How many days are between {x} and {y}?", "days between {x} and {y}",
    "Count the days from {x} to {y}", "How many days lie between {x} and {y}?",
    "Work out the days between {x} and {y}", "Tell me the days between {x} and {y}",
    "How many days from {x} to {y}?",
          "number of days from {x} to {y}"), ("Count the days between {x} and {y}",),
         _DATE + "print((date({Y}) - date({X})).days)"),
    Task(("What day of the week was {x}?", "What weekday is {x}?", "weekday of {x}",
    "What day of the week will {x} be?", "Tell me the weekday of {x}", "On what day of the week is {x}?",
    "Which day of the week is {x}?"),
         ("What day of the week is {x}?",), _DATE + 'print(date({X}).strftime("%A"))'),
)  # fmt: skip
PLOT_WORDING = ("Plot {f} from {a} to {b}", "Draw {f} from {a} to {b}", "Plot {f} between {a} and {b}",
                "Make a plot of {f} from {a} to {b}", "Graph {f} from {a} to {b}",
                "Draw a plot of {f} from {a} to {b}", "Make a graph of {f} from {a} to {b}",
                "Show a graph of {f} from {a} to {b}", "Could you draw {f} from {a} to {b}?",
                "Can you graph {f} from {a} to {b}?",
                "Show me a plot of {f} from {a} to {b}",
                "Plot the function {f} for x from {a} to {b}", "plot y = {f} from {a} to {b}")  # fmt: skip
PLOT_HELD = ("Draw a graph of {f} from {a} to {b}", "Can you plot {f} from {a} to {b}?")
PLOT_SHORT = (
    "Plot {f}",
    "Draw {f}",
    "Graph {f}",
    "plot y = {f}",
    "Draw a plot of {f}",
    "Make a graph of {f}",
    "Show a graph of {f}",
    "Could you draw {f}?",
    "Can you graph {f}?",
    "Make a plot of {f}",
    "Show me a plot of {f}",
)
PLOT_SHORT_HELD = ("Draw a graph of {f}", "Can you plot {f}?")


def _fill(source: Source, template: str, slots: dict[str, str]) -> str:
    out = source.noisy(template)
    for key, value in slots.items():
        out = out.replace("{" + key + "}", value)
    return out


def _make(source: Source, task: Task, slots: dict[str, str], *, true: bool = True) -> Turns:
    question = _fill(source, source.wording(task.train, task.held_out), slots)
    program = task.program
    for key, value in slots.items():
        program = program.replace("{" + key + "}", value)
    return [user(question), code(program), *after_python(source, program, task.answer, true)]


def numbers(source: Source) -> Turns:
    """Questions about one or two integers."""
    n, b = source.int(1, 30), source.number(4) or 1
    slots = {"n": str(n), "N": str(source.number(4) or 5), "k": str(source.int(2, 12)),
             "a": str(source.number(4) or 1), "b": str(b)}  # fmt: skip
    task = source.pick(N_TASKS)
    if "randint" in task.program:
        low, high = sorted((int(slots["a"]), b))
        slots.update(a=str(low), b=str(high))
    if "factorial" not in task.program:
        slots["n"] = str(source.int(1, 120))
    return _make(source, task, slots)


def primes(source: Source) -> Turns:
    """Whether a number is prime, and lists of primes."""
    if source.chance(0.4):
        return _make(source, source.pick(PRIMES), {"p": str(source.int(3, 60)), "N": str(source.int(3, 300))})
    n = str(source.number(4))
    question = _fill(source, source.wording(PRIME.train, PRIME.held_out), {"n": n})
    program = PRIME.program.replace("{n}", n)
    tail = after_python(source, program, "{}")
    if tail[-1].text in ("True", "False") or len(tail[-1].text) in (4, 5):
        yes = tail[-1].text == "True" if source.chance(0.6) else source.chance(0.5)
        tail = [
            python_result("True" if yes else "False"),
            answer(f"Yes, {n} is prime." if yes else f"No, {n} is not prime."),
        ]
    return [user(question), code(program), *tail]


def strings(source: Source) -> Turns:
    """Questions about a word or a phrase, quoted or not."""
    text = source.pick(
        [source.token, source.token, source.word, lambda: source.phrase(2, 5), source.person]
    )()
    kind = source.rng.random()
    quoted = text if kind < 0.4 else f'"{text}"' if kind < 0.75 else f"'{text}'"
    letters = "abcdefghijklmnopqrstuvwxyz"
    c = (
        source.pick(text.lower().replace(" ", "").replace("-", "") or "a")
        if source.chance(0.7)
        else source.pick(letters)
    )
    return _make(source, source.pick(STRING_TASKS),
                 {"q": quoted, "s": text, "c": c, "d": source.pick(letters),
                 "k": str(source.int(2, 9))})  # fmt: skip


def lists(source: Source) -> Turns:
    """Sorting and statistics of a few numbers."""
    items = source.numbers(2, 6)
    kind = source.rng.random()
    if kind < 0.55:
        shown = ", ".join(items)
    elif kind < 0.75:
        shown = ", ".join(items[:-1]) + " and " + items[-1]
    elif kind < 0.85:
        shown = "[" + ", ".join(items) + "]"
    elif kind < 0.95:
        shown = " ".join(items)
    else:
        shown = ",".join(items)
    return _make(source, source.pick(LIST_TASKS), {"l": shown, "L": ", ".join(items)})


def dates(source: Source) -> Turns:
    """Days between dates and days of the week."""
    x, y = source.day(), source.day()
    slots: dict[str, str] = {}
    style = source.rng.random()
    for key, day in (("x", x), ("y", y)):
        if style < 0.55:
            slots[key] = day.isoformat()
            slots[key.upper()] = f"{day.year}, {day.month}, {day.day}"
        else:
            slots[key] = f"{day.day} {day:%B} {day.year}"
            slots[key.upper()] = f"{day.year}, {day.month}, {day.day}"
    return _make(source, source.pick(DATE_TASKS), slots)


def plots(source: Source) -> Turns:
    """Plots of a function of x, over -10 to 10 when nothing is said."""
    n, m = source.int(2, 9), source.int(2, 20)
    shown, expression = source.pick([
        ("sin(x)", "np.sin(x)"), ("cos(x)", "np.cos(x)"), ("exp(x)", "np.exp(x)"), ("tan(x)", "np.tan(x)"),
        (f"x^{n}", f"x ** {n}"), (f"{m}x", f"{m} * x"), (f"{m}*x", f"{m} * x"), (f"{m}x + {n}", f"{m} * x + {n}"),
        (f"x^{n} + {m}", f"x ** {n} + {m}"), (f"x**{n}", f"x ** {n}"), (f"sin({m}x)", f"np.sin({m} * x)"),
        (f"x^{n} - {m}x", f"x ** {n} - {m} * x"), ("sqrt(x)", "np.sqrt(x)"), (f"{m}/x", f"{m} / x"),
        (f"{m} * sin(x)", f"{m} * np.sin(x)"), (f"cos({m}*x)", f"np.cos({m} * x)"), ("abs(x)", "np.abs(x)"),
        ("log(x)", "np.log(x)"), (f"{m}x^{n}", f"{m} * x ** {n}"),
    ])  # fmt: skip
    if source.chance(0.65):
        a = source.int(-50, 20)
        b = a + source.int(1, 200)
        question = source.wording(PLOT_WORDING, PLOT_HELD)
    else:
        a, b = -10, 10
        question = source.wording(PLOT_SHORT, PLOT_SHORT_HELD)
    program = (
        "import numpy as np\nimport matplotlib.pyplot as plt\n"
        f"x = np.linspace({a}, {b}, 200)\nplt.plot(x, {expression})\nplt.show()"
    )
    question = _fill(source, question, {"f": shown, "a": str(a), "b": str(b)})
    kind = source.rng.random()
    if kind < 0.08:
        failed, line = python_error(source, program)
        return [user(question), code(program), failed, answer(f"Python reported an error: {line}")]
    if kind < 0.25:
        return [user(question), code(program), python_result(), answer("Here is the plot.")]
    shape = source.pick(["fig-{}.png", "figure-{}.png", "plot_{}.png", "{}.png", "image-{}.png"])
    name = shape.format(source.int(1, 40) if source.chance(0.5) else source.word())
    if source.chance(0.2):
        name = f"/{source.word()}/{source.word()}/{name}"
    saved = python_result(image=name)
    if source.chance(0.1):
        saved = python_result("<Figure size 640x480 with 1 Axes>", image=name)
    return [user(question), code(program), saved, answer(f"Here is the plot: {name}")]
