"""Puts a model, tools and an agent together as the settings say, and takes them apart again."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from arriero.agent.agent import DEFAULT_INSTRUCTIONS, Agent
from arriero.agent.approval import ApprovalRules, Decided, Decision
from arriero.agent.backends import Model, Progress, Sampling, TellsProgress
from arriero.agent.context import ContextState, DropToolOutputs, what_went
from arriero.agent.conversation import Conversation
from arriero.agent.events import Event
from arriero.agent.guard_models import pipeline
from arriero.agent.journal import Journal
from arriero.agent.journal import Session as KeptSession
from arriero.agent.limits import Limits
from arriero.agent.store import StoreError, open_model
from arriero.prompts import Segment
from arriero.tools import Tool

from .approval import Approver
from .attachments import Echo, echo, read, weigh, with_attachments
from .exits import NotReady
from .runner import PATIENCE, Runner, load
from .script import ScriptFile
from .settings import BUNDLED, SCRIPT, TOOLS, Settings
from .toolbox import Toolbox

if TYPE_CHECKING:
    from arriero.tools.python import PythonTool

Loaded = Callable[[float], None]

_DEMONSTRATION_TOKENS = (
    1500  # a question: none that it can answer takes more, and on others it may not find an end
)

DEMONSTRATION = (
    "The bundled model is a small demonstration of one narrow field. For real work use a Llama 3.1 Instruct "
    "GGUF: arriero -m llama-3.1-8b-instruct.gguf"
)


class Session:
    """A model with tools, one agent and one conversation.

    ``toolbox`` makes the tools and knows what is to be said of them. ``start`` loads; ``close`` frees. Settings
    that the model reads in its prompt (instructions, tools) begin a new conversation when they change.
    """

    def __init__(self, settings: Settings, runner: Runner) -> None:
        self.settings = settings
        self.runner = runner
        self.toolbox = Toolbox(settings)
        self.approver = Approver()
        self.approver.find = self._known_as
        self.tools: dict[str, Tool] = {}
        self.off: set[str] = set()
        self.journal = Journal() if settings.journal else None
        self.kept: KeptSession | None = None
        self.model: Model
        self.agent: Agent
        self.conversation: Conversation

    def start(
        self, on_progress: Loaded = lambda fraction: None, on_tick: Callable[[], None] = lambda: None
    ) -> None:
        """Load the model and make the tools; Ctrl-C gets through. Raises ArrieroError."""
        self.guards = pipeline(self.settings.safety)
        self.tools = load(self.toolbox.make_all, on_tick)
        if python := self.python:
            self.runner.start(python.prestart())
        self.model = load(lambda: load_model(self.settings, on_progress), on_tick)
        self.renew()

    @property
    def python(self) -> "PythonTool | None":
        """The Python tool, if it is on."""
        from arriero.tools.python import PythonTool

        tool = self.tools.get("python")
        return tool if isinstance(tool, PythonTool) and "python" not in self.off else None

    @property
    def offered(self) -> list[str]:
        """Short names of the tools that the model is told about."""
        return [name for name in self.tools if name not in self.off]

    def renew(self) -> None:
        """Make the agent anew from the settings, with an empty conversation."""
        settings = self.settings
        babble = _DEMONSTRATION_TOKENS if settings.model == BUNDLED else None
        limits = Limits(max_tokens=settings.max_tokens or babble)
        if settings.max_steps is not None:
            limits = replace(limits, max_steps=settings.max_steps)
        self.agent = Agent(
            self.model,
            instructions=DEFAULT_INSTRUCTIONS if settings.instructions is None else settings.instructions,
            tools=[self.tools[name] for name in self.offered],
            limits=limits,
            sampling=sampling(settings),
            dialect=settings.dialect,
            approve=self._rules(),
            guards=self.guards,
            journal=self.journal,
        )
        self.begin()

    def allow(self, patterns: Sequence[str]) -> None:
        """Have calls of these patterns run unasked, and no others."""
        self.settings = replace(self.settings, approve=tuple(patterns))
        self.agent.approve = self._rules()

    def _rules(self) -> ApprovalRules:
        settings, rules = self.settings, dict[str, Decision]()
        for patterns, decision in (
            (settings.deny, "deny"),
            (settings.ask, "ask"),
            (settings.approve, "allow"),
        ):
            for pattern in patterns:
                rules.setdefault(known_as(pattern), decision)  # type: ignore[arg-type]
        return ApprovalRules(rules, ask=self.approver)

    @property
    def open_journal(self) -> Journal:
        """The journal that the conversation is kept in. Raises NotReady."""
        if self.journal is None:
            raise NotReady("nothing is kept of this conversation; leave --no-journal out")
        return self.journal

    def go_on_with(self, name: str) -> None:
        """Make a session of the journal the conversation; the one before stays as it is. Raises JournalError."""
        journal = self.open_journal
        info = journal.session(name)
        if info.id == self.conversation.id:
            return
        kept, previous = KeptSession(info.id, journal=journal), self.kept
        self.conversation = load(lambda: kept.open(self.agent))
        self.kept = kept
        if previous is not None:
            previous.close()

    def fork(self, name: str | None) -> str:
        """Go on in a copy of the session, and return how it is called. Raises JournalError."""
        info = self.open_journal.fork(self.conversation.id, name=name)
        self.go_on_with(info.id)
        return info.shown

    def undo(self) -> bool:
        """Take back the last turn, in the journal too; False where there is none."""
        return self.kept.undo() if self.kept is not None else self.conversation.undo()

    def compact(self) -> str:
        """Take outputs of tools but the last out of what the model reads; what went, or nothing where none can."""
        before = tuple(self.conversation.messages)
        after = DropToolOutputs(keep=1)(ContextState(before, len(self.conversation.tokens), 0, self._count))
        if after is None:
            return ""
        self.conversation.replace_messages(after, self.model)
        return what_went(before, after)

    def begin(self) -> None:
        """A conversation for the agent: the session that was asked for, the first time; else a new one."""
        first, name = self.kept is None, self.settings.session
        if self.kept is not None:
            self.kept.close()
        if self.journal is None:
            if name is not None:
                raise NotReady("a session is kept in the journal; leave --no-journal out")
            self.conversation = self.agent.conversation()
            return
        kept = self.kept = KeptSession(name if first else None, journal=self.journal)
        self.conversation = load(lambda: kept.open(self.agent))

    def ask(
        self, question: str | None, decisions: Mapping[str, Decided] | None = None
    ) -> Generator[Event | None, None, None]:
        """The events of a run on the conversation, and None as time passes; asks for approvals in between.

        Without a question the run goes on with what is unfinished; ``decisions`` are on its calls.
        """
        events = self.runner.stream(
            lambda token: self.agent.stream(
                question, conversation=self.conversation, cancel=token, decisions=decisions
            )
        )
        with closing(events):
            for event in events:
                yield event
                self.approver.attend()

    def with_files(self, question: str, paths: Sequence[Path]) -> tuple[str, list[Echo]]:
        """The question with files before it, which Python finds in its work folder too, and what is said of each.

        Raises AttachmentError, and OSError where the work folder takes no more.
        """
        attachments = read(paths)
        python = self.python
        text = with_attachments(question, attachments, python=python is not None)
        if python is not None:
            sandbox = python.sandbox(self.conversation.id)
            for one in attachments:
                self.runner.call(sandbox.put(one.name, one.data))
        length = self.model.context_length
        itself = weigh(question, self._count, length)
        return text, [*echo(attachments, self._count, length), *([itself] if itself else [])]

    def _count(self, text: str) -> int:
        return len(self.model.tokenize([Segment(text)]))

    def progress(self) -> Progress | None:
        """How far the model is with what it does just now, as far as it tells."""
        return self.model.progress() if isinstance(self.model, TellsProgress) else None

    def change_model(self, name: str, on_progress: Loaded, on_tick: Callable[[], None]) -> None:
        """Load another model, then free the one before; the conversation begins anew. Raises ArrieroError."""
        settings = replace(self.settings, model=name)
        model = load(lambda: load_model(settings, on_progress), on_tick)
        previous, self.model, self.settings = self.model, model, settings
        self.renew()
        self.runner.call(previous.aclose(), timeout=PATIENCE)

    def close(self) -> None:
        """Free tools and model; what does not end in time is left to the end of the process."""
        for tool in self.tools.values():
            self._free(tool)
        for toolset in self.toolbox.toolsets:
            with suppress(TimeoutError):  # what is left ends with this process
                self.runner.call(toolset.aclose(), timeout=PATIENCE)
        if hasattr(self, "guards"):
            self.runner.call(self.guards.aclose())
        if hasattr(self, "model"):
            self._free(self.model)
        if self.kept is not None:
            self.kept.close()
        if self.journal is not None:
            self.journal.close()

    def _free(self, one: Tool | Model) -> None:
        try:
            self.runner.call(one.aclose(), timeout=PATIENCE)
        except TimeoutError:
            self.toolbox.notices.append(f"{one.name} did not end in time")

    def _known_as(self, name: str) -> Tool | None:
        return next((tool for tool in self.tools.values() if tool.name == name), None)


def known_as(pattern: str) -> str:
    """A pattern of calls, with the name that a tool has for the model in the place of the one that people use."""
    name, paren, rest = pattern.partition("(")
    return f"{TOOLS.get(name, name)}{paren}{rest}"


def sampling(settings: Settings) -> Sampling:
    """How tokens are chosen: the bundled model is greedy unless told otherwise."""
    chosen = Sampling(seed=settings.seed)
    if settings.model == BUNDLED:
        chosen = replace(chosen, temperature=0.0)
    if settings.temperature is not None:
        chosen = replace(chosen, temperature=settings.temperature)
    return chosen if settings.top_p is None else replace(chosen, top_p=settings.top_p)


def load_model(settings: Settings, on_progress: Loaded = lambda fraction: None) -> Model:
    """The model that the settings name. Raises NotReady where there is none, ModelError for a bad one."""
    if settings.model.startswith(SCRIPT):
        path = Path(settings.model.removeprefix(SCRIPT)).expanduser()
        return ScriptFile(path, settings.context or 1_000_000)
    try:
        return open_model(
            settings.model,
            context=settings.context,
            n_parallel=settings.parallel,
            isolated=settings.isolated,
            on_progress=on_progress,
        )
    except StoreError as error:
        raise NotReady(str(error)) from error
