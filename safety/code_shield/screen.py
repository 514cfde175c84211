"""Code Shield as a screen: insecure code is found before it runs, also where it hands commands to a shell."""

import re
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from ..base import Place, ScreenError, ScreenInput, Verdict
from ..self_test import Canary, Proof, SelfTest
from ..settings import made_from
from ..threads import in_daemon
from .findings import Finding
from .python import scan_python
from .rules import LONGEST, SEMGREP_TIMEOUT, CodeShieldRules
from .shell import scan_shell

if TYPE_CHECKING:
    from ..policy import Policy

_ADVICE: Final = (
    "install Code Shield and Semgrep anew (pip install 'arriero[codeshield]'), or leave Code Shield's rules out: "
    "settings.code_shield.rules = false"
)
_CANARIES: Final = (
    ("import os\nos.system(input())", True),
    ("import pickle, sys\npickle.loads(sys.stdin.buffer.read())", True),
    ("print(6 * 7)", False),
    ("import numpy as np\nnp.arange(10).mean()", False),
)
# What a scanner must find by itself: one of them silently finding nothing is how Code Shield fails in practice.
_MUST_FIND: Final = "import hashlib\nhashlib.md5(eval(input()))"

_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([\w+.-]*)[^\n]*\n(.*?)(?:^ {0,3}\1|\Z)", re.M | re.S)
_PYTHON: Final = re.compile(r"(?:i?py.*|jupyter.*)?\Z", re.I)
_SHELL: Final = re.compile(r"(?:(?:ba|z|da|k|c|fi)?sh.*|shell.*|console|terminal)?\Z", re.I)


class CodeShield:
    """Looks for weaknesses in code: by our reading of its syntax tree, and by the rules of Meta's Code Shield.

    At the place ``code`` the whole text is code. Elsewhere the fenced blocks of Python and shell in it are. Both are
    read as Python by a scanner of ours, which follows commands into the shell and code into texts; ``rules`` adds
    those of the package ``codeshield``, with Semgrep: ``semgrep`` names the program ``semgrep-core``, which has
    ``semgrep_timeout`` seconds.

    ``ignored`` are rules that do not count. A finding blocks; its rules are the verdict's categories, so that a
    policy can decide by rule. The constructor raises ScreenError if rules or Semgrep are missing. The first check
    proves each scanner on canaries: one that finds nothing in ``eval(input())`` is not relied on.
    """

    name = "code_shield"

    def __init__(
        self,
        *,
        rules: bool = True,
        semgrep: str | PathLike[str] | None = None,
        semgrep_timeout: float = SEMGREP_TIMEOUT,
        ignored: Collection[str] = (),
        self_test: bool = True,
    ) -> None:
        if isinstance(ignored, str):
            raise ScreenError("Code Shield: ignored is a list of rules, such as ['weak-hash']")
        self._rules = CodeShieldRules(semgrep, timeout=semgrep_timeout) if rules else None
        self.ignored = frozenset(ignored)
        self._self_test = self_test
        self._scanners_proved = False
        self._test = SelfTest(self.name, self._judge_freely, _canaries, advice=_ADVICE)

    async def check(self, given: ScreenInput) -> Verdict:
        """The verdict on code, after the scanners have proved themselves. Raises ScreenError."""
        if self._self_test:
            await self.prove_scanners()
            await self._test.require("code")
        return await self.judge(given)

    async def prepare(self, place: Place = "code") -> Proof:
        """Try all scanners; a check after this is quick. Raises ScreenError."""
        await self.prove_scanners()
        return await self._test.proof("code")

    async def prove_scanners(self) -> None:
        """Raise ScreenError unless each scanner finds, by itself, what it must."""
        if self._scanners_proved:
            return
        found = {finding.source for finding in await self.scan(_MUST_FIND)}
        for scanner in ("python",) if self._rules is None else ("python", "regex", "semgrep"):
            if scanner not in found:
                raise ScreenError(
                    f"the self-test failed, the scanner {scanner!r} finds nothing in {_MUST_FIND!r}: {_ADVICE}"
                )
        self._scanners_proved = True

    async def judge(self, given: ScreenInput) -> Verdict:
        """The verdict on code, whether or not the scanners have proved themselves. Raises ScreenError."""
        return _verdict([found for found in await self._found(given) if found.rule not in self.ignored])

    async def _judge_freely(self, given: ScreenInput) -> Verdict:
        return _verdict(await self._found(given))

    async def _found(self, given: ScreenInput) -> list[Finding]:
        if given.place == "code":
            return await self.scan(given.text)
        found: list[Finding] = []
        for _, language, code in _FENCE.findall(given.text):
            if _SHELL.match(language):
                found += scan_shell(code)
            if _PYTHON.match(language):
                found += await self.scan(code)
        return found

    async def scan(self, code: str) -> list[Finding]:
        """All that the scanners find in Python code, by line. Raises ScreenError where one of them fails."""
        if len(code) > LONGEST:
            raise ScreenError(f"the code has {len(code):,} characters; more than {LONGEST:,} are not scanned")
        found = await in_daemon(lambda: self._scan_here(code), name=self.name)
        if self._rules is not None:
            found += await self._rules.scan_semgrep(code)
        return sorted(found, key=lambda finding: finding.line)

    def _scan_here(self, code: str) -> list[Finding]:
        try:
            found = scan_python(code)
        except (RecursionError, MemoryError) as error:
            raise ScreenError("the code is nested too deeply to be judged") from error
        return [*found, *(self._rules.scan_regex(code) if self._rules is not None else ())]


def _verdict(found: Sequence[Finding]) -> Verdict:
    if not found:
        return Verdict(score=0.0)
    rules = tuple(dict.fromkeys(finding.rule for finding in found))[:50]
    told = "; ".join(f"line {one.line}: {one.message} ({one.cwe})" for one in found[:5])
    return Verdict(action="block", score=1.0, categories=rules, reason=f"insecure code: {told}"[:1500])


def _canaries(place: Place) -> list[Canary]:
    return [
        Canary(ScreenInput(place=place, text=code, role="assistant", origin="model"), harmful)
        for code, harmful in _CANARIES
    ]


def from_settings(settings: Mapping[str, Any], policy: "Policy") -> CodeShield:
    """The screen for the table ``settings.code_shield`` of a policy: CodeShield's options by name.

    Raises ScreenError.
    """
    return made_from(CodeShield, "code_shield", settings)
