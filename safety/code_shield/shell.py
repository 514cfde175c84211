"""Commands that code hands to a shell, looked through for what does damage or brings in code from elsewhere."""

import re
from dataclasses import dataclass
from typing import Final

from .findings import Finding


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    cwe: str
    pattern: re.Pattern[str]
    message: str


_ARGUMENTS: Final = r"[^|;&\n]*"
_SHELLS: Final = r"(?:/\S*/)?(?:ba|z|da|k|c|fi)?sh\b"
_CODE_RUNNERS: Final = rf"(?:{_SHELLS}|(?:/\S*/)?(?:python[\d.]*|perl|ruby|node|php)\b)"
_PRECIOUS: Final = (
    r"(?:/\*?|~/?\*?|\$\{?HOME\}?/?\*?|/(?:bin|boot|dev|etc|home|lib|opt|root|sbin|srv|usr|var)/?\*?)"
)


def _rule(name: str, cwe: str, pattern: str, message: str) -> _Rule:
    return _Rule(f"shell-{name}", cwe, re.compile(pattern, re.IGNORECASE), message)


_RULES: Final = (
    _rule(
        "pipe-to-interpreter",
        "CWE-494",
        rf"\b(?:curl|wget|fetch|nc|base64|xxd|openssl)\b{_ARGUMENTS}(?:\|{_ARGUMENTS})*\|\s*(?:sudo\s+)?{_CODE_RUNNERS}",
        "runs what it has downloaded or decoded",
    ),
    _rule(
        "downloaded-code",
        "CWE-494",
        rf"(?:{_CODE_RUNNERS}\s+(?:-c\s+)?[\"']?(?:<\(|\$\(|`)|\beval\s+[\"']?(?:\$\(|`))\s*(?:curl|wget)\b",
        "runs what it has downloaded",
    ),
    _rule(
        "remove-system",
        "CWE-732",
        rf"\brm\s+(?:-\S+\s+)*-\S*[rR]\S*\s+(?:-\S+\s+)*[\"']?{_PRECIOUS}[\"']?(?=\s|$|[;&|])",
        "removes a whole tree of the system or the home directory",
    ),
    _rule(
        "overwrite-device",
        "CWE-732",
        rf"\bdd\b{_ARGUMENTS}\bof=/dev/(?!null\b|stdout\b|stderr\b)|\bmkfs(?:\.\w+)?\s|>\s*/dev/(?:sd|hd|nvme|vd|mem)",
        "overwrites a device",
    ),
    _rule("fork-bomb", "CWE-400", r":\s*\(\s*\)\s*\{\s*:\s*\|\s*:\s*&\s*\}\s*;\s*:", "is a fork bomb"),
    _rule(
        "reverse-shell",
        "CWE-506",
        rf"/dev/(?:tcp|udp)/|\b(?:nc|ncat|netcat|socat)\b{_ARGUMENTS}(?:\s-\w*[ec]\b|\bexec:)",
        "opens a shell to another machine",
    ),
    _rule(
        "permissions",
        "CWE-732",
        r"\bchmod\s+(?:-\S+\s+)*(?:[0-7]?777|[0-7]?666|[ugoa]*\+\S*s|[2467][0-7]{3})\b",
        "lets everybody write, or sets the user id bit",
    ),
    _rule(
        "secrets",
        "CWE-200",
        r"/etc/(?:shadow|sudoers)|\.ssh/(?:id_|authorized_keys)|\.aws/credentials|\.netrc\b|/proc/\d*(?:self)?/environ",
        "touches secrets or the right to log in",
    ),
    _rule(
        "container",
        "CWE-250",
        rf"docker\.sock|\bnsenter\b|\bdocker\s+run\b{_ARGUMENTS}(?:--privileged|-v\s+/:)|/proc/sys/kernel/core_pattern",
        "reaches out of its container",
    ),
    _rule(
        "no-certificate",
        "CWE-295",
        rf"\bcurl\b{_ARGUMENTS}\s(?:-\w*k\w*|--insecure)\b|\bwget\b{_ARGUMENTS}--no-check-certificate"
        rf"|\bhttp\.sslverify[= ]false|\bpip3?\b{_ARGUMENTS}--trusted-host",
        "does not check who it talks to",
    ),
    _rule(
        "persistence",
        "CWE-506",
        r"\bcrontab\s+-(?!l\b)|/etc/cron|/etc/rc\.local|\bLD_PRELOAD=",
        "stays after it has run",
    ),
)


def scan_shell(command: str, line: int = 1) -> list[Finding]:
    """Weaknesses of a command or a script; ``line`` is where it begins in the code around it."""
    joined = command.replace("\\\n", "  ")
    found = []
    for rule in _RULES:
        match = rule.pattern.search(joined)
        if match is not None:
            at = line + joined.count("\n", 0, match.start())
            found.append(Finding(rule.name, rule.cwe, at, f"a command {rule.message}", "shell"))
    return found
