"""Wolfram|Alpha's Full Results API, read through the ``wolframalpha`` package, told in the reference's form.

The package reads the API's XML, while the reference (llama-agentic-system) asks for JSON: the document is put
into the JSON's shape before it is cleaned. The package's own request is replaced by ours: it can neither be
bounded in size nor given a transport, it asserts one spelling of the content type, and httpx would log its
address, which holds the key.
"""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from xml.parsers.expat import ExpatError

import anyio.to_thread

from arriero.prompts import WOLFRAM_ALPHA, ToolSpec

from ._http import HttpResponse, Retry, get, one_line, printable_key, redact, require_ok
from .base import Effect, ModelRetry, Tool, ToolContext, ToolError, ToolResult

if TYPE_CHECKING:
    from ._http import Transport

BASE_URL = "https://api.wolframalpha.com"
PATH = "/v2/query"

KEY_VARIABLES: Final = ("WOLFRAM_ALPHA_APPID", "WOLFRAM_API_KEY", "WOLFRAM_ALPHA_API_KEY")
"""Environment variables that may hold the AppID; the first that is set wins."""

KEY_HELP: Final = (
    "Wolfram|Alpha is off: no AppID. Get one at https://developer.wolframalpha.com "
    "and set it with: export WOLFRAM_ALPHA_APPID=…"
)
"""What to tell a user who has no AppID."""

_TIMEOUTS: Final = ("timedout", "timedoutpods", "parsetimedout")
_DROPPED: Final = (
    "datatypes",
    "error",
    *_TIMEOUTS,
    "numpods",
    "timing",
    "parsetiming",
    "recalculate",
    "id",
    "host",
    "server",
    "related",
    "version",
    "assumptions",
)
_DROPPED_OF_POD: Final = (
    "scanner",
    "id",
    "error",
    "expressiontypes",
    "states",
    "infos",
    "position",
    "numsubpods",
)
_BOOLEANS: Final = ("success", "error", "parsetimedout")

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
    """Answers ``wolfram_alpha(query)`` with the cleaned JSON of the Full Results API.

    ``timeout`` is in seconds and covers retries and waits. ``transport`` replaces the network in tests.
    Raises ToolError for an AppID that cannot be one; the AppID is in no repr, error or log.
    """

    spec = _SPEC
    effect: Effect = "read"

    def __init__(
        self,
        app_id: str,
        *,
        base_url: str = BASE_URL,
        transport: "Transport | None" = None,
        timeout: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        self._key = printable_key("the Wolfram|Alpha AppID", app_id)
        self._url = base_url.rstrip("/") + PATH
        self._transport = transport
        self._time_limit = timeout
        self._retry = retry
        # A second more than the request's own limit, so that its clearer message wins over the loop's.
        self.timeout = timeout + 1.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "WolframAlpha | None":
        """Make the tool with the AppID found in the environment; None when none is set (see KEY_HELP)."""
        variables = os.environ if environ is None else environ
        key = next((variables[name] for name in KEY_VARIABLES if variables.get(name, "").strip()), None)
        return None if key is None else cls(key)

    def __repr__(self) -> str:
        return "WolframAlpha()"

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Ask ``arguments["query"]``; raises ToolError when the API says no, or nothing that can be read.

        Deviations from the reference: the API's error object is told rather than deleted, and the names of
        parts that ran out of time stay in the result.
        """
        query = arguments.get("query")
        if not isinstance(query, str) or not query.strip():
            raise ModelRetry("wolfram_alpha needs a query that is not empty")
        try:
            return ToolResult(await self._ask(query))
        except ToolError as error:
            raise ToolError(f"the Wolfram|Alpha query failed: {redact(str(error), self._key)}") from None

    async def _ask(self, query: str) -> str:
        response = await get(
            self._url,
            params=[("input", query), ("appid", self._key), ("format", "plaintext")],
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
        try:
            answer = as_json_shape(document, query)
            return json.dumps(clean_response(answer, keep_timeouts=True))
        except RecursionError:
            raise ToolError("the answer is nested too deeply") from None


def clean_response(response: Mapping[str, Any], *, keep_timeouts: bool = False) -> dict[str, Any]:
    """Clean an answer of the API's JSON form as the reference does; the argument is left as it was.

    Bookkeeping is dropped from the answer and from its pods, and so is every pod after the first titled
    ``Result``. ``keep_timeouts`` keeps the three fields that tell of time-outs where they say something.
    """
    cleaned = dict(response)
    result = cleaned.get("queryresult")
    if not isinstance(result, Mapping):
        return cleaned
    kept = {
        name: value
        for name, value in result.items()
        if name not in _DROPPED or (keep_timeouts and name in _TIMEOUTS and value)
    }
    if isinstance(kept.get("pods"), list):
        kept["pods"] = [_clean_pod(pod) for pod in _up_to_result(kept["pods"])]
    cleaned["queryresult"] = kept
    return cleaned


def as_json_shape(result: Mapping[str, Any], query: str) -> dict[str, Any]:
    """Put the package's document of a ``<queryresult>`` into the shape of the API's own JSON.

    ``query`` stands in for an ``inputstring`` that the API left out.
    """
    shaped: dict[str, Any] = {}
    for name, value in _attributes(result).items():
        shaped[name] = value == "true" if name in _BOOLEANS and isinstance(value, str) else value
    shaped.setdefault("inputstring", query)
    for name, value in _children(result).items():
        if name == "pod":
            shaped["pods"] = [_shape_pod(pod) for pod in _listed(value)]
        else:
            shaped[name] = _shape_group(value)
    return {"queryresult": shaped}


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


def _up_to_result(pods: list[Any]) -> list[Any]:
    for position, pod in enumerate(pods):
        if isinstance(pod, Mapping) and pod.get("title") == "Result":
            return pods[: position + 1]
    return pods


def _clean_pod(pod: Any) -> Any:
    if not isinstance(pod, Mapping):
        return pod
    return {name: value for name, value in pod.items() if name not in _DROPPED_OF_POD}


def _shape_pod(pod: Any) -> dict[str, Any]:
    attributes, children = _attributes(pod), _children(pod)
    primary = attributes.pop("primary", False)
    shaped = {"title": attributes.pop("title", ""), **attributes}
    shaped["subpods"] = [_shape_subpod(subpod) for subpod in _listed(children.pop("subpod", []))]
    if primary:
        shaped["primary"] = True
    shaped.update((name, _shape_group(value)) for name, value in children.items())
    return shaped


def _shape_subpod(subpod: Any) -> dict[str, Any]:
    attributes, children = _attributes(subpod), _children(subpod)
    text = children.pop("plaintext", None)
    shaped = {
        "title": attributes.pop("title", ""),
        "plaintext": text if isinstance(text, str) else "",
        **attributes,
    }
    shaped.update((name, _shape(value)) for name, value in children.items())
    return shaped


def _shape_group(value: Any) -> Any:
    """Drop a level: ``<tips count='1'><tip text='…'/></tips>`` is ``{"text": …}`` in JSON, or a list."""
    children = _children(value)
    if not children or set(_attributes(value)) - {"count"}:
        return _shape(value)
    items = [_shape(item) for child in children.values() for item in _listed(child)]
    return items[0] if len(items) == 1 else items


def _shape(value: Any) -> Any:
    if isinstance(value, list):
        return [_shape(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    shaped = {name: _shape(item) for name, item in (_attributes(value) | _children(value)).items()}
    if "#text" in value:
        shaped["val"] = value["#text"]
    return shaped


def _attributes(element: Any) -> dict[str, Any]:
    if not isinstance(element, Mapping):
        return {}
    return {name[1:]: value for name, value in element.items() if name.startswith("@")}


def _children(element: Any) -> dict[str, Any]:
    if not isinstance(element, Mapping):
        return {}
    return {name: value for name, value in element.items() if name[0] not in "@#"}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
