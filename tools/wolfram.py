"""Wolfram|Alpha's Full Results API, read through the ``wolframalpha`` package, told in the reference's form.

The package reads the API's XML, while the reference (llama-agentic-system) asks for JSON: the document is put
into the JSON's shape before it is cleaned. The package's own request is replaced by ours: it can neither be
bounded in size nor given a transport, it asserts one spelling of the content type, and httpx would log its
address, which holds the key.
"""

import json
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from xml.parsers.expat import ExpatError

import anyio.to_thread

from arriero.prompts import WOLFRAM_ALPHA, ToolSpec

from ._http import HttpResponse, Retry, get, one_line, printable_key, redact, require_ok
from ._wolfram_images import with_images
from ._wolfram_shape import as_json_shape, clean_response
from ._wolfram_text import compact_text
from .base import Artifact, Effect, ModelRetry, Tool, ToolContext, ToolError, ToolResult

if TYPE_CHECKING:
    from ._http import Transport

__all__ = [
    "KEY_HELP",
    "KEY_VARIABLES",
    "WolframAlpha",
    "WolframForm",
    "WolframUnits",
    "as_json_shape",
    "clean_response",
]

WolframForm = Literal["reference", "compact"]
WolframUnits = Literal["metric", "imperial"]

BASE_URL = "https://api.wolframalpha.com"
PATH = "/v2/query"

KEY_VARIABLES: Final = (
    "WOLFRAM_ALPHA_APPID",
    "WOLFRAM_API_KEY",
    "WOLFRAM_ALPHA_API_KEY",
    "WOLFRAMALPHA_API_KEY",
)
"""Environment variables that may hold the AppID; the first that is set wins."""

FORM_VARIABLE: Final = "ARRIERO_WOLFRAM_FORM"
UNITS_VARIABLE: Final = "ARRIERO_UNITS"
LOCATION_VARIABLE: Final = "ARRIERO_LOCATION"
IMAGES_VARIABLE: Final = "ARRIERO_WOLFRAM_IMAGES"

KEY_HELP: Final = (
    "Wolfram|Alpha is off: no AppID. Get one at https://developer.wolframalpha.com "
    "and set it with: export WOLFRAM_ALPHA_APPID=…"
)
"""What to tell a user who has no AppID."""

_LATITUDE_LONGITUDE: Final = re.compile(
    r"\s*([+-]?\d{1,2}(?:\.\d+)?)\s*,\s*([+-]?\d{1,3}(?:\.\d+)?)\s*", re.ASCII
)

_SPEC: Final = ToolSpec(
    name=WOLFRAM_ALPHA,
    description="Ask Wolfram|Alpha: mathematics, units, physics, facts and figures",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string", "description": "The question or expression"}},
        "required": ["query"],
    },
)


class WolframAlpha(Tool):
    """Answers ``wolfram_alpha(query)`` from the Full Results API.

    ``form`` is the text that the model sees: ``reference`` is the reference's cleaned JSON, ``compact`` a line
    for each part of the answer. ``units`` and ``location`` (a place, or ``"52.5,13.4"``: latitude and longitude)
    are what the answer is tailored to; without them the service guesses from the network address. ``images``
    fetches the pictures of the answer's parts as artifacts. ``timeout`` is in seconds and covers retries, waits
    and images. ``transport`` replaces the network in tests. Raises ToolError for an AppID that cannot be one and
    for options that are none; the AppID is in no repr, error or log.
    """

    spec = _SPEC
    effect: Effect = "read"

    def __init__(
        self,
        app_id: str,
        *,
        form: WolframForm = "reference",
        units: WolframUnits | None = None,
        location: str | None = None,
        images: bool = False,
        base_url: str = BASE_URL,
        transport: "Transport | None" = None,
        timeout: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        self._key = printable_key("the Wolfram|Alpha AppID", app_id)
        self._form = _one_of(form, WolframForm, "form")
        self._asked = [("format", "plaintext,image" if images else "plaintext")]
        if units is not None:
            self._asked.append(("units", _one_of(units, WolframUnits, "units")))
        if location is not None:
            self._asked.append(_place(location))
        self._images = images
        self._url = base_url.rstrip("/") + PATH
        self._transport = transport
        self._time_limit = timeout
        self._retry = retry
        # A second more than the request's own limit, so that its clearer message wins over the loop's.
        self.timeout = timeout + 1.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "WolframAlpha | None":
        """Make the tool with the AppID found in the environment; None when none is set (see KEY_HELP).

        ARRIERO_WOLFRAM_FORM, ARRIERO_UNITS, ARRIERO_LOCATION and ARRIERO_WOLFRAM_IMAGES=1 set the options of the
        same meaning. Raises ToolError for a value that is none.
        """
        variables = os.environ if environ is None else environ
        given = {name: value.strip() for name, value in variables.items() if value.strip()}
        key = next((given[name] for name in KEY_VARIABLES if name in given), None)
        if key is None:
            return None
        try:
            return cls(
                key,
                form=_one_of(given.get(FORM_VARIABLE, "reference"), WolframForm, FORM_VARIABLE),
                units=_one_of(given[UNITS_VARIABLE], WolframUnits, UNITS_VARIABLE)
                if UNITS_VARIABLE in given
                else None,
                location=given.get(LOCATION_VARIABLE),
                images=given.get(IMAGES_VARIABLE, "0") not in ("0", "no", "false"),
            )
        except ToolError as error:
            raise ToolError(redact(str(error), key)) from None

    def __repr__(self) -> str:
        return f"WolframAlpha(form={self._form!r})"

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Ask ``arguments["query"]``; raises ToolError when the API says no, or nothing that can be read.

        A query without a result is no error of the API: it is told as one, with the suggestions that came.
        Deviations from the reference: the API's error object is told rather than deleted, and the names of
        parts that ran out of time stay in the result.
        """
        query = arguments.get("query")
        if not isinstance(query, str) or not query.strip():
            raise ModelRetry("wolfram_alpha needs a query that is not empty")
        deadline = time.monotonic() + self._time_limit
        try:
            answer = await self._ask(query)
            return await self._told(answer, query, deadline)
        except RecursionError:
            raise ToolError("the Wolfram|Alpha query failed: the answer is nested too deeply") from None
        except ToolError as error:
            raise ToolError(f"the Wolfram|Alpha query failed: {redact(str(error), self._key)}") from None

    async def _ask(self, query: str) -> dict[str, Any]:
        response = await get(
            self._url,
            params=[("input", query), ("appid", self._key), *self._asked],
            headers={"Accept-Encoding": "gzip"},
            time_limit=self._time_limit,
            retry=self._retry,
            transport=self._transport,
        )
        if response.status != 200:
            detail = one_line(response.body[:1000].decode("utf-8", "replace").partition("<")[0])
            require_ok(response, service="Wolfram|Alpha", key_variable=KEY_VARIABLES[0], detail=detail)
        # In a thread: the package takes a while to import, and a large answer to parse.
        document = await anyio.to_thread.run_sync(_parse, response)
        return as_json_shape(document, query)

    async def _told(self, answer: dict[str, Any], query: str, deadline: float) -> ToolResult:
        success = answer["queryresult"].get("success") is True
        if self._form == "reference":
            answer = clean_response(answer, keep_timeouts=True)
        result = answer["queryresult"]
        artifacts: tuple[Artifact, ...] = ()
        if self._images:
            artifacts = await with_images(
                result.get("pods", []), service=self._url, deadline=deadline, transport=self._transport
            )
        text = compact_text(result, query) if self._form == "compact" else json.dumps(answer)
        return ToolResult(text, artifacts, error=not success)


def _one_of(value: str, kind: Any, name: str) -> Any:
    if value not in get_args(kind):
        raise ToolError(f"{name} {value!r} is not known; choose one of {', '.join(get_args(kind))}")
    return value


def _place(location: str) -> tuple[str, str]:
    if found := _LATITUDE_LONGITUDE.fullmatch(location):
        return "latlong", f"{found[1]},{found[2]}"
    if not location.strip():
        raise ToolError('location is empty; give a place, or "latitude,longitude"')
    return "location", location.strip()


def _parse(response: HttpResponse) -> Mapping[str, Any]:
    import wolframalpha
    import xmltodict

    if response.content_type not in ("text/xml", "application/xml"):
        kind = one_line(response.content_type) or "none named"
        raise ToolError(f"the answer is not XML (content type: {kind})")
    try:
        document = xmltodict.parse(response.body, postprocessor=wolframalpha.Document.make)
    except ExpatError:
        raise ToolError("the answer is broken XML") from None
    except (ValueError, KeyError, TypeError) as error:
        # The package raises the API's own error object as a ValueError, "Error 1: Invalid appid".
        raise _api_error(str(error)) from None
    result = document.get("queryresult")
    if isinstance(result, Mapping):
        return result
    refusal = document.get("error")
    if isinstance(refusal, Mapping):
        raise _api_error(f"Error {refusal.get('@status')}: {refusal.get('@message')}")
    raise ToolError("the answer is XML, but not a query result")


def _api_error(text: str) -> ToolError:
    said = one_line(text)
    if not said.startswith("Error "):
        return ToolError("the answer is XML of an unknown shape")
    hint = f"; the user has to check {KEY_VARIABLES[0]}" if "appid" in said.lower() else ""
    return ToolError(f"the service answered: {said}{hint}")
