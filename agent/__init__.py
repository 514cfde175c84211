"""Who decides: the agent, its loop, events and limits, the backends and the command line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import DEFAULT_INSTRUCTIONS, Agent, ConfigError
    from .approval import ApprovalRules, Edited, Refused
    from .cancellation import CancellationToken
    from .context import DropToolOutputs, SummariseTurns
    from .conversation import Conversation
    from .journal import Journal, Session
    from .journal.replay import ReplayModel
    from .limits import Limits
    from .output import OutputError
    from .outputs import OutputReader
    from .result import RunResult

_HOME = {
    "Agent": ".agent",
    "ApprovalRules": ".approval",
    "CancellationToken": ".cancellation",
    "ConfigError": ".agent",
    "Conversation": ".conversation",
    "DEFAULT_INSTRUCTIONS": ".agent",
    "DropToolOutputs": ".context",
    "Edited": ".approval",
    "Journal": ".journal",
    "Limits": ".limits",
    "OutputError": ".output",
    "OutputReader": ".outputs",
    "Refused": ".approval",
    "ReplayModel": ".journal.replay",
    "RunResult": ".result",
    "Session": ".journal",
    "SummariseTurns": ".context",
}

__all__ = [
    "DEFAULT_INSTRUCTIONS",
    "Agent",
    "ApprovalRules",
    "CancellationToken",
    "ConfigError",
    "Conversation",
    "DropToolOutputs",
    "Edited",
    "Journal",
    "Limits",
    "OutputError",
    "OutputReader",
    "Refused",
    "ReplayModel",
    "RunResult",
    "Session",
    "SummariseTurns",
]


def __getattr__(name: str) -> Any:
    # The command line lives below this package, and its --help needs none of these.
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
