"""What can go wrong before a cell runs: no sandbox to be had, or one that broke its contract."""

from arriero.prompts.errors import ArrieroError


class SandboxUnavailable(ArrieroError):
    """No level of the sandbox can be had here; the message says why and how to get one."""


class SandboxBroken(ArrieroError):
    """A sandbox died, stalled or spoke nonsense; it has been killed and its state is gone."""
