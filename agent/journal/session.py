"""A session: a conversation that goes on tomorrow, in this process or another."""

import uuid
from typing import TYPE_CHECKING, Any

from arriero.agent.conversation import Conversation

from . import editing
from .errors import UnknownSession
from .identity import setup_of, weights_of
from .journal import Journal
from .lock import SessionLock
from .records import SessionInfo

if TYPE_CHECKING:
    from arriero.agent.agent import Agent


class Session:
    """A conversation kept in a journal.

    ``name`` is that of a session that is there (its id, the beginning of it, or ``last`` do as well) or of a new
    one; without a name a new one is made. ``journal`` defaults to the user's. One agent has a session at a time:
    ``open`` raises SessionBusy where another has it, JournalError where the journal cannot be used.
    """

    def __init__(self, name: str | None = None, *, journal: Journal | None = None) -> None:
        self.name = name
        self.journal = journal or Journal()
        self.conversation: Conversation | None = None
        self._lock: SessionLock | None = None

    @property
    def id(self) -> str:
        """The session's id; empty until it is opened."""
        return self.conversation.id if self.conversation else ""

    @property
    def info(self) -> SessionInfo:
        """What the journal says about the session. Raises UnknownSession before it is opened."""
        return self.journal.session(self.id or self.name or "")

    def open(self, agent: "Agent[Any]") -> Conversation:
        """The conversation, ready for ``agent``: rendered again where model, tools or instructions differ from
        those that it was kept with. Safe to call twice.
        """
        if self.conversation is None:
            info = self._find()
            session = info.id if info else uuid.uuid4().hex
            lock = self.journal.lock(session, info.shown if info else self.name or "")
            try:
                self.conversation = self._load(info, agent) if info else self._begin(session, agent)
            except BaseException:
                lock.release()
                raise
            self._lock = lock
        return self.conversation

    def undo(self) -> bool:
        """Take back the last turn, here and in the journal. False if there is none."""
        if self.conversation is None:
            return self.journal.undo(self.info.id)
        if not self.conversation.undo():
            return False
        self.journal.undo(self.conversation.id)
        self.conversation.take_change()
        return True

    def close(self) -> None:
        """Let others have the session; safe to call twice."""
        self.conversation = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _find(self) -> SessionInfo | None:
        if self.name is None:
            return None
        try:
            return self.journal.session(self.name)
        except UnknownSession:
            if self.name == "last":
                raise
            return None

    def _load(self, info: SessionInfo, agent: "Agent[Any]") -> Conversation:
        kept, new = self.journal.conversation(info.id), agent.conversation()
        weights = weights_of(agent.model)
        new.date = kept.date
        if weights is None or weights != info.weights or setup_of(new) != setup_of(kept):
            kept.render_again(new.dialect, new.instructions, new.tools, agent.model)
        called = {message.name for message in kept.messages if message.role == "ipython"}
        for tool in agent.tools.values():
            if tool.name in called:
                tool.resumed(kept.id)
        return kept

    def _begin(self, session: str, agent: "Agent[Any]") -> Conversation:
        conversation = agent.conversation()
        conversation.id = session
        setup, name, model = setup_of(conversation), self.name, agent.model.name
        if name is not None:
            # One without a name is there from its first run on, so that nobody sees empty ones.
            self.journal.change(lambda db: editing.create(db, session, name, setup, model))
        return conversation
