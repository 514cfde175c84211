"""Code Shield's own rules: its regular expressions, and its Semgrep rules run so that they find something.

The package ``codeshield`` 1.0.1 hands Semgrep the project root ``/``, with which versions from 1.102 on scan nothing,
takes every failure for "secure", stops at the first match even if that is a comment, and obeys ``# nosemgrep``. So
only its rules are used.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from ..base import ScreenError
from ..threads import in_daemon
from .findings import Finding

LONGEST: Final = 1_000_000
"""Characters of one piece of code; more is refused, since the rules may take time that grows with the square."""

SEMGREP_TIMEOUT: Final = 25.0  # seconds; it takes a quarter of one on a quiet machine
_INSTALL: Final = "pip install 'arriero[codeshield]'"
_COMMENTS: Final = ("#", "//", "/*")
_FAILED: Final = 2  # Semgrep's exit codes from here on are failures; 1 means findings


@dataclass(frozen=True, slots=True)
class _Pattern:
    rule: str
    cwe: str
    message: str
    pattern: re.Pattern[str]


class CodeShieldRules:
    """The rules of the package ``codeshield`` for Python, and the program ``semgrep-core`` that runs some of them.

    ``semgrep`` names that program; by default it is the one of the package ``semgrep``. It is ended after ``timeout``
    seconds. Raises ScreenError if rules or program are missing.
    """

    def __init__(
        self, semgrep: str | os.PathLike[str] | None = None, *, timeout: float = SEMGREP_TIMEOUT
    ) -> None:
        spec = find_spec("codeshield")
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            raise ScreenError(f"Code Shield's rules are missing: {_INSTALL}")
        self._rules = Path(places[0]) / "insecure_code_detector" / "rules"
        self._config = self._rules / "semgrep" / "_generated_" / "python_codeshield.json"
        if not self._config.is_file():
            raise ScreenError(f"{self._config}: Code Shield's rules are not where they should be; {_INSTALL}")
        self._semgrep = _semgrep(semgrep)
        self._timeout = timeout

    def scan_regex(self, code: str) -> list[Finding]:
        """What the regular expressions find outside of comments. Raises ScreenError."""
        found = []
        for one in self._patterns:
            for match in one.pattern.finditer(code):
                before = code[: match.start()]
                if not before.rpartition("\n")[2].lstrip().startswith(_COMMENTS):
                    line = before.count("\n") + 1
                    found.append(Finding(one.rule, one.cwe, line, one.message, "regex"))
                    break
        return found

    async def scan_semgrep(self, code: str) -> list[Finding]:
        """What Semgrep finds; every trouble of it raises ScreenError. Cancelling ends the program."""
        run = _Run(self._semgrep, self._config, self._timeout)
        try:
            return await in_daemon(lambda: run.scan(code), name="semgrep")
        finally:
            run.stop()

    @cached_property
    def _patterns(self) -> list[_Pattern]:
        try:
            yaml = import_module("yaml")
        except ImportError as error:
            raise ScreenError(f"Code Shield's rules need PyYAML: {_INSTALL}") from error
        try:
            config = yaml.safe_load((self._rules / "config.yaml").read_text("utf-8"))["config"]["codeshield"]
            return [
                *_read(yaml, self._rules / "regex" / "python.yaml", config["python"]["regex"]["rules"]),
                *_read(
                    yaml,
                    self._rules / "regex" / "language_agnostic.yaml",
                    config["language_agnostic"]["regex"]["rules"],
                ),
            ]
        except (OSError, yaml.YAMLError, KeyError, TypeError, re.error) as error:
            raise ScreenError(f"{self._rules}: Code Shield's rules cannot be read: {error!r}") from error


class _Run:
    """One run of Semgrep, which another thread may stop."""

    def __init__(self, program: str, config: Path, timeout: float) -> None:
        self._program, self._config, self._timeout = program, config, timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the program, or keep it from being started."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def scan(self, code: str) -> list[Finding]:
        """Write the code to a file and read the report on it. Raises ScreenError."""
        # A folder of its own: Semgrep would obey ignore files beside the code.
        with tempfile.TemporaryDirectory(prefix="arriero-scan-") as folder:
            file = Path(folder, "cell.py")
            file.write_text(code, "utf-8", errors="replace")
            process = self._start(folder, file)
            try:
                output, complaints = process.communicate(timeout=self._timeout)
            except subprocess.TimeoutExpired as error:
                raise ScreenError(f"Semgrep did not end within {self._timeout:g} seconds") from error
            finally:
                process.kill()
                process.communicate()
            said = complaints.decode("utf-8", "replace").strip()[-200:]
            if not 0 <= process.returncode < _FAILED:
                raise ScreenError(f"Semgrep failed with exit code {process.returncode}: {said}")
            try:
                report = json.loads(output)
            except ValueError as error:
                raise ScreenError(f"Semgrep's report cannot be read: {said or output[:200]!r}") from error
            return _findings(report, str(file))

    def _start(self, folder: str, file: Path) -> subprocess.Popen[bytes]:
        options = [
            *("--experimental", "--metrics", "off", "--disable-version-check", "--disable-nosem", "--quiet"),
            *("--json", "--config", str(self._config), "--project-root", folder, str(file)),
        ]
        with self._lock:
            if self._stopped:
                raise ScreenError("the scan was cancelled")
            self._process = subprocess.Popen(  # noqa: S603 - the program is ours, and no argument is the code's
                ["osemgrep", *options],  # noqa: S607 - the program does what it is called
                executable=self._program,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env={"PATH": os.defpath, "HOME": folder, "SEMGREP_SEND_METRICS": "off"},
            )
            return self._process


def _read(yaml: Any, file: Path, enabled: list[str]) -> list[_Pattern]:
    rules = yaml.safe_load(file.read_text("utf-8"))
    return [
        _Pattern(
            rule.get("pattern_id", rule["cwe_id"]),
            rule["cwe_id"],
            " ".join(rule["description"].split()),
            re.compile(rule["rule"]),
        )
        for rule in rules
        if rule.get("pattern_id") is None or rule["pattern_id"] in enabled
    ]


def _findings(report: Any, file: str) -> list[Finding]:
    """The results of a report that says that the file was scanned. Raises ScreenError."""
    try:
        scanned = report["paths"]["scanned"]
        troubles = [error for error in report["errors"] if error.get("level") == "error"]
        found = [
            Finding(
                result["check_id"].rpartition(".")[2],
                result["extra"]["metadata"].get("cwe_id", ""),
                int(result["start"]["line"]),
                result["extra"]["message"],
                "semgrep",
            )
            for result in report["results"]
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ScreenError(f"Semgrep's report has another form than expected: {error!r}") from error
    if file not in scanned:
        raise ScreenError("Semgrep did not scan the code; its version does not fit, install another")
    if troubles and not found:
        raise ScreenError(f"Semgrep could not scan the code: {troubles[0].get('message', '')!s:.200}")
    return found


def _semgrep(given: str | os.PathLike[str] | None) -> str:
    if given is not None:
        found = shutil.which(given)
        if found is None:
            raise ScreenError(f"{os.fspath(given)}: there is no such program")
        return found
    spec = find_spec("semgrep")
    places = [Path(place, "bin") for place in (spec.submodule_search_locations or ())] if spec else []
    beside = Path(sys.executable).parent
    found = shutil.which("semgrep-core", path=os.pathsep.join(map(str, [*places, beside])))
    found = found or shutil.which("semgrep-core")
    if found is None:
        raise ScreenError(f"Semgrep is missing, without which Code Shield finds little: {_INSTALL}")
    return found
