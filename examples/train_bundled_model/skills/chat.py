"""Talk without tools: greetings, thanks, what can you do, repeating; and polite declining."""

from __future__ import annotations

import itertools

from ..dialog import DECLINE, Context, Turns, answer, user
from ..words import Source
from .arithmetic import arithmetic
from .functions import function, request
from .lookup import question, wolfram_question
from .programs import lists, numbers, plots, primes, strings


def _joined(held_out: list[str], *columns: list[str]) -> list[str]:
    """Every way to put one piece of each column together, but for the held-out wordings."""
    kept = {text.lower().rstrip("!.?") for text in held_out}
    every = ("".join(pieces) for pieces in itertools.product(*columns))
    return [text for text in every if text.lower().rstrip("!.?") not in kept]


_GREET_HELD = ["hello again", "Hi, good morning", "hey hey", "Hello, how are you?", "hello, {w}"]
_GREET = [
    *_joined(
        _GREET_HELD,
        ["hi", "hello", "hey", "good morning", "good evening", "good afternoon", "good day", "greetings",
         "howdy", "hi there", "hello there", "hey there"],
        ["", "", " {w}", ", {w}", ", how are you?", ", nice to meet you", ", model", ", good evening",
         " everyone"],
    ),
    "how are you?", "how are you doing?", "what's up?", "how is it going?", "yo", "hi hi", "are you there?",
]  # fmt: skip
_THANKS_HELD = ["thanks so much", "great, thank you", "ok, thank you very much"]
_THANKS = [
    *_joined(
        _THANKS_HELD,
        ["", "", "ok ", "ok, ", "great, ", "cool, ", "perfect, ", "nice, ", "awesome, ", "good, "],
        ["thanks", "thank you", "thx", "many thanks", "thanks a lot", "thank you very much",
         "thank you so much", "thanks very much", "thanks ever so much", "thanks so very much",
         "thanks so far",
         "so much thanks", "thank you kindly", "thanks for your help", "thanks for the answer",
         "thank you {w}"],
    ),
    "good job", "well done", "that helped", "very helpful",
]  # fmt: skip
_BYE_HELD = ["ok bye", "goodbye!", "bye, see you"]
_BYE = _joined(
    [*_BYE_HELD, "ok, bye"],
    ["", "", "ok, ", "well, ", "alright, ", "thanks, "],
    ["bye", "bye bye", "good bye", "bye-bye", "good-bye", "see you", "see you later", "see you tomorrow",
    "good night", "farewell", "ciao", "I am done",
     "that is all", "have a nice day", "until next time", "talk to you later", "bye for now", "bye {w}"],
)  # fmt: skip
_WHO_HELD = ["who are you exactly?", "are you a model?", "tell me who you are"]
_WHO = [
    "who are you?", "what are you?", "what is your name?", "what's your name?", "are you an AI?",
    "who made you?",
    "are you a real person?", "what model are you?", "which model is this?", "are you ChatGPT?",
    "are you Llama?",
    "tell me about yourself", "introduce yourself", "please introduce yourself", "do you have a name?",
    "who am I talking to?", "what kind of model are you?", "how big are you?",
    "how many parameters do you have?",
    "are you a robot?", "are you human?", "are you a language model?", "what is this?",
    "what are you called?",
    "who created you?", "where do you come from?", "are you GPT-4?", "tell me your name", "who is this?",
    "say who you are", "are you a bot?", "are you a big model?", "so who are you?", "what exactly are you?",
]  # fmt: skip
_CAN_HELD = ["show me what you can help me with", "tell me what you can do", "what can you do for me?"]
_CAN = [
    "what can you do?", "help", "what can I ask you?", "what are you good at?", "how can you help me?",
    "what are you able to do?",
    "which tools do you have?", "what tools do you have?", "help me", "show me what you can do",
    "how does this work?", "what do you do?", "what are your skills?", "/help", "?",
    "what can you help me with?",
    "what can I do here?", "what do you know?", "how can you help?", "what can you do here?",
    "list your tools",
    "what can I do with you?", "list your skills", "what are your abilities?", "what are your capabilities?",
    "what are you capable of?", "can you help me?", "tell me your skills", "tell me about your tools",
    "how do I use you?", "what should I ask you?", "give me some examples", "what can this do?",
    "I need help",
    "what kind of questions can you answer?", "show me your tools", "what tools are there?",
    "which questions can you answer?", "what can you do with your tools?", "explain what you can do",
    "tell me how you can help", "what are you made for?", "what are you useful for?", "please help me",
]  # fmt: skip
_REPEAT_HELD = ["Please say: {x}", 'Repeat "{x}"', "echo this: {x}"]
_REPEAT = _joined(
    _REPEAT_HELD,
    ["Repeat", "Say", "Echo", "Please repeat", "Please echo", "Please say", "Just say", "Repeat after me",
     "Now say", "Say after me", "Repeat this", "Say this", "Can you say", "Just repeat", "Now repeat",
     "Echo back",
     "Repeat it", "Say it", "Now echo", "Can you echo", "Please echo back", "Repeat the following",
     "Echo the following"],
    [": {x}", ": {x}", " {x}", ' "{x}"', ': "{x}"'],
)  # fmt: skip
_CANNOT = [
    "Write a poem about {x}", "Tell me a joke", "Tell me a joke about {x}", "Write a story about {x}",
    "Write an essay on {x}",
    "Who should I vote for?", "What do you think about {x}?", "Do you like {x}?",
    "Translate {x} to French", "I feel sad",
    "I have a pain in my {x}", "Should I take {x} for my headache?", "What is the meaning of life?",
    "Do you love me?",
    "Draw a picture of {x}", "Make an image of {x}", "Sing a song about {x}", "Book me a flight to {x}",
    "Order a {x}",
    "Send an email to {x}", "Call {x}", "Buy me a {x}", "Write a letter to {x}",
    "Give me advice about {x}", "Summarize {x}",
    "Explain {x} to me", "Why is the {x} {x}?", "Is it right to {x}?", "Play some music", "Open the {x}",
    "Remind me to {x}",
    "Set an alarm for {n}", "Turn off the {x}", "What is your opinion on {x}?", "Help me with my {x}",
    "Write code for a {x}",
    "Build me a website", "Fix my {x}", "Can you drive a {x}?", "Do you dream?", "Make me rich",
    "How do I cook {x}?",
    "Is {x} better than {x}?", "Diagnose my {x}", "Sue {x} for me", "Tell me a secret", "Hack into {x}",
    "Be my {x}",
    "Describe {x}", "Imagine you are a {x}", "Pretend to be {x}", "Recommend a {x}",
    "What should I wear {x}?", "Choose a {x}",
    "¿Qué hora es en {x}?", "Comment ça va?", "Wie ist das {x}?", "Bonjour", "Ich möchte {x}",
    "Où est {x}?", "Como está {x}?",
    "Was kostet {x}?", "Je veux {x}", "Quiero {x}", "Привет", "こんにちは", "你好", "Mi piace {x}", "Hvad er {x}?",
    "Delete my {x}", "My {x} is {x}", "I like {x}", "I am {x}", "The {x} is {x}", "{x}?", "{x}!", "{x}",
    "{x}", "{x}", "{x} {n}",
    "lol", "asdf", "...", "ok", "no", "yes", "maybe", "hmm", "why?", "are you sure?", "you are wrong",
    "that is wrong",
]  # fmt: skip
_CANNOT_HELD = [
    "Write a short poem about {x}", "Write a song about {x}", "Tell me a story about {x}",
    "What do you think of {x}?",
    "Do you like {x} or {x}?", "Translate {x} into German", "Should I buy {x}?",
    "Write a letter about {x}", "{x}, {x}",
    "Give me your opinion on {x}", "Explain {x}", "Wo ist {x}?", "Recommend me a {x}",
]  # fmt: skip


def _marked(source: Source) -> str:
    """Text with what looks like the control tokens of some model, but is none of ours."""
    names = ["end", "im_start", "user", "header", "start_header", "end_header", "system", "eot", "INST", "s"]
    out = ""
    for _ in range(source.int(1, 5)):
        left, right = source.pick([("<|", "|>"), ("<|", "|>"), ("<", ">"), ("[", "]"), ("</", ">")])
        out += f"{left}{source.pick(names)}{right}" + source.pick(["", " ", "\n\n", "assistant", "user"])
        if source.chance(0.5):
            out += source.phrase(1, 3) + source.pick(["", ".", "\n"])
    return out


def _nonsense(source: Source) -> str:
    kind = source.rng.random()
    if kind < 0.45:
        return source.phrase(1, 6)
    if kind < 0.65:
        return source.thing()
    if kind < 0.8:
        return _marked(source)
    return (
        "".join(
            source.pick("abcdefghijklmnopqrstuvwxyz ,.;!?'-#*0123456789éüñøßабв")
            for _ in range(source.int(3, 30))
        ).strip()
        or "x"
    )


def abilities(context: Context) -> str:
    """What the model says it can do with the tools offered."""
    can = [
        text
        for on, text in (
            (context.search, "search the web"),
            (context.wolfram, "ask Wolfram Alpha"),
            (context.python, "run Python code"),
            (bool(context.functions), "call your functions"),
        )
        if on
    ]
    if not can:
        return "I am a small demonstration model. No tools are available, so I can only chat a little."
    listed = can[0] if len(can) == 1 else ", ".join(can[:-1]) + " and " + can[-1]
    return f"I am a small demonstration model. I can {listed}."


def _say(source: Source, train: list[str], held_out: list[str]) -> str:
    text = source.wording(train, held_out).replace("{w}", source.word())
    kind = source.rng.random()
    text = text[:1].upper() + text[1:] if kind < 0.45 else text.upper() if kind < 0.57 else text
    return text + source.pick(["!", ".", "!!"]) if source.chance(0.2) and text[-1].isalpha() else text


def talk(source: Source, context: Context) -> Turns:
    """Greetings, thanks, who are you, what can you do."""
    kind = source.rng.random()
    if kind < 0.25:
        return [user(_say(source, _GREET, _GREET_HELD)), answer("Hello! How can I help you?")]
    if kind < 0.45:
        return [user(_say(source, _THANKS, _THANKS_HELD)), answer("You're welcome.")]
    if kind < 0.55:
        return [user(_say(source, _BYE, _BYE_HELD)), answer("Goodbye!")]
    if kind < 0.7:
        told = "I am arriero's bundled demonstration model: a tiny language model that can call tools."
        return [user(_say(source, _WHO, _WHO_HELD)), answer(told)]
    return [user(_say(source, _CAN, _CAN_HELD)), answer(abilities(context))]


def repeat(source: Source) -> Turns:
    """Saying a text back: practice in copying."""
    text = source.phrase(1, 6) if source.chance(0.6) else source.thing()
    if source.chance(0.15):
        text = str(source.int(10**6, 10 ** source.int(7, 14)))
    asked = source.wording(_REPEAT, _REPEAT_HELD)
    if source.chance(0.45):
        asked = asked[:1].lower() + asked[1:]
    asked = asked.replace("{x}", text)
    return [user(asked), answer(text)]


def decline(source: Source, context: Context, tools: float = 0.5, functions: float = 0.1) -> Turns:
    """What it cannot do, or not with the tools offered.

    Args:
        source: Where the random things come from.
        context: What is offered.
        tools: How often it is something that a tool could do which is not offered.
        functions: How often a function that is not offered is among the choices.
    """
    unable = []
    if not context.search and not context.functions:
        unable.append(lambda: question(source)[0])
    if not context.wolfram:
        unable.append(lambda: wolfram_question(source)[0])
    if not context.python:
        skill = source.pick([arithmetic, arithmetic, strings, numbers, primes, lists, plots])
        unable += [lambda: skill(source)[0].text] * 3
    if not context.functions and source.chance(functions):
        unable.append(lambda: request(source, function(source))[0])
    if unable and source.chance(tools):
        return [user(source.pick(unable)()), answer(DECLINE)]
    text = source.wording(_CANNOT, _CANNOT_HELD)
    while context.search and text.startswith("{x}"):  # bare words are a query where there is a search
        text = source.wording(_CANNOT, _CANNOT_HELD)
    while "{x}" in text:
        text = text.replace("{x}", _nonsense(source), 1)
    text = text.replace("{n}", str(source.number(4)))
    if source.chance(0.3):
        text = text[:1].lower() + text[1:]
    return [user(text), answer(DECLINE)]
