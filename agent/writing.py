"""Writing one message: the model's tokens, what they mean, and what the output screens let be shown of it."""

from collections.abc import AsyncGenerator

from arriero.prompts.parser import ArgumentsDelta, TextDelta
from arriero.safety.stream import ScreenedText

from . import events as ev
from .cancellation import RunCancelled
from .endings import Ended
from .run import Run
from .screening import report, why
from .spending import usage_of
from .step import Sample, Step


class Writing:
    """One message of the model, which fills ``step``; iterate ``events`` once.

    ``last`` is a message in which no tool may be called any more.
    """

    def __init__(self, run: Run, step: Step, *, last: bool = False) -> None:
        self.step = step
        self._run = run
        self._last = last
        self._begun = run.conversation.mark()
        self._before = run.output if run.continues else ""
        self._answer: ScreenedText | None = None

    async def events(self) -> AsyncGenerator[ev.Event, None]:
        """Header, tokens, what they mean; at the end the conversation holds what was shown."""
        run, step = self._run, self.step
        yield self._started()
        answer = self._answer = run.screening.answer()
        shows_calls = run.screening.shows_calls
        stopped: RunCancelled | None = None
        rest: list[ev.Event] = []
        try:
            try:
                async with Sample(run, step, last=self._last) as sample:
                    while step.end != "cancelled" and (events := await sample.next()) is not None:
                        for found in events:
                            if isinstance(found, TextDelta):
                                if answer is None:
                                    yield run.event(ev.TextDelta, text=found.text)
                                    continue
                                for event in self._shown(await answer.feed(found.text), answer):
                                    yield event
                                if answer.stopped:
                                    step.end = "cancelled"
                                    break
                            elif isinstance(found, ArgumentsDelta):
                                if shows_calls:
                                    yield run.event(ev.ToolCallDelta, index=found.index, text=found.text)
                                else:
                                    step.unshown.append(found)
                if answer:
                    rest = self._shown(await run.cancel.guard(answer.finish()), answer)
            except RunCancelled as stop:
                stopped = stop
                if answer:
                    rest = self._shown(await self._cut(answer), answer)
        except BaseException:
            if answer and answer.shown != step.text:
                self._keep(answer.shown)
            raise
        finally:
            run.spending.wrote(step)
            if answer:
                await answer.aclose()
            run.output = self._before + (answer.shown if answer else step.text)
            run.continues = step.end == "eom" and not step.calls and not step.malformed
        rest.append(run.event(ev.StepFinished, step=step.number, end=step.end, usage=usage_of(step)))
        if answer:
            # Before anything is told of it: whoever hears may leave, and the conversation may go on.
            rest += self._settled(answer)
        for event in rest:
            yield event
        run.recorder.keep("step", step.number)
        if answer and answer.stopped and not step.retry:
            raise Ended("blocked", why(answer.stopped))
        if stopped:
            raise stopped

    def take_back(self) -> ev.ModelRetried:
        """Take the message back, which the model shall write anew for the reason in ``step.retry``."""
        run, step = self._run, self.step
        run.conversation.rewind(self._begun)
        run.conversation.evaluated = len(run.conversation.tokens)  # all that is left has been read
        run.attempts.again += 1
        return run.event(ev.ModelRetried, reason=step.retry or "", discarded_tokens=step.output_tokens)

    def _started(self) -> ev.StepStarted:
        run, conversation = self._run, self._run.conversation
        conversation.begin_answer(run.model)
        self.step.prompt_tokens = len(conversation.tokens) - conversation.evaluated
        return run.event(
            ev.StepStarted,
            step=self.step.number,
            context_tokens=len(conversation.tokens),
            new_tokens=self.step.prompt_tokens,
            context_length=run.model.context_length,
        )

    def _shown(self, text: str, answer: ScreenedText) -> list[ev.Event]:
        """What the screens said since, and the text that they let pass."""
        run = self._run
        events: list[ev.Event] = [
            run.event(ev.GuardrailChecked, **report(check)) for check in answer.take_checks()
        ]
        if text:
            events.append(run.event(ev.TextDelta, text=text))
        return events

    async def _cut(self, answer: ScreenedText) -> str:
        """What may still be shown of an answer that was cancelled."""
        try:
            return await answer.cut()
        except RunCancelled:  # somebody would have to be asked
            return ""

    def _settled(self, answer: ScreenedText) -> list[ev.TextDelta]:
        """Leave in the conversation only what was shown; where a screen stopped it, say so."""
        run, step, stop = self._run, self.step, answer.stopped
        told: list[ev.TextDelta] = []
        if stop:
            if stop.action == "retry" and not answer.shown and run.screening.may_retry():
                step.retry = why(stop)
            else:
                text = run.screening.text("output")
                text = f"\n\n{text}" if answer.shown else text
                told.append(run.event(ev.TextDelta, text=text))
                run.output += text
            step.calls.clear()
            step.malformed.clear()
        if stop or answer.shown != step.text:
            self._keep(answer.shown + "".join(event.text for event in told))
        return told

    def _keep(self, text: str) -> None:
        """Write the message into the conversation as it was shown; the model's own tokens stay where that is all."""
        self.step.text = text
        self._run.conversation.rewind(self._begun)
        self._run.conversation.append([self.step.message], self._run.model)
