"""Serving the calls of one message: screens, the calls in order, their results, and an answer to each."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from arriero.prompts import Message, ToolCall, coerce_arguments
from arriero.safety.pipeline import Outcome

from . import events as ev
from .approval import Edited, edit_note
from .calls import Served, ServedCall, Service, refusal
from .endings import Ended
from .live_output import LiveOutput
from .pending import UNRUN, Pending, answer_to, waiting_at
from .run import Run
from .screening import PASSED, why
from .step import Step

_STOPPED = "Error when running tool: it was stopped before it ended."


class Serving:
    """The calls of ``step``, those of ``pending`` from where an earlier run has left them; iterate ``events`` once.

    Whatever happens, each call gets an answer in the transcript.
    """

    def __init__(self, run: Run, step: Step, pending: Pending | None = None) -> None:
        self.step = step
        self._run = run
        self._pending = pending
        self._answers = dict(pending.answers) if pending else {}
        self._calls = [call for call in step.calls if call.id not in self._answers]
        edited = pending.edited if pending else ()
        self._edited = {call.id: call for call in step.calls if call.id in edited} if edited else {}
        self._begun = ""
        refusals = step.refusals
        self._unfit = (
            {call.id: refusal(call, run.tools) for call in self._calls} if refusals is None else refusals
        )
        self._waiting: Pending | None = None
        self._screened = PASSED
        self._refused: str | None = None
        self._live: LiveOutput | None = None
        self._ended: Ended | None = None
        self._service = _resumed(run.service, run, pending) if pending else run.service

    async def events(self) -> AsyncGenerator[ev.Event, None]:
        """Calls → screens → each served in turn; with ``step.retry`` set, none was, and the message is void."""
        run, step = self._run, self.step
        try:
            outcomes = await run.screening.calls(self._calls, run.tools)
            for call, outcome in zip(self._calls, outcomes, strict=True):
                for checked in run.checked(outcome, call.id):
                    yield checked
            # Calls that an earlier run has begun to serve stand as they are.
            step.retry = None if self._pending else run.screening.retry(outcomes)
            if step.retry:
                return
            for found in step.unshown:
                yield run.event(ev.ToolCallDelta, index=found.index, text=found.text)
            for call, screened in zip(self._calls, outcomes, strict=True):
                run.spending.next_call()
                one: ServedCall | None = self._one(call, screened)
                if self._refused is None:
                    yield run.event(
                        ev.ToolCallStarted, call_id=call.id, name=call.name, arguments=call.arguments
                    )
                while one is not None:
                    try:
                        while (shown := await self._output(one)) is not None:
                            yield shown
                    finally:
                        await one.end()
                    if one.edit is None:
                        events, one = await self._settle(one), None
                    else:
                        events, one = await self._anew(one.call, one.edit)
                    for event in events:
                        yield event
                if self._ended:
                    raise self._ended
        finally:
            if not step.retry:
                run.conversation.append(self._answered(), run.model)
                run.conversation.pending = self._waiting
                run.recorder.keep("results", step.number)

    def _one(self, call: ToolCall, screened: Outcome, *, edited: bool = False) -> ServedCall:
        """One call, which runs as far as the screens and the tool's schema let it."""
        screening, unfit = self._run.screening, self._unfit.get(call.id)
        refused = self._refused = screening.refusal(call, screened)
        self._screened, self._begun, self._live = screened, call.id, None
        return ServedCall(
            call,
            self._service,
            step=self.step.number,
            refused=refused or (f"Error: {unfit.reason}" if unfit else None),
            objection=screening.objection(call, screened),
            edited=edited,
        )

    async def _anew(self, call: ToolCall, edit: Edited) -> tuple[list[ev.Event], ServedCall]:
        """Serve a call with the arguments that a person gave it: they are checked and screened like any others."""
        run = self._run
        arguments = coerce_arguments(dict(edit.arguments), run.tools[call.name].spec.parameters)
        changed = self._edited[call.id] = call.model_copy(update={"arguments": arguments})
        edited = run.event(ev.ToolCallEdited, call_id=call.id, name=call.name, arguments=arguments)
        self._unfit[call.id] = refusal(changed, run.tools)
        # It was about the call as it had been: what a screen says of this one has to be decided again.
        decisions = {one: said for one, said in self._service.decisions.items() if one != call.id}
        self._service = replace(self._service, decisions=decisions)
        (outcome,) = await run.screening.calls([changed], run.tools)
        return [edited, *run.checked(outcome, call.id)], self._one(changed, outcome, edited=True)

    async def _output(self, one: ServedCall) -> ev.ToolOutputDelta | None:
        """What of the tool's output may be shown next; None when the call has been served."""
        while (piece := await one.next()) is not None:
            self._live = self._live or LiveOutput(self._run.screening.pipeline, one.call)
            if text := await self._live.feed(*piece):
                return self._wrote(one.call, piece[0], text)
        return None

    def _wrote(self, call: ToolCall, stream: str, text: str) -> ev.ToolOutputDelta:
        return self._run.event(ev.ToolOutputDelta, call_id=call.id, stream=stream, text=text)

    async def _settle(self, one: ServedCall) -> list[ev.Event]:
        """Take down what a call has come to, for the transcript and for the recorder, and what follows from it.

        It is kept before anybody hears of it, so that a kill then finds it finished.
        """
        run, call, served, outcome = self._run, one.call, one.served, self._screened
        assert served is not None
        left = await self._live.finish() if self._live else ()
        events: list[ev.Event] = [self._wrote(call, stream, text) for stream, text in left]
        if self._refused is None:
            served.result, outcome = await run.screening.result(call, served.result)
            events += run.checked(outcome, call.id)
        answer = run.repeats.answer(served)
        if call.id in self._edited:
            answer = answer.model_copy(update={"content": f"{edit_note(call)}{answer.content}"})
        self._answers[call.id] = answer
        finished = run.event(ev.ToolCallFinished, **served.report(answer))
        if not served.undecided:
            tool = run.tools.get(call.name)
            await run.recorder.settle(call, answer, finished, tool.effect if tool else "read")
        events.append(finished)
        if outcome.failed:
            self._ended = Ended("blocked", why(outcome))
        elif served.undecided:
            events.append(self._wait(served))
            self._ended = Ended("approval", served.result.content)
        elif run.repeats.exceeded:
            error = f"{call.name} was called {run.repeats.times} times with the same result"
            self._ended = Ended("loop", error)
        return events

    def _answered(self) -> list[Message]:
        """An answer to each call, whether it came to its end or not."""
        return [
            self._answers.get(call.id)
            or answer_to(call, _STOPPED if call.id == self._begun else UNRUN, edited=call.id in self._edited)
            for call in self._as_edited()
        ]

    def _as_edited(self) -> list[ToolCall]:
        return (
            [self._edited.get(call.id, call) for call in self.step.calls] if self._edited else self.step.calls
        )

    def _wait(self, served: Served) -> ev.ApprovalRequested:
        """Leave the call, and those behind it, for a run that brings the decision."""
        run, step, call = self._run, self.step, served.call
        self._waiting = waiting_at(
            call,
            self._as_edited(),
            self._answers,
            run.run_id,
            step.number,
            run.conversation.mark(),
            self._pending,
            self._edited,
            served.result.content,
        )
        return run.event(
            ev.ApprovalRequested,
            call_id=call.id,
            name=call.name,
            arguments=call.arguments,
            reason=served.why,
        )


def _resumed(service: Service, run: Run, pending: Pending) -> Service:
    """The service of calls that an earlier run has left: some are decided now, of some nobody knows anything."""
    unknown = frozenset(call_id for call_id, fate in pending.fates.items() if fate == "unknown")
    return replace(service, decisions=run.decisions, unknown=unknown, told=pending.told)
