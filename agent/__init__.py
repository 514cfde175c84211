"""Who decides: the agent, its loop, events and limits, the backends and the command line."""

from .agent import DEFAULT_INSTRUCTIONS, Agent, ConfigError, RunResult
from .cancellation import CancellationToken
from .conversation import Conversation
from .limits import Limits

__all__ = [
    "DEFAULT_INSTRUCTIONS",
    "Agent",
    "CancellationToken",
    "ConfigError",
    "Conversation",
    "Limits",
    "RunResult",
]
