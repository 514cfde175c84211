"""Screens that a policy can name without bringing them: where each is made from its settings."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from .base import Screen
from .policy import CODE_SHIELD, LLAMA_GUARD, PATTERNS, PROMPT_GUARD, PROVENANCE

if TYPE_CHECKING:
    from .policy import Policy

Factory = Callable[[Mapping[str, Any], "Policy"], Screen]
"""Makes a screen from its table of the policy's ``settings`` and the policy. Raises ScreenError where weights or a
package are missing, saying what to do; it may take its time, since it is called in a thread."""

FACTORIES: Final[Mapping[str, str]] = {
    PATTERNS: "arriero.safety.patterns.screen:from_settings",
    PROVENANCE: "arriero.safety.provenance:from_settings",
    LLAMA_GUARD: "arriero.safety.llama_guard.screen:from_settings",
    PROMPT_GUARD: "arriero.safety.prompt_guard.screen:from_settings",
    CODE_SHIELD: "arriero.safety.code_shield.screen:from_settings",
}
"""``module:function`` of each, imported when the screen is first needed."""


def factory(name: str) -> Factory:
    """The function that makes the screen of that name. Raises KeyError for an unknown one, ImportError."""
    module, _, function = FACTORIES[name].partition(":")
    made: Factory = getattr(import_module(module), function)
    return made
