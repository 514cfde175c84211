"""Keys and passwords in a text: the forms that their makers publish, and what this process itself was given."""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

# The prefixes are those that the services document for secret scanning; a key is found where it is complete.
_FORMS: Final = (
    r"(?:"
    r"(?:AKIA|ASIA)[A-Z2-7]{16}"  # AWS access key ids
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"
    r"|sk-(?:ant-[a-z0-9]+|proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{32,}"  # Anthropic, OpenAI, OpenRouter
    r"|sk-(?=[A-Za-z]*[0-9])[A-Za-z0-9]{32,}"  # OpenAI's older ones
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{20,}"  # Stripe
    r"|xox[abeoprs]-[0-9]+-[A-Za-z0-9-]{20,}|xapp-[0-9]-[A-Z0-9]+-[A-Za-z0-9-]{20,}"  # Slack
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{30,}|GOCSPX-[A-Za-z0-9_-]{28}"  # Google
    r"|hf_[A-Za-z]{34}|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{50,}|tvly-[A-Za-z0-9-]{32,}"
    r"|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"  # SendGrid
    r"|dop_v1_[a-f0-9]{64}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}"  # JSON web tokens
    r")(?![A-Za-z0-9_])"
)
_KEY: Final = re.compile(r"(?<![A-Za-z0-9_])" + _FORMS)
# In JSON, in code and in addresses, the letter before a key may be the end of an escaped space or line.
_KEY_BEHIND_ESCAPE: Final = re.compile(
    r"(?:(?<![A-Za-z0-9_])|(?<=\\[abefnrtv0])|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
    + _FORMS
)
_NAMED: Final = re.compile(
    r"aws_?secret_?(?:access_?)?key\\{0,3}[\"']?\s{0,8}[:=]\s{0,8}\\{0,3}[\"']?(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    re.IGNORECASE,
)
_USERINFO: Final = re.compile(
    r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@?#\"'<>]+:(?P<value>[^\s/@\"'<>]{3,})@", re.IGNORECASE
)
_BLOCK: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)",
    re.DOTALL,
)
_PLACEHOLDER: Final = re.compile(r"(?:x{4,}|\*{3,}|\.{3}|pass(?:word)?|<.*>|\$.*|\{.*)\Z", re.IGNORECASE)
_BEGIN: Final = "-----BEGIN "
_END: Final = re.compile(r"-----END [^-\n]{0,40}-----")
_HEADER: Final = 100  # characters in which a header has told what it begins
_LOOK_BACK: Final = 64  # characters before a value in which its name stands

_SECRET_NAME: Final = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SHORTEST: Final = 12  # characters of a value in the environment that is looked for
_PLACE: Final = re.compile(r"[/~.\\]|[A-Za-z]:\\|[a-z][a-z0-9+.-]*://|.*\.[A-Za-z]{2,4}\Z")


def keys(text: str, start: int = 0, *, known: re.Pattern[str] | None = None) -> list[tuple[int, int]]:
    """Where keys are, from ``start`` on; ``known`` finds further ones (see ``known_values``)."""
    form = _KEY_BEHIND_ESCAPE if "\\" in text or "%" in text else _KEY
    found = [match.span() for match in form.finditer(text, start)] if len(text) - start >= _SHORTEST else []
    behind = max(0, start - _LOOK_BACK)
    for pattern, mark in ((_NAMED, "ecret"), (_USERINFO, "://")):
        if mark in text or mark.upper() in text:
            matches = pattern.finditer(text, behind)
            found += [
                match.span("value")
                for match in matches
                if match.start("value") >= start and not _PLACEHOLDER.match(match["value"])
            ]
    if _BEGIN in text:
        found += [match.span() for match in _BLOCK.finditer(text, start)]
    if known is not None:
        found += [match.span() for match in known.finditer(text, start)]
    return sorted(found)


def settled(text: str, start: int, end: int) -> int:
    """``end``, or where before it a private key begins that has not ended there, or may begin."""
    begin = text.find(_BEGIN, start, end)
    while begin >= 0:
        line, newline, _ = text[begin : begin + _HEADER].partition("\n")
        last = begin + len(_BEGIN)
        if "PRIVATE KEY" in line or not (newline or len(line) == _HEADER):
            ending = _END.search(text, begin)
            if ending is None or ending.end() > end:
                return begin
            last = ending.end()
        begin = text.find(_BEGIN, last, end)
    return end


def known_values(environment: Mapping[str, str] | None = None) -> re.Pattern[str] | None:
    """A pattern for the secrets in an environment (by default this process's): values of variables whose name says
    key, token, secret, password or credential, of 12 or more letters and digits; None if there are none.
    """
    source = os.environ if environment is None else environment
    return _pattern(frozenset(value for name, value in source.items() if _is_secret(name, value)))


def _is_secret(name: str, value: str) -> bool:
    return (
        bool(_SECRET_NAME.search(name))
        and len(value) >= _SHORTEST
        and not _PLACE.match(value)
        and not re.search(r"\s", value)
        and any(map(str.isdigit, value))
        and any(map(str.isalpha, value))
    )


@lru_cache(maxsize=8)
def _pattern(values: frozenset[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, sorted(values, key=len, reverse=True)))) if values else None
