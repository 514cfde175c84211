"""What a tool writes while it runs, on its way to whoever watches: only as far as the screens let it pass."""

from arriero.prompts import ToolCall
from arriero.safety.base import ScreenInput
from arriero.safety.pipeline import Outcome, Pipeline
from arriero.safety.stream import ScreenedText


class LiveOutput:
    """The output of one call, given back in the pieces that may be shown.

    Where nothing stands at ``tool_result``, that is all of it, as it comes. Screens that answer at once read it on
    its way, and may change or stop it. Where another screen reads results, nothing is shown before the result is.
    """

    def __init__(self, pipeline: Pipeline, call: ToolCall) -> None:
        self._pipeline = pipeline
        self._tool = call.name
        self._streams: dict[str, ScreenedText] = {}

    async def feed(self, stream: str, text: str) -> str:
        """What may be shown now that this piece of a stream has come."""
        if "tool_result" not in self._pipeline.places:
            return text
        if not self._pipeline.instant("tool_result"):
            return ""
        if stream not in self._streams:
            self._streams[stream] = ScreenedText(self._pipeline, self._given(), _nobody)
        return await self._streams[stream].feed(text)

    async def finish(self) -> list[tuple[str, str]]:
        """The rest of each stream that may be shown, where there is any."""
        rests = [(stream, await screened.finish()) for stream, screened in self._streams.items()]
        return [(stream, rest) for stream, rest in rests if rest]

    def _given(self) -> ScreenInput:
        origin = f"tool:{self._tool}"
        return ScreenInput("tool_result", "", role="ipython", origin=origin, tool=self._tool, final=False)


async def _nobody(outcome: Outcome) -> bool:
    # Whoever has to be asked is asked once, about the result.
    return False
