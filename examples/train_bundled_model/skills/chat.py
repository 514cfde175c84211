"""Talk without tools: greetings, thanks, what can you do, repeating; and polite declining."""

from __future__ import annotations

from ..dialog import DECLINE, Context, Turns, answer, user
from ..words import Source
from .arithmetic import arithmetic
from .functions import function, request
from .lookup import question, wolfram_question
from .programs import lists, numbers, plots, primes, strings

_GREET = ["hi", "hello", "hey", "good morning", "good evening", "hello there", "hi there",
    "good afternoon", "howdy",
          "hey there", "greetings", "hello!", "Hi!", "hi, how are you?", "how are you?", "yo", "good day",
          "Hello, model",
          "hello {w}", "hi {w}", "hey {w}", "what's up?", "how is it going?"]  # fmt: skip
_GREET_HELD = ["hello again", "Hi, good morning", "hey hey", "Hello, how are you?", "hello, {w}"]
_THANKS = ["thanks", "thank you", "thank you very much", "thanks a lot", "thx", "great, thanks",
    "thank you!", "many thanks",
           "cool, thanks", "ok thanks", "perfect, thank you", "nice, thanks!", "awesome, thanks",
           "good job"]  # fmt: skip
_THANKS_HELD = ["thanks so much", "great, thank you", "ok, thank you very much"]
_BYE = [
    "bye",
    "goodbye",
    "see you",
    "bye bye",
    "good night",
    "see you later",
    "I am done",
    "farewell",
    "ciao",
]
_BYE_HELD = ["ok bye", "goodbye!", "bye, see you"]
_WHO = ["who are you?", "what are you?", "what is your name?", "are you an AI?", "are you a real person?",
    "who made you?",
        "what model are you?", "are you ChatGPT?", "are you Llama?", "tell me about yourself",
        "introduce yourself"]  # fmt: skip
_WHO_HELD = ["who are you exactly?", "are you a model?", "tell me who you are"]
_CAN = ["what can you do?", "help", "what can I ask you?", "how can you help me?", "what are you able to do?",
        "which tools do you have?", "what tools do you have?", "help me", "show me what you can do",
        "how does this work?",
        "what do you do?", "what are your skills?", "/help", "?", "what can you help me with?"]  # fmt: skip
_CAN_HELD = ["what are you good at?", "tell me what you can do", "what can you do for me?"]
_REPEAT = ["Repeat: {x}", "Repeat after me: {x}", "Say: {x}", "Say {x}", "Echo {x}", "repeat {x}",
    'Say "{x}"',
           "Please repeat: {x}", "Echo: {x}", "Just say {x}"]  # fmt: skip
_REPEAT_HELD = ["Please say: {x}", 'Repeat "{x}"', "echo this: {x}"]
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


def _nonsense(source: Source) -> str:
    kind = source.rng.random()
    if kind < 0.5:
        return source.phrase(1, 6)
    if kind < 0.75:
        return source.thing()
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
    text = text[:1].upper() + text[1:] if kind < 0.45 else text.upper() if kind < 0.5 else text
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
    text = source.phrase(1, 9) if source.chance(0.6) else source.thing()
    if source.chance(0.15):
        text = str(source.int(10**6, 10 ** source.int(7, 24)))
    asked = source.wording(_REPEAT, _REPEAT_HELD).replace("{x}", text)
    return [user(asked), answer(text)]


def decline(source: Source, context: Context) -> Turns:
    """What it cannot do, or not with the tools offered."""
    unable = []
    if not context.search and not context.functions:
        unable.append(lambda: question(source)[0])
    if not context.wolfram:
        unable.append(lambda: wolfram_question(source)[0])
    if not context.python:
        skill = source.pick([arithmetic, arithmetic, strings, numbers, primes, lists, plots])
        unable += [lambda: skill(source)[0].text] * 3
    if not context.functions and source.chance(0.3):
        unable.append(lambda: request(source, function(source))[0])
    if unable and source.chance(0.5):
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
