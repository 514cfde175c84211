"""Every run in a SQLite file while it happens: sessions, resuming, forking, searching, replaying."""

from .errors import JournalError, JournalFormatError, SessionBusy, UnknownSession
from .journal import Journal, default_path
from .records import CallInfo, Found, Generation, RunInfo, SessionInfo
from .restore import Entry
from .session import Session

__all__ = [
    "CallInfo",
    "Entry",
    "Found",
    "Generation",
    "Journal",
    "JournalError",
    "JournalFormatError",
    "RunInfo",
    "Session",
    "SessionBusy",
    "SessionInfo",
    "UnknownSession",
    "default_path",
]
