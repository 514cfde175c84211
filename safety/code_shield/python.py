"""Weaknesses of Python code, found in its syntax tree: what runs text as code, starts programs, or leaks."""

import ast
import re
import shlex
from collections.abc import Iterator
from typing import Final

from .expressions import (
    dotted,
    imported,
    is_put_together,
    is_set,
    is_text,
    known_text,
    option,
    text_of,
)
from .findings import Finding
from .python_read import read_python
from .shell import scan_shell

_NESTED: Final = 3  # python -c in a shell in Python and so on

_UNSAFE_CALLS: Final[dict[str, tuple[str, str, str]]] = {
    **dict.fromkeys(
        ("pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.load", "cPickle.loads", "_pickle.loads",
         "_pickle.load", "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads", "marshal.load",
         "marshal.loads", "shelve.open", "joblib.load", "pandas.read_pickle", "jsonpickle.decode",
         "jsonpickle.unpickler.decode"),
        ("unsafe-deserialization", "CWE-502", "reads data that can run code"),
    ),
    **dict.fromkeys(
        ("yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"),
        ("unsafe-yaml", "CWE-502", "reads YAML that can make any object"),
    ),
    **dict.fromkeys(
        ("hashlib.md5", "hashlib.sha1", "Crypto.Hash.MD5.new", "Crypto.Hash.SHA1.new", "md5.new", "sha.new"),
        ("weak-hash", "CWE-328", "uses a hash function that is broken"),
    ),
    **dict.fromkeys(
        ("tempfile.mktemp", "os.tempnam", "os.tmpnam"),
        ("insecure-temporary-file", "CWE-377", "names a temporary file that somebody else may make first"),
    ),
    **dict.fromkeys(
        ("ssl._create_unverified_context", "ssl._create_default_https_context"),
        ("no-certificate", "CWE-295", "does not check who it talks to"),
    ),
    **dict.fromkeys(
        ("telnetlib.Telnet", "ftplib.FTP"), ("clear-text", "CWE-319", "sends everything in clear text")
    ),
    **dict.fromkeys(
        ("os.fork", "os.forkpty", "pty.spawn", "pty.fork"), ("fork", "CWE-400", "starts processes of its own")
    ),
}  # fmt: skip

_SHELL_CALLS: Final = (
    "os.system", "os.popen", "os.popen2", "os.popen3", "os.popen4", "popen2.popen2", "popen2.popen3", "popen2.popen4",
    "commands.getoutput", "commands.getstatusoutput", "subprocess.getoutput", "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell", "create_subprocess_shell", "get_ipython().system", "get_ipython().getoutput",
)  # fmt: skip
_PROCESS_CALLS: Final = ("Popen", "run", "call", "check_call", "check_output")
_PROGRAM_CALLS: Final = re.compile(
    r"os\.(?:exec|spawn)[lv]p?e?|os\.posix_spawnp?|asyncio\.create_subprocess_exec"
)
_SECRET: Final = re.compile(r"password|passwd|secret|api_?key|private_?key|access_?token|auth_?token", re.I)
_PLACEHOLDER: Final = re.compile(
    r"|\W*|x+|(?:your|my|some|an?|the|test|example|enter|insert|<|\{|\$|%)\b.*|\w+[ :].*", re.I
)
_RANDOM: Final = re.compile(
    r"random\.(?:random|randint|randrange|choice|choices|sample|shuffle|uniform|getrandbits)|randint|randrange"
)
_FOR_SECRETS: Final = re.compile(
    r"password|passwd|secret|token|(?<!\w)key|nonce|salt|otp|session_?id|captcha", re.I
)
_SQL: Final = re.compile(
    r"\s*(?:select\b.+\bfrom|insert\s+into|update\b.+\bset|delete\s+from|drop\s|create\s|alter\s)",
    re.I | re.S,
)
_ESCAPE: Final = frozenset(
    ("__subclasses__", "__globals__", "__builtins__", "gi_frame", "cr_frame", "f_globals", "f_builtins")
)
_PRECIOUS: Final = re.compile(
    r"/etc/(?:shadow|sudoers)|\.ssh/(?:id_|authorized_keys)|\.aws/credentials|docker\.sock"
    r"|/proc/(?:self|\d+)/(?:mem|environ)|/proc/sys/"
)


def scan_python(code: str, *, depth: int = 0) -> list[Finding]:
    """Weaknesses of a cell, a program or a fragment of one, and of the commands that it hands to a shell.

    Raises RecursionError or MemoryError for code that is nested too deeply to be judged.
    """
    parsed = read_python(code)
    scanner = _Scanner(depth)
    for tree in parsed.trees:
        scanner.names.update(imported(tree))
    for tree in parsed.trees:
        scanner.visit(tree)
    if not parsed.whole:
        for number, line in enumerate(code.splitlines(), 1):
            if line.lstrip().startswith(("!", "%")):
                scanner.found += scan_shell(line, number)
    return sorted(set(scanner.found), key=lambda finding: finding.line)


class _Scanner(ast.NodeVisitor):
    def __init__(self, depth: int) -> None:
        self.names: dict[str, str] = {}
        self.found: list[Finding] = []
        self._depth = depth
        self._queries: set[str] = set()  # names of texts that were put together and look like SQL

    def _note(self, node: ast.AST, rule: str, cwe: str, message: str) -> None:
        self.found.append(Finding(rule, cwe, getattr(node, "lineno", 1), message, "python"))

    def visit_Call(self, node: ast.Call) -> None:
        name = dotted(node.func, self.names)
        for check in (self._runs_text, self._unsafe, self._shell, self._program, self._sql, self._options):
            check(node, name)
        self.generic_visit(node)

    def _runs_text(self, node: ast.Call, name: str) -> None:
        if name in ("eval", "exec", "execfile") and node.args and not is_text(node.args[0]):
            self._note(node, f"insecure-{name}-use", "CWE-94", f"{name} runs text as code")
        elif name in ("eval", "exec") and node.args and isinstance(node.args[0], ast.Constant):
            self._nested(node, node.args[0].value)
        elif name == "getattr" and len(node.args) > 1 and not isinstance(node.args[1], ast.Constant):
            if dotted(node.args[0], self.names) in ("os", "subprocess", "builtins", "__builtins__", "sys"):
                self._note(node, "hidden-call", "CWE-506", "picks a function of the system by a made-up name")
        elif name.endswith(".join") and node.args and any(map(_RANDOM.fullmatch, self._calls(node.args[0]))):
            self._note(
                node, "predictable-secret", "CWE-338", "makes a secret from numbers that can be guessed"
            )

    def _unsafe(self, node: ast.Call, name: str) -> None:
        if name in ("hashlib.md5", "hashlib.sha1") and is_set(node, "usedforsecurity", False):
            return
        if name == "hashlib.new" and node.args and text_of(node.args[0]).lower() in ("md5", "sha1"):
            name = "hashlib.md5"
        if name in ("yaml.load", "yaml.load_all"):
            loader = node.args[1] if len(node.args) > 1 else option(node, "Loader")
            if loader is None or "Safe" not in dotted(loader, self.names):
                self._note(node, "unsafe-yaml", "CWE-502", "reads YAML that can make any object")
        elif (name == "torch.load" and not is_set(node, "weights_only", True)) or (
            name in ("numpy.load", "np.load") and is_set(node, "allow_pickle", True)
        ):
            self._note(node, "unsafe-deserialization", "CWE-502", "reads data that can run code")
        elif name in _UNSAFE_CALLS and not (name.endswith("loads") and node.args and is_text(node.args[0])):
            rule, cwe, message = _UNSAFE_CALLS[name]
            self._note(node, rule, cwe, f"{name} {message}")

    def _shell(self, node: ast.Call, name: str) -> None:
        through_shell = name in _SHELL_CALLS or (
            name.rpartition(".")[2] in _PROCESS_CALLS and is_set(node, "shell", True)
        )
        if name == "get_ipython().run_cell_magic" and len(node.args) == 3:
            self._cell_magic(node)
        elif name == "get_ipython().run_line_magic" and len(node.args) == 2:
            if text_of(node.args[0]) in ("system", "sx", "sc"):
                self._command(node, node.args[1])
        elif through_shell:
            command = node.args[0] if node.args else option(node, "args") or option(node, "cmd")
            if command is not None:
                self._command(node, command)

    def _cell_magic(self, node: ast.Call) -> None:
        magic = text_of(node.args[0])
        if magic in ("bash", "sh", "script", "system", "sx", "!"):
            self.found += scan_shell(text_of(node.args[2]), node.lineno + 1)
        else:
            self._nested(node, text_of(node.args[2]))

    def _command(self, node: ast.Call, command: ast.expr) -> None:
        """A command for a shell: what is known of it is looked through, and it should be known whole."""
        if isinstance(command, ast.List | ast.Tuple) and command.elts:
            command = command.elts[0]
        if not is_text(command):
            self._note(
                node, "insecure-shell-command", "CWE-78", "a shell runs a command that is put together"
            )
        self._scan_command(node, known_text(command))

    def _program(self, node: ast.Call, name: str) -> None:
        """A program with its arguments, without a shell; the program may be one."""
        words = self._words(node, name)
        known = [known_text(word) for word in words]
        program = known[0].rpartition("/")[2] if known else ""
        if len(known) > 2 and re.fullmatch(r"(?:ba|z|da)?sh", program) and re.match(r"-\w*c", known[1]):
            self._command(node, words[2])
        elif re.fullmatch(r"python[\d.]*", program) and "-c" in known[1:-1]:
            self._nested(node, known[known.index("-c") + 1])
        elif known:
            self._scan_command(node, shlex.join(known))

    def _words(self, node: ast.Call, name: str) -> list[ast.expr]:
        """The program and its arguments, where they are given apart."""
        given: list[ast.expr] = []
        if _PROGRAM_CALLS.fullmatch(name):
            given = node.args[1:] if name.startswith("os.spawn") else node.args
        elif name.rpartition(".")[2] in _PROCESS_CALLS and not is_set(node, "shell", True):
            first = node.args[0] if node.args else option(node, "args")
            given = [first] if isinstance(first, ast.List | ast.Tuple) else []
        return [
            word for one in given for word in (one.elts if isinstance(one, ast.List | ast.Tuple) else [one])
        ]

    def _scan_command(self, node: ast.AST, command: str) -> None:
        line = getattr(node, "lineno", 1)
        self.found += scan_shell(command, line)
        code = re.search(r"\bpython[\d.]*\s+-c\s+(?P<quote>[\"'])(?P<code>.+?)(?P=quote)", command, re.S)
        if code is not None:
            self._nested(node, code["code"])

    def _nested(self, node: ast.AST, code: object) -> None:
        if isinstance(code, str) and self._depth < _NESTED:
            line = getattr(node, "lineno", 1)
            for finding in scan_python(code, depth=self._depth + 1):
                self.found.append(Finding(finding.rule, finding.cwe, line, finding.message, finding.source))

    def _sql(self, node: ast.Call, name: str) -> None:
        method = name.rpartition(".")[2]
        if method not in (
            "execute",
            "executemany",
            "executescript",
            "raw",
            "read_sql",
            "read_sql_query",
            "query",
        ):
            return
        if node.args and (is_put_together(node.args[0]) or self._is_query(node.args[0])):
            self._note(
                node, "sql-injection", "CWE-89", "puts a query together from text; give values as parameters"
            )

    def _is_query(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self._queries

    def _options(self, node: ast.Call, name: str) -> None:
        if is_set(node, "verify", False) and name.split(".")[0] in (
            "requests",
            "httpx",
            "aiohttp",
            "session",
            "s",
        ):
            self._note(node, "no-certificate", "CWE-295", "does not check who it talks to")
        if name.endswith(".run") and is_set(node, "debug", True) and "app" in name:
            self._note(node, "debug-server", "CWE-489", "offers everybody a console of the program")
        for keyword in node.keywords:
            if keyword.arg and _SECRET.search(keyword.arg) and _is_secret(keyword.value):
                self._note(node, "hardcoded-secret", "CWE-798", "has a secret written into it")

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assigned(node, target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assigned(node, node.target, node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name) and (
            node.target.id in self._queries or _looks_like_sql(node.value)
        ):
            self._queries.add(node.target.id)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None and _SECRET.search(text_of(key)) and _is_secret(value):
                self._note(node, "hardcoded-secret", "CWE-798", "has a secret written into it")
        self.generic_visit(node)

    def _assigned(self, node: ast.AST, target: ast.expr, value: ast.expr) -> None:
        name = ""
        match target:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                pass
            case ast.Subscript(slice=key):
                name = text_of(key)
        if isinstance(target, ast.Name) and is_put_together(value) and _looks_like_sql(value):
            self._queries.add(target.id)
        if _SECRET.search(name) and _is_secret(value):
            self._note(node, "hardcoded-secret", "CWE-798", "has a secret written into it")
        if _FOR_SECRETS.search(name) and any(map(_RANDOM.fullmatch, self._calls(value))):
            self._note(
                node, "predictable-secret", "CWE-338", "makes a secret from numbers that can be guessed"
            )

    def _calls(self, node: ast.AST) -> Iterator[str]:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call):
                yield dotted(inner.func, self.names)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if _FOR_SECRETS.search(node.name) and any(map(_RANDOM.fullmatch, self._calls(node))):
            self._note(
                node, "predictable-secret", "CWE-338", "makes a secret from numbers that can be guessed"
            )
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in _ESCAPE:
            self._note(
                node, "introspection", "CWE-693", f"reaches for {node.attr}, as escapes from a sandbox do"
            )
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and node.value in _ESCAPE:
            self._note(
                node, "introspection", "CWE-693", f"reaches for {node.value}, as escapes from a sandbox do"
            )
        if isinstance(node.value, str) and _PRECIOUS.search(node.value):
            self._note(
                node, "system-secret", "CWE-200", "names a file that holds secrets or steers the system"
            )


def _looks_like_sql(node: ast.expr) -> bool:
    return _SQL.match(known_text(node)) is not None


def _is_secret(node: ast.expr) -> bool:
    """Whether a value looks like a real secret and not like a place for one."""
    text = text_of(node)
    return len(text) >= 4 and _PLACEHOLDER.fullmatch(text) is None
