"""What can go wrong before a cell runs: no sandbox to be had, or one that broke its contract."""

from arriero.prompts.errors import ArrieroError


class SandboxUnavailable(ArrieroError):  # noqa: N818 - reads as what it says
    """No level of the sandbox can be had here; the message says why and how to get one."""


class SandboxBroken(ArrieroError):  # noqa: N818
    """A sandbox died, stalled or spoke nonsense; it has been killed and its state is gone."""
