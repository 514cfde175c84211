"""Serving the calls of one message: screens, the calls in order, their results, and an answer to each."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from arriero.prompts import Message, ToolCall, coerce_arguments
from arriero.safety.pipeline import Outcome

from . import events as ev
from .approval import Edited, edit_note
from .calls import Served, Service, refusal, serve
from .endings import Ended
from .live_output import LiveOutput
from .pending import UNRUN, Pending, answer_to, waiting_at
from .run import Run
from .screening import why
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
        self._edited = {call.id: call for call in step.calls if call.id in edited}
        self._begun = ""
        refusals = step.refusals
        self._unfit = (
            {call.id: refusal(call, run.tools) for call in self._calls} if refusals is None else refusals
        )
        self._mark = run.conversation.mark()
        self._waiting: Pending | None = None
        self._service = _service(run, pending)

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
            for call, outcome in zip(self._calls, outcomes, strict=True):
                run.spending.next_call()
                async with aclosing(self._one(call, outcome)) as events:
                    async for event in events:
                        yield event
                if run.repeats.exceeded:
                    raise Ended(
                        "loop", f"{call.name} was called {run.repeats.times} times with the same result"
                    )
        finally:
            if not step.retry:
                run.conversation.append(self._answered(), run.model)
                run.conversation.pending = self._waiting
                run.recorder.keep("results", step.number)

    async def _one(
        self, call: ToolCall, screened: Outcome, *, edited: bool = False
    ) -> AsyncGenerator[ev.Event, None]:
        """One call: run it as far as the screens let it, show its output, settle what came of it."""
        run = self._run
        refused = run.screening.refusal(call, screened)
        if refused is None and not edited:
            yield run.event(ev.ToolCallStarted, call_id=call.id, name=call.name, arguments=call.arguments)
        self._begun = call.id
        live = LiveOutput(run.screening.pipeline, call)
        objection = run.screening.objection(call, screened)
        unfit = self._unfit.get(call.id)
        told = refused or (f"Error: {unfit.reason}" if unfit else None)
        async with aclosing(
            serve(call, self._service, refused=told, objection=objection, edited=edited)
        ) as pieces:
            async for piece in pieces:
                if isinstance(piece, Edited):
                    async with aclosing(self._anew(call, piece)) as events:
                        async for event in events:
                            yield event
                    return
                if not isinstance(piece, Served):
                    if text := await live.feed(*piece):
                        yield run.event(ev.ToolOutputDelta, call_id=call.id, stream=piece[0], text=text)
                    continue
                for stream, text in await live.finish():
                    yield run.event(ev.ToolOutputDelta, call_id=call.id, stream=stream, text=text)
                outcome = screened
                checked: list[ev.GuardrailChecked] = []
                if refused is None:
                    piece.result, outcome = await run.screening.result(call, piece.result)
                    checked = run.checked(outcome, call.id)
                # Kept before anybody hears of it, so that a kill then finds it finished.
                finished = await self._settle(piece)
                for event in checked:
                    yield event
                yield finished
                if outcome.failed:
                    raise Ended("blocked", why(outcome))
                if piece.undecided:
                    yield self._wait(piece)
                    raise Ended("approval", piece.result.content)

    async def _anew(self, call: ToolCall, edit: Edited) -> AsyncGenerator[ev.Event, None]:
        """Serve a call with the arguments that a person gave it: they are checked and screened like any others."""
        run = self._run
        arguments = coerce_arguments(dict(edit.arguments), run.tools[call.name].spec.parameters)
        changed = self._edited[call.id] = call.model_copy(update={"arguments": arguments})
        yield run.event(ev.ToolCallEdited, call_id=call.id, name=call.name, arguments=arguments)
        self._unfit[call.id] = refusal(changed, run.tools)
        # It was about the call as it had been: what a screen says of this one has to be decided again.
        self._service.decisions = {
            one: said for one, said in self._service.decisions.items() if one != call.id
        }
        (outcome,) = await run.screening.calls([changed], run.tools)
        for checked in run.checked(outcome, call.id):
            yield checked
        async with aclosing(self._one(changed, outcome, edited=True)) as events:
            async for event in events:
                yield event

    def _answered(self) -> list[Message]:
        """An answer to each call, whether it came to its end or not."""
        return [
            self._answers.get(call.id)
            or answer_to(call, _STOPPED if call.id == self._begun else UNRUN, edited=call.id in self._edited)
            for call in self._as_edited()
        ]

    def _as_edited(self) -> list[ToolCall]:
        return [self._edited.get(call.id, call) for call in self.step.calls]

    async def _settle(self, served: Served) -> ev.ToolCallFinished:
        """Take down what a call has come to: for the transcript, and for the recorder."""
        run, call = self._run, served.call
        answer = run.repeats.answer(served)
        if call.id in self._edited:
            answer = answer.model_copy(update={"content": f"{edit_note(call)}{answer.content}"})
        self._answers[call.id] = answer
        finished = run.event(ev.ToolCallFinished, **served.report(answer))
        if not served.undecided:
            tool = run.tools.get(call.name)
            await run.recorder.settle(call, answer, finished, tool.effect if tool else "read")
        return finished

    def _wait(self, served: Served) -> ev.ApprovalRequested:
        """Leave the call, and those behind it, for a run that brings the decision."""
        run, step, call = self._run, self.step, served.call
        self._waiting = waiting_at(
            call,
            self._as_edited(),
            self._answers,
            run.run_id,
            step.number,
            self._mark,
            self._pending,
            self._edited,
        )
        return run.event(
            ev.ApprovalRequested,
            call_id=call.id,
            name=call.name,
            arguments=call.arguments,
            reason=served.why,
        )


def _service(run: Run, pending: Pending | None) -> Service:
    fates = pending.fates if pending else {}
    return Service(
        run.tools,
        run.limits,
        run.cancel,
        run.deps,
        run.approve,
        run.conversation.id,
        recorder=run.recorder,
        budget=run.spending,
        step=pending.step if pending else run.spending.steps,
        decisions=run.decisions if pending else {},
        unknown=frozenset(call_id for call_id, fate in fates.items() if fate == "unknown"),
    )
