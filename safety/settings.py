"""The tables of a policy's ``settings`` as the options of screens."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .base import ScreenError

S = TypeVar("S")


def made_from(make: Callable[..., S], table: str, settings: Mapping[str, Any], **given: Any) -> S:
    """Call ``make`` with the settings as keywords, and with ``given`` beside them.

    Raises ScreenError for a key that it does not take, for one that it needs and is not there, and for a value
    of the wrong type.
    """
    parameters = inspect.signature(make).parameters
    known = [name for name in parameters if name not in given]
    for key in settings:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            raise ScreenError(f"settings.{table} has no key {key!r}{meant}; there are {', '.join(known)}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in settings and name not in given:
            raise ScreenError(f"settings.{table} lacks the key {name!r}")
    try:
        return make(**settings, **given)
    except (TypeError, ValueError) as error:
        raise ScreenError(f"settings.{table}: {error}") from error
