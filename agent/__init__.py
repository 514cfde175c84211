"""Who decides: the agent, its loop, events and limits, the backends and the command line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import DEFAULT_INSTRUCTIONS, Agent, ConfigError, RunResult
    from .cancellation import CancellationToken
    from .conversation import Conversation
    from .limits import Limits

_HOME = {
    "Agent": ".agent",
    "CancellationToken": ".cancellation",
    "ConfigError": ".agent",
    "Conversation": ".conversation",
    "DEFAULT_INSTRUCTIONS": ".agent",
    "Limits": ".limits",
    "RunResult": ".agent",
}

__all__ = [
    "DEFAULT_INSTRUCTIONS",
    "Agent",
    "CancellationToken",
    "ConfigError",
    "Conversation",
    "Limits",
    "RunResult",
]


def __getattr__(name: str) -> Any:
    # The command line lives below this package, and its --help needs none of these.
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
