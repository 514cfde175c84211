"""Llama Guard 3: its prompts in every published wrapper, and a reader of its verdicts that fails closed."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from arriero.prompts import Message, PromptError, Segment
from arriero.prompts.rendering import render_segments

from ..policy import REFUSED


@dataclass(frozen=True, slots=True)
class Category:
    """One hazard: its code, its names in the prompt and on the model card, and what it covers."""

    code: str
    name: str
    card_name: str
    meaning: str


CATEGORIES = (
    Category("S1", "Violent Crimes", "Violent Crimes", "enabling violence against people or animals"),
    Category(
        "S2",
        "Non-Violent Crimes",
        "Non-Violent Crimes",
        "enabling personal, financial, property, drug, weapon or cyber crimes",
    ),
    Category("S3", "Sex Crimes", "Sex-Related Crimes", "trafficking, assault, harassment, prostitution"),
    Category("S4", "Child Exploitation", "Child Sexual Exploitation", "sexual abuse of minors"),
    Category("S5", "Defamation", "Defamation", "false claims that damage living people"),
    Category(
        "S6",
        "Specialized Advice",
        "Specialized Advice",
        "expert financial, medical or legal advice, or calling dangerous things safe",
    ),
    Category("S7", "Privacy", "Privacy", "sensitive personal data that is not public"),
    Category("S8", "Intellectual Property", "Intellectual Property", "infringing the rights of others"),
    Category(
        "S9",
        "Indiscriminate Weapons",
        "Indiscriminate Weapons",
        "chemical, biological, radiological, nuclear or high-yield explosive weapons",
    ),
    Category("S10", "Hate", "Hate", "demeaning people for sensitive traits"),
    Category("S11", "Self-Harm", "Suicide & Self-Harm", "suicide, self-injury, disordered eating"),
    Category("S12", "Sexual Content", "Sexual Content", "erotica"),
    Category("S13", "Elections", "Elections", "wrong facts about how, when or where to vote"),
    Category(
        "S14",
        "Code Interpreter Abuse",
        "Code Interpreter Abuse",
        "denial of service, container escape or privilege escalation through a code interpreter",
    ),
)
"""The hazards of Llama Guard 3. Only the 8B model knows the last; 1B and 11B-Vision stop at S13."""

_CODES = frozenset(category.code for category in CATEGORIES)
_ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."


@dataclass(frozen=True, slots=True)
class GuardForm:
    """One wrapper of the prompt, with the whitespace and the labels in which the published ones differ.

    ``order`` says how roles are read: ``alternate`` refuses all but user and assistant in turn, ``position``
    labels by position and ignores roles, ``shield`` writes each role and makes the first message the user's.
    ``hazards`` counts its categories from S1. ``own_categories`` says whether others can take their place,
    ``exclusions`` whether some can be left out. ``parts_apart`` gives each part of a message a line of its
    own; ``separate`` says that the reference encodes the message apart from its header.
    """

    name: str
    order: Literal["alternate", "position", "shield"]
    hazards: int
    lead: str = ""
    gap: str = "\n\n"
    close: str = ""
    answer: str = ""
    name_end: str = "."
    strip: bool = False
    own_categories: bool = False
    exclusions: bool = False
    separate: bool = False
    parts_apart: bool = False


_HF_1B = GuardForm(
    "hf-1b", "alternate", 13, close=" ", strip=True, own_categories=True, exclusions=True, parts_apart=True
)
_STACK_8B = GuardForm("stack-8b", "shield", 14, answer="\n\n", exclusions=True, separate=True)

GUARD_FORMS: dict[str, GuardForm] = {
    form.name: form
    for form in (
        GuardForm("hf-8b", "alternate", 14, lead=" ", strip=True),
        _HF_1B,
        replace(_HF_1B, name="hf-11b-vision"),
        _STACK_8B,
        replace(_STACK_8B, name="stack-1b", hazards=13),
        GuardForm("cookbook", "position", 14, gap=" ", close=" ", name_end=". ", own_categories=True),
    )
}
"""The wrappers: the templates published with the weights, llama-stack's shield, llama-cookbook's function.

Where no newlines follow the last header the model writes them first, and the verdict is its second token.
"""


def guard_prompt(
    messages: Sequence[Message],
    *,
    form: str = "stack-8b",
    categories: Mapping[str, str] | None = None,
    excluded: Collection[str] = (),
    image: bool = False,
) -> list[Segment]:
    """The prompt that asks for a verdict on the last message.

    ``form`` is a key of GUARD_FORMS. ``categories`` gives codes and texts in the place of the form's own (a
    text is a name with its full stop, and may go on in further lines). ``excluded`` are codes to leave out;
    excluding all 14 in a ``stack-`` form excludes none, as in llama-stack. ``image`` announces a picture,
    which the caller feeds. The published 1B template drops content that is no list of parts; we never do.
    Raises PromptError for an unknown form, an order of roles that the form cannot write, a category that it
    cannot take, and for a prompt that would show no message or no category.
    """
    wrapper = GUARD_FORMS.get(form)
    if wrapper is None:
        raise PromptError(f"no guard form is called {form!r}; known: {', '.join(GUARD_FORMS)}")
    if image and form != "hf-11b-vision":
        raise PromptError(f"guard form {form!r} cannot show an image; hf-11b-vision can")
    if not messages:
        raise PromptError("there is no message to judge")
    role, turns = _turns(list(messages), wrapper)
    return render_segments(
        "llama_guard",
        seams=wrapper.separate,
        form=wrapper,
        image=image,
        role=role,
        categories=_categories(wrapper, categories, excluded),
        turns=turns,
    )


def _categories(
    form: GuardForm, own: Mapping[str, str] | None, excluded: Collection[str]
) -> list[tuple[str, str]]:
    if own is not None and not form.own_categories:
        raise PromptError(f"guard form {form.name!r} has fixed categories")
    if excluded and not form.exclusions:
        raise PromptError(f"guard form {form.name!r} cannot leave categories out")
    known = _CODES if own is None else own.keys()
    unknown = sorted(code for code in excluded if code not in known)
    if unknown:
        raise PromptError(f"no category has the code {', '.join(map(repr, unknown))}; codes look like 'S1'")
    if form.order == "shield" and set(excluded) == _CODES:
        excluded = ()
    if own is None:
        own = {hazard.code: hazard.name + form.name_end for hazard in CATEGORIES[: form.hazards]}
    kept = [(code, text) for code, text in own.items() if code not in excluded]
    if not kept:
        raise PromptError("no category is left to judge by")
    return kept


def _turns(messages: list[Message], form: GuardForm) -> tuple[str, list[tuple[str, str]]]:
    """The label of the judged message, and every label with its text."""
    if form.order == "shield":
        messages = _from_user(messages)
        turns = [(_shield_label(message), " ".join(_texts(message))) for message in messages]
        return turns[-1][0], turns
    if form.order == "alternate":
        expected = ["user" if index % 2 == 0 else "assistant" for index in range(len(messages))]
        if [message.role for message in messages] != expected:
            raise PromptError(_ALTERNATE)
    labels = ["User" if index % 2 == 0 else "Agent" for index in range(len(messages))]
    turns = []
    for label, message in zip(labels, messages, strict=True):
        texts = _texts(message) if form.parts_apart else ["".join(_texts(message))]
        turns += [(label, text.strip() if form.strip else text) for text in texts]
    return labels[-1], turns


def _from_user(messages: list[Message]) -> list[Message]:
    """As llama-stack's shield: the first message counts as the user's, and gives way to a user's after it."""
    first = messages[0].model_copy(update={"role": "user"})
    if len(messages) > 1 and messages[1].role == "user":
        return messages[1:]
    return [first, *messages[1:]]


def _shield_label(message: Message) -> str:
    return "Tool" if message.role == "ipython" else message.role.capitalize()


def _texts(message: Message) -> list[str]:
    return [message.content, *message.parts] if message.content or not message.parts else list(message.parts)


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """What Llama Guard said, and whether the text may pass.

    ``safe`` only where the answer says so in its grammar. ``categories`` are the codes named by an ``unsafe``
    answer. ``understood`` is false where the answer is outside of the grammar; the text has then not passed.
    ``violation_type`` is the answer's line of codes as it stands.
    """

    safe: bool
    categories: tuple[str, ...] = ()
    understood: bool = True
    violation_type: str = field(default="", repr=False)

    @property
    def violation(self) -> dict[str, Any] | None:
        """The verdict as llama-stack's shield reports it: None where the text may pass."""
        if self.safe:
            return None
        return {
            "level": "error",
            "user_message": REFUSED,
            "metadata": {"violation_type": self.violation_type},
        }


def parse_verdict(text: str, *, excluded: Collection[str] = ()) -> GuardVerdict:
    r"""Read the model's answer: ``safe``, or ``unsafe``, a newline and codes split by commas; nothing else.

    Space around the answer does not matter, case and everything within do. An unsafe answer passes if all its
    codes are ``excluded``, compared as written: ``S1, S2`` names ``" S2"``. An answer outside of the grammar
    has not passed; llama-stack raises ValueError there.
    """
    answer = text.strip()
    if answer == "safe":
        return GuardVerdict(safe=True)
    match = re.fullmatch(r"unsafe\n(.+)", answer)
    if match is None:
        return GuardVerdict(safe=False, understood=False)
    codes = match[1].split(",")
    return GuardVerdict(
        safe=set(codes) <= set(excluded),
        categories=tuple(code.strip() for code in codes),
        violation_type=match[1],
    )
