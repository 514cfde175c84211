"""What the screens do: one frozen configuration, its presets, and how it is read from a TOML file."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from arriero.prompts import ArrieroError

from .base import PLACES, Action, Check, Place, Screen

REFUSED: Final = "I can't answer that. Can I help with something else?"
"""What llama-stack says in the place of a text that its shields stop."""


class PolicyError(ArrieroError):
    """A policy cannot be read or contradicts itself; the message names file and key."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Rule(_Frozen):
    """What counts of a screen at one place.

    ``action`` is what a finding does; None leaves it to the screen. ``threshold`` makes every score from there on a
    finding and every lower one none; None leaves it to the screen. ``categories`` decides by what was found: of
    several the strictest counts, and those not named here fall under ``action``. ``timeout`` is in seconds.
    ``on_failure`` says what follows when the screen is missing, fails, is too slow or answers nonsense: ``block``
    ends the run, ``allow`` lets the text pass unjudged.
    """

    action: Action | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    categories: dict[str, Action] = Field(default_factory=dict)
    timeout: Annotated[float, Field(gt=0)] = 30.0
    on_failure: Literal["block", "allow"] = "block"


class Texts(_Frozen):
    """What is said in the place of a blocked text.

    At ``input`` and ``output`` to the user, elsewhere to the model; ``{tool}`` stands for the tool's name.
    """

    input: str = REFUSED
    tool_call: str = "Error: {tool} was not run: a safety check does not allow this call."
    code: str = "Error: the code was not run: a safety check does not allow it."
    tool_result: str = "[The result of {tool} was withheld by a safety check. Go on without it.]"
    output: str = REFUSED


class Streaming(_Frozen):
    """How an answer is screened while it is written, in characters.

    A screen that is not instant reads the answer so far after ``first`` new characters, then each time after twice
    as many up to ``window``, and when it ends. Of what it passed, the last ``hold`` characters are shown with the
    next window.
    """

    first: Annotated[int, Field(ge=1)] = 120
    window: Annotated[int, Field(ge=1)] = 960
    hold: Annotated[int, Field(ge=0)] = 40


Rules = Annotated[dict[str, Rule], BeforeValidator(lambda rules: _rules(rules))]
"""Rules by the name of the screen; a list of names is one of usual rules."""


class Policy(_Frozen):
    """Which screens stand at which place, and what follows from what they say.

    Each place has its rules, by the name of the screen. The screens of a place run concurrently and all must let a
    text pass. ``retries`` is how often in a run the model
    writes anew because a verdict said ``retry``; after that it is blocked. ``categories`` are hazards of your own,
    by code, with a description, for guards that can be told (Llama Guard 3 1B and custom prompts). ``settings`` go
    to the screens that are made by name, ``screens`` are objects or functions by the name that rules call them.
    """

    name: str = "custom"
    input: Rules = Field(default_factory=dict)
    tool_call: Rules = Field(default_factory=dict)
    code: Rules = Field(default_factory=dict)
    tool_result: Rules = Field(default_factory=dict)
    output: Rules = Field(default_factory=dict)
    texts: Texts = Texts()
    streaming: Streaming = Streaming()
    retries: Annotated[int, Field(ge=0)] = 2
    categories: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    screens: dict[str, Screen | Check] = Field(default_factory=dict, repr=False)

    @field_validator("input", "tool_result")
    @classmethod
    def _no_retry(cls, rules: dict[str, Rule]) -> dict[str, Rule]:
        for name, rule in rules.items():
            if rule.action == "retry" or "retry" in rule.categories.values():
                raise ValueError(f"{name}: retry is for what the model writes: tool_call, code and output")
        return rules

    def rules(self, place: Place) -> Mapping[str, Rule]:
        """The rules of a place, by the name of the screen."""
        rules: dict[str, Rule] = getattr(self, place)
        return rules

    def text(self, place: Place, tool: str | None = None) -> str:
        """What is said in the place of a text that was blocked there."""
        template: str = getattr(self.texts, place)
        return template.replace("{tool}", tool or "the tool")

    def with_rule(self, screen: str, rule: Rule, *places: Place) -> "Policy":
        """This policy with a rule for ``screen`` at ``places`` (all, if none is named)."""
        changed = {place: {**self.rules(place), screen: rule} for place in places or PLACES}
        return type(self).model_validate({**dict(self), **changed, "name": "custom"})

    def with_screen(
        self, name: str, screen: Screen | Check, *places: Place, action: Action | None = None
    ) -> "Policy":
        """This policy with a screen of your own at ``places`` (all, if none is named)."""
        changed = self.model_copy(update={"screens": {**self.screens, name: screen}})
        return changed.with_rule(name, Rule(action=action), *places)

    @classmethod
    def preset(cls, name: str) -> "Policy":
        """``off``, ``default`` or ``strict``. Raises PolicyError for any other name."""
        if name not in PRESETS:
            raise PolicyError(
                f"no policy is called {name!r}{_meant(name, PRESETS)}; there are {_list(PRESETS)}"
            )
        return _preset(name)

    @classmethod
    def named(cls, name: str) -> "Policy":
        """The preset of that name, or the policy in a TOML file; a name with a dot or a slash is a file's.

        Raises PolicyError.
        """
        return cls.read(name) if "." in name or "/" in name or os.sep in name else cls.preset(name)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Policy":
        """The policy in a TOML file; it starts from the preset that its key ``preset`` names (``off`` if none).

        Raises PolicyError that names the file and the key.
        """
        file = Path(path).expanduser()
        try:
            content = tomllib.loads(file.read_text("utf-8"))
        except OSError as error:
            raise PolicyError(f"{file}: the policy cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise PolicyError(f"{file}: this is not TOML: {error}") from error
        return cls.from_dict(content, source=str(file))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, source: str = "policy") -> "Policy":
        """The policy that a TOML file with this content means; ``source`` begins every error. Raises PolicyError."""
        values = dict(content)
        if "screens" in values:
            raise PolicyError(
                f"{source}: screens: objects cannot be in a file; settings is for their options"
            )
        start = values.pop("preset", "off")
        if not isinstance(start, str) or start not in PRESETS:
            raise PolicyError(
                f"{source}: preset: no policy is called {start!r}{_meant(start, PRESETS)}; "
                f"there are {_list(PRESETS)}"
            )
        values.setdefault("name", source)
        try:
            return cls.model_validate(_merged(_preset(start).model_dump(), values))
        except ValidationError as error:
            raise PolicyError(_told(error, source)) from error


def _rules(given: Any) -> Any:
    if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
        return {name: {} for name in given}
    return given


def _merged(preset: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are completed by the preset's, everything else replaces it; ``screen = false`` takes a rule out."""
    merged = dict(preset)
    for key, value in given.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            value = _merged(dict(old), value)
            if key in PLACES:
                value = {name: rule for name, rule in value.items() if rule is not False}
        merged[key] = value
    return merged


def _told(error: ValidationError, source: str) -> str:
    problems = []
    for problem in error.errors()[:5]:
        path = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            known = _fields_beside(problem["loc"])
            problems.append(
                f"{'.'.join(path)}: there is no such key{_meant(path[-1], known)}; {_list(known)}"
            )
        else:
            given = (
                "" if isinstance(problem["input"], Mapping | tuple) else f" (it is {problem['input']!r:.80})"
            )
            message = problem["msg"].removeprefix("Value error, ")
            problems.append(f"{'.'.join(path)}: {message[:1].lower()}{message[1:]}{given}")
    return f"{source}: " + "; ".join(problems)


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed where an unknown one was found."""
    if len(location) == 1:
        return ["preset", *(name for name in Policy.model_fields if name != "screens")]
    head = str(location[0])
    owners: dict[str, type[BaseModel]] = {"texts": Texts, "streaming": Streaming}
    return list(owners.get(head, Rule).model_fields)


def _meant(name: object, known: Any) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _list(names: Any) -> str:
    return ", ".join(names)


PATTERNS: Final = "patterns"
PROVENANCE: Final = "provenance"
LLAMA_GUARD: Final = "llama_guard"
PROMPT_GUARD: Final = "prompt_guard"
CODE_SHIELD: Final = "code_shield"

PRESETS: Final = ("off", "default", "strict")
"""``off`` has no screen. ``default`` needs no weights: patterns at every place, and a note where a call copies
untrusted text. ``strict`` needs Llama Guard, Prompt Guard and Code Shield, asks before a call that copies untrusted
text, and ends every run while one of them is missing."""


@lru_cache
def _preset(name: str) -> Policy:
    if name == "off":
        return Policy(name=name)
    places: dict[str, dict[str, Rule]] = {place: {PATTERNS: Rule()} for place in PLACES}
    places["tool_call"][PROVENANCE] = Rule(action="allow" if name == "default" else "ask")
    if name == "strict":
        for place, screens in _STRICT.items():
            places[place].update((screen, Rule()) for screen in screens)
        places["code"][PROVENANCE] = Rule(action="ask")
    return Policy.model_validate({"name": name, **places})


_STRICT: Final[Mapping[Place, tuple[str, ...]]] = {
    "input": (LLAMA_GUARD, PROMPT_GUARD),
    "tool_call": (LLAMA_GUARD,),
    "code": (CODE_SHIELD, LLAMA_GUARD),
    "tool_result": (LLAMA_GUARD, PROMPT_GUARD),
    "output": (LLAMA_GUARD,),
}
