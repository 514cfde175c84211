"""What can go wrong with a journal.

JournalError
 ├ JournalFormatError   the file is of a newer version, damaged, or no journal at all
 ├ SessionBusy          another process, or another agent, has the session
 └ UnknownSession       there is no session or run of that name
"""

from arriero.agent.recorder import JournalError

__all__ = ["JournalError", "JournalFormatError", "SessionBusy", "UnknownSession"]


class JournalFormatError(JournalError):
    """The file is of a newer version, damaged, or no journal at all."""


class SessionBusy(JournalError):
    """Another process, or another agent of this one, has the session."""


class UnknownSession(JournalError):
    """There is no session or run of that name."""
