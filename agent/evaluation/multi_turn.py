"""BFCL's conversations of several turns: carried out on the suite's environments, judged by state and results."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arriero.agent.agent import Agent
from arriero.agent.backends import Model, Sampling, ScriptedModel
from arriero.agent.conversation import Conversation
from arriero.agent.events import RunFinished, ToolCallStarted
from arriero.agent.limits import Limits
from arriero.prompts import ToolCall, ToolSpec
from arriero.prompts.dialects import get_dialect
from arriero.tools.arguments import argument_error

from .bfcl import SuiteError, answers_of, questions, rows_of, tool_of
from .environments import Environment, Method, read_call
from .tally import Score
from .writing import DONE, written

CATEGORIES: Final = (
    "multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context",
)  # fmt: skip
_DOCS: Final = "multi_turn_func_doc"
_MORE_TOOLS: Final = "I have updated some more functions you can choose from. What about now?"
_STEPS: Final = 20  # messages with calls that the suite allows a model in one turn
_DATE: Final = "26 July 2024"
_FILES: Final = {
    "GorillaFileSystem": "gorilla_file_system", "MathAPI": "math_api", "MessageAPI": "message_api",
    "TwitterAPI": "posting_api", "TicketAPI": "ticket_api", "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking", "VehicleControlAPI": "vehicle_control",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user says, the calls that are right, and the tools that come only now."""

    user: str
    calls: tuple[ToolCall, ...]
    new_tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation on environments that begin as ``config`` says."""

    id: str
    category: str
    turns: tuple[Turn, ...]
    tools: tuple[ToolSpec, ...]
    classes: tuple[str, ...]
    config: Mapping[str, Any]
    excluded: frozenset[str] = frozenset()
    """Tools that are never offered."""

    def environment(self) -> Environment:
        """Its environments, as they begin. Raises SuiteError."""
        return Environment(self.classes, self.config, long_context="long_context" in self.category)

    def offered(self, turn: int, *, as_needed: bool = False) -> list[ToolSpec]:
        """The tools that are there in a turn, from 0. A few published answers use one that is not there by the
        entry's own word, or give it what its own schema refuses; with ``as_needed`` those are there, and take it.
        """
        hidden = {name for after in self.turns[turn + 1 :] for name in after.new_tools} | self.excluded
        if not as_needed:
            return [tool for tool in self.tools if tool.name not in hidden]
        calls = self.turns[turn].calls
        hidden -= {call.name for call in calls}
        return [_taking(tool, calls) for tool in self.tools if tool.name not in hidden]


def _taking(tool: ToolSpec, calls: Sequence[ToolCall]) -> ToolSpec:
    refused = any(call.name == tool.name and argument_error(tool, call.arguments) for call in calls)
    return tool.model_copy(update={"parameters": {"type": "object"}}) if refused else tool


def load(folder: Path, category: str) -> list[Dialogue]:
    """The conversations of a category, in the order of the file. Raises SuiteError."""
    answers = answers_of(folder, category)
    documents: dict[str, list[dict[str, Any]]] = {}
    found = []
    for row in questions(folder, category):
        try:
            functions = []
            for name in row["involved_classes"]:
                if name not in documents:
                    documents[name] = _documents(folder, name)
                functions += documents[name]
            found.append(_dialogue(row, category, answers[row["id"]], functions))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SuiteError(
                f"{folder}: the entry {row.get('id')!r} of {category} has another shape: {error!r}"
            ) from error
    return found


def _documents(folder: Path, name: str) -> list[dict[str, Any]]:
    return rows_of(folder / _DOCS / f"{_FILES[name]}.json")


def _dialogue(
    row: Mapping[str, Any], category: str, answers: Sequence[Sequence[str]], functions: Sequence[Any]
) -> Dialogue:
    order = {function["name"]: list(function["parameters"].get("properties", {})) for function in functions}
    missed = row.get("missed_function", {})
    turns = []
    for number, messages in enumerate(row["question"]):
        new = tuple(missed.get(str(number), ()))
        said = "\n".join(message["content"] for message in messages)
        calls = tuple(read_call(source, order) for source in answers[number])
        turns.append(Turn(said or _MORE_TOOLS, calls, new))
    return Dialogue(
        id=row["id"],
        category=category,
        turns=tuple(turns),
        tools=tuple(tool_of(function) for function in functions),
        classes=tuple(row["involved_classes"]),
        config=row["initial_config"],
        excluded=frozenset(row.get("excluded_function", ())),
    )


async def replay(
    dialogues: Iterable[Dialogue], *, dialect: str, together: bool = False
) -> AsyncIterator[Score]:
    """Write the right calls in a dialect, and send them through parser, coercion, loop and environments.

    With ``together`` the calls of a turn are in one message where the dialect can write that. No model is asked.
    Raises SuiteError.
    """
    form = get_dialect(dialect)
    for dialogue in dialogues:
        texts: list[str] = []
        for number, turn in enumerate(dialogue.turns):
            offered = dialogue.offered(number, as_needed=True)
            texts += [*written(form, offered, turn.calls, together=together), DONE]
        limits = Limits(max_steps=None, max_repeats=1000, max_output_chars=10**9)
        model = ScriptedModel(texts, dialect=dialect, context_length=10**8)
        yield await _carried_out(dialogue, model, dialect, limits, None, exact=True)


async def run_model(
    dialogues: Iterable[Dialogue],
    model: Model,
    *,
    dialect: str | None = None,
    sampling: Sampling | None = None,
) -> AsyncIterator[Score]:
    """Let a model have the conversations. Raises SuiteError."""
    limits = Limits(max_steps=_STEPS, max_output_chars=10**6)
    for dialogue in dialogues:
        yield await _carried_out(dialogue, model, dialect or model.dialect, limits, sampling, exact=False)


async def _carried_out(
    dialogue: Dialogue,
    model: Model,
    dialect: str,
    limits: Limits,
    sampling: Sampling | None,
    *,
    exact: bool,
) -> Score:
    """Have the conversation beside the right one, and compare state and results after each turn."""
    ours, right = dialogue.environment(), dialogue.environment()
    conversation: Conversation | None = None
    calls: list[ToolCall] = []
    problem = ""
    for number, turn in enumerate(dialogue.turns):
        agent = Agent(
            model,
            instructions="You are a helpful assistant.",
            tools=[Method(spec, ours) for spec in dialogue.offered(number, as_needed=exact)],
            limits=limits,
            sampling=sampling or Sampling(temperature=0),
            dialect=dialect,
            date=_DATE,
            guards=None,
        )
        specs = tuple(tool.spec for tool in agent.tools.values())
        if conversation is None:
            conversation = agent.conversation()
        elif specs != conversation.tools:
            conversation.render_again(conversation.dialect, conversation.instructions, specs, model)
        made, end = await _turn(agent, turn.user, conversation)
        calls += made
        wanted = [right.call(call.name, call.arguments) for call in turn.calls]
        problem = problem or end or _fault(turn, made, ours, right, wanted, exact=exact)
    if exact and not problem and ours.results != right.results:
        problem = "the calls have other results"
    same = sum(one == other for one, other in zip(ours.results, right.results, strict=False))
    return Score(dialogue, tuple(calls), problem, same, len(right.results))


async def _turn(agent: Agent, user: str, conversation: Conversation) -> tuple[list[ToolCall], str]:
    """The calls that the loop read, and why the run did not end well; that it ended at a limit is no fault."""
    made: list[ToolCall] = []
    end = ""
    async with aclosing(agent.stream(user, conversation=conversation)) as events:
        async for event in events:
            if isinstance(event, ToolCallStarted):
                made.append(ToolCall(id=event.call_id, name=event.name, arguments=event.arguments))
            elif isinstance(event, RunFinished) and event.stop_reason == "error":
                end = f"the run ended with an error: {event.error}"
    return made, end


def _fault(
    turn: Turn,
    made: Sequence[ToolCall],
    ours: Environment,
    right: Environment,
    wanted: Sequence[str],
    *,
    exact: bool,
) -> str:
    if not turn.calls and not exact:
        return ""  # what a model does where it should ask back shows in the next turn's state
    if turn.calls and not made:
        return "no tool was called"
    return ours.same_state(right) or ours.has_said(wanted)
