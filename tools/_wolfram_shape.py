"""An answer of Wolfram|Alpha in the shape of the API's JSON, and cleaned as the reference cleans it; pure."""

from collections.abc import Mapping
from typing import Any, Final

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
            shaped["pods"] = [_shape_pod(pod) for pod in listed(value)]
        else:
            shaped[name] = _shape_group(value)
    return {"queryresult": shaped}


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
    shaped["subpods"] = [_shape_subpod(subpod) for subpod in listed(children.pop("subpod", []))]
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
    items = [_shape(item) for child in children.values() for item in listed(child)]
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


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
