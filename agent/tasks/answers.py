"""The data in a model's answer."""

import json
import re
from collections.abc import Mapping
from typing import Any

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
MAX_SHOWN = 200  # characters of a value in a message


def read_output(text: str, schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The data of an answer, and why they are none or do not fit; a fence around them is allowed."""
    from jsonschema import ValidationError
    from jsonschema.validators import validator_for

    body = found[1] if (found := _FENCE.search(text)) else text
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        return None, f"the answer is not JSON: {error}"
    try:
        validator_for(schema)(schema).validate(value)
    except ValidationError as error:
        place = "".join(f"[{part!r}]" for part in error.absolute_path)
        return value, f"the answer does not fit the schema: {place or 'it'}: {error.message[:MAX_SHOWN]}"
    except Exception as error:
        return value, f"the schema cannot be used: {type(error).__name__}: {error}"
    return value, None
